"""The structure of the database, by Alembic: running its migrations, printing them, and knowing their versions.

Alembic and SQLAlchemy take a second to import, so this module is imported by migrations only.
A migration runs with the schema alone in search_path and names nothing by schema: the same files serve every one.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import sqlalchemy
from alembic import command, op
from alembic.config import Config
from alembic.script import ScriptDirectory
from psycopg import sql

from evtool import sqltext
from evtool.errors import DatabaseTooNew
from evtool.stores.postgres import scripts
from evtool.stores.postgres.connection import Connection

VERSION_TABLE = "evtool_version"

_schema: ContextVar[str | None] = ContextVar("schema", default=None)


def execute(statement: str) -> None:
    """Runs one statement of a migration, or prints it; `:x`, `%` and `a[1:2]` mean nothing special in it."""
    context = op.get_context()
    if context.as_sql:
        context.impl.static_output(_dedent(statement) + ";")
    else:
        op.get_bind().exec_driver_sql(statement, execution_options={"no_parameters": True})


def install_function(name: str) -> None:
    """Creates a function of `sql/namespace/functions/` that the structure itself needs, such as an index."""
    text = sqltext.read(f"namespace/functions/{name}.sql").strip()
    schema = _schema.get()
    if schema is not None:
        text = scripts.fill(text, {"ns": schema}).as_string()
    execute(text.removesuffix(";"))


def run_migrations(context: Any) -> None:
    """What `env.py` of both scopes does."""
    attributes = context.config.attributes
    options = {"version_table": VERSION_TABLE, "transaction_per_migration": False}
    if context.is_offline_mode():
        context.configure(
            dialect_name="postgresql", as_sql=True, output_buffer=attributes["output"], literal_binds=True, **options
        )
    else:
        context.configure(connection=attributes["connection"], **options)
    # no transaction of Alembic's: ours is around it, and holds the functions too
    context.run_migrations()


def revisions(scope: str) -> list[str]:
    """The versions of a scope that this evtool knows, oldest first."""
    directory = ScriptDirectory.from_config(_config(scope))
    return [script.revision for script in reversed(list(directory.walk_revisions()))]


def pending(scope: str, current: str | None, *, what: str) -> list[str]:
    """The versions that come after `current`, oldest first.

    Args:
        scope: `registry` or `namespace`.
        current: the version of the database; None for none.
        what: what has this version, for the message.

    Raises:
        DatabaseTooNew: this evtool doesn't know `current`.
    """
    known = revisions(scope)
    if current is None:
        return known
    if current not in known:
        raise DatabaseTooNew(
            f"{what} has structure {current}, and this evtool knows {known[-1]} at the most",
            hint="a newer evtool migrated it: upgrade evtool (pip install -U evtool)",
        )
    return known[known.index(current) + 1 :]


@contextlib.contextmanager
def transaction(connection: Connection) -> Iterator[sqlalchemy.Connection]:
    """A transaction on a psycopg connection, seen by SQLAlchemy too."""
    engine = sqlalchemy.create_engine(
        "postgresql+psycopg://", creator=lambda: connection, poolclass=sqlalchemy.StaticPool
    )
    connection.set_autocommit(False)
    try:
        with engine.connect() as outer, outer.begin():
            yield outer
    finally:
        if not connection.closed:
            connection.rollback()
            connection.set_autocommit(True)


def upgrade(outer: sqlalchemy.Connection, scope: str, schema: str) -> None:
    """Brings the tables of a schema to the newest version, inside the caller's transaction."""
    path = sql.SQL("SET LOCAL search_path = {}, pg_temp").format(sql.Identifier(schema))
    outer.exec_driver_sql(path.as_string(), execution_options={"no_parameters": True})
    with _for_schema(schema):
        command.upgrade(_config(scope, connection=outer), "head")


def upgrade_script(scope: str, current: str | None, schema: str | None) -> str:
    """The SQL of `upgrade`, from a version on; a schema of None leaves psql's variable `:"ns"` in place."""
    output = io.StringIO()
    with _for_schema(schema):
        command.upgrade(_config(scope, output=output), f"{current or 'base'}:head", sql=True)
    # what Alembic would read back is of no use to psql, which would print it
    return output.getvalue().strip().replace(f" RETURNING {VERSION_TABLE}.version_num;", ";") + "\n"


def _config(scope: str, **attributes: Any) -> Config:
    config = Config()
    config.set_main_option("script_location", str(sqltext.folder("alembic") / scope).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes.update(attributes)
    return config


@contextlib.contextmanager
def _for_schema(schema: str | None) -> Iterator[None]:
    token = _schema.set(schema)
    try:
        yield
    finally:
        _schema.reset(token)


def _dedent(statement: str) -> str:
    lines = statement.strip("\n").split("\n")
    margin = min((len(line) - len(line.lstrip()) for line in lines if line.strip()), default=0)
    return "\n".join(line[margin:] for line in lines).strip()
