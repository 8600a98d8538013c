"""The structure of the database, by Alembic: its migrations as SQL, to be run or printed, and their versions.

Alembic and SQLAlchemy take a second to import, so this module is imported by migrations only.
A migration runs with the schema alone in search_path and names nothing by schema: the same files serve every one.
"""

from __future__ import annotations

import io
import threading
from functools import cache
from typing import Any

from alembic import command, op
from alembic.config import Config
from alembic.script import ScriptDirectory
from psycopg import sql

from evtool import sqltext
from evtool.errors import DatabaseTooNew
from evtool.stores.postgres import scripts
from evtool.stores.postgres.connection import Connection

VERSION_TABLE = "evtool_version"

# Alembic's contexts are globals of its modules.
_alembic = threading.Lock()


def execute(statement: str) -> None:
    """Adds one statement to the SQL of a migration; `:x`, `%` and `a[1:2]` mean nothing special in it."""
    op.get_context().impl.static_output(_dedent(statement) + ";")


def install_function(name: str) -> None:
    """Creates a function of `sql/namespace/functions/` that the structure itself needs, such as an index."""
    execute(sqltext.read(f"namespace/functions/{name}.sql").strip().removesuffix(";"))


def run_migrations(context: Any) -> None:
    """What `env.py` of both scopes does."""
    context.configure(
        dialect_name="postgresql",
        as_sql=True,
        output_buffer=context.config.attributes["output"],
        literal_binds=True,
        version_table=VERSION_TABLE,
        transaction_per_migration=False,
    )
    # no transaction of Alembic's: ours is around it, and holds the functions too
    context.run_migrations()


def revisions(scope: str) -> list[str]:
    """The versions of a scope that this evtool knows, oldest first."""
    return list(_revisions(scope))


@cache
def _revisions(scope: str) -> tuple[str, ...]:
    directory = ScriptDirectory.from_config(_config(scope))
    return tuple(script.revision for script in reversed(list(directory.walk_revisions())))


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
            hint="a newer evtool migrated it: upgrade evtool",
        )
    return known[known.index(current) + 1 :]


def upgrade(connection: Connection, scope: str, schema: str, current: str | None) -> None:
    """Brings the tables of a schema from a version to the newest, inside the caller's transaction.

    It runs the SQL that `upgrade_script` prints: Alembic itself keeps its state in globals, so it can't migrate several
    namespaces at once.
    """
    path = sql.SQL("SET LOCAL search_path = {}, pg_temp;\n").format(sql.Identifier(schema))
    connection.execute(path + scripts.fill(_script(scope, current), {"ns": schema}))


def upgrade_script(scope: str, current: str | None, schema: str | None) -> str:
    """The SQL of `upgrade`, from a version on; a schema of None leaves psql's variable `:"ns"` in place."""
    text = _script(scope, current)
    return text if schema is None else scripts.fill(text, {"ns": schema}).as_string()


@cache
def _script(scope: str, current: str | None) -> str:
    output = io.StringIO()
    with _alembic:
        command.upgrade(_config(scope, output=output), f"{current or 'base'}:head", sql=True)
    # what Alembic would read back is of no use to psql, which would print it
    return output.getvalue().strip().replace(f" RETURNING {VERSION_TABLE}.version_num;", ";") + "\n"


def _config(scope: str, **attributes: Any) -> Config:
    config = Config()
    config.set_main_option("script_location", str(sqltext.folder("alembic") / scope).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes.update(attributes)
    return config


def _dedent(statement: str) -> str:
    lines = statement.strip("\n").split("\n")
    margin = min((len(line) - len(line.lstrip()) for line in lines if line.strip()), default=0)
    return "\n".join(line[margin:] for line in lines).strip()
