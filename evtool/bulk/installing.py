"""Bringing a database what bulk imports need: the schema `evtool_bulk`, and the tables of the shipped resources.

Both are structure by Alembic, in `alembic/bulk` and `alembic/resources`; what is fresh is made from the snapshot of all
migrations, without importing Alembic.
"""

from __future__ import annotations

from psycopg import sql

from evtool import names, sqltext
from evtool.errors import DatabaseTooNew, MigrationFailed, NamespaceRefused
from evtool.model import NamespaceState
from evtool.stores.postgres import scripts
from evtool.stores.postgres.connection import Connection
from evtool.stores.postgres.rights import explained_for_tables

SCHEMA = "evtool_bulk"
"""Where the functions of imports are, and what they keep."""

BULK = "bulk"
RESOURCES = "resources"

_STATE = """
    SELECT to_regnamespace(quote_ident(%(schema)s)) IS NOT NULL,
      to_regclass(quote_ident(%(schema)s) || '.evtool_version') IS NOT NULL,
      to_regclass(quote_ident(%(schema)s) || '.messages') IS NOT NULL
"""
_BEHAVIOUR = sql.SQL("SELECT checksum, evtool_version FROM {}.behaviour").format(sql.Identifier(SCHEMA))


def install(connection: Connection) -> bool:
    """Makes the schema `evtool_bulk`, or brings it up to date; whether there was anything to do.

    Args:
        connection: in autocommit. Whoever does the same at the same time waits.

    Raises:
        MigrationError: it is a newer evtool's, or not evtool's.
        PermissionDenied: it has to be made or changed, and this role may not.
    """
    if _is_current(connection):
        return False
    with explained_for_tables(
        connection, SCHEMA, f'the schema "{SCHEMA}", which imports of tables need, can\'t be made'
    ):
        _install(connection)
    return True


def _install(connection: Connection) -> None:
    if _version(connection, SCHEMA) is not None:
        _upgrade(connection, BULK, SCHEMA)
    with connection.transaction():
        connection.execute(scripts.lock(SCHEMA))
        if _version(connection, SCHEMA) is None:
            connection.execute(scripts.create_schema(SCHEMA))
            connection.execute(scripts.structure(BULK, schema=SCHEMA, name=SCHEMA))
        connection.execute(scripts.behaviour(BULK, schema=SCHEMA, name=SCHEMA))


def state(connection: Connection) -> NamespaceState | None:
    """How the schema `evtool_bulk` stands to what this version ships; None where it isn't installed."""
    current = _version(connection, SCHEMA)
    if current is None:
        return None
    # a second to import
    from evtool.stores.postgres import structure

    found = connection.execute(_BEHAVIOUR).fetchone()
    functions = "missing" if found is None else "current" if found[0] == sqltext.checksum(BULK) else "outdated"
    try:
        pending = tuple(structure.pending(BULK, current, what=f'the schema "{SCHEMA}"'))
    except DatabaseTooNew as error:
        return NamespaceState(None, SCHEMA, current, (), functions, note=f"{error.message}; {error.hint}")
    return NamespaceState(None, SCHEMA, current, pending, functions)


def make_tables(connection: Connection, schema: str) -> str:
    """Makes the tables users, articles, comments and posts in a schema, which is made too where it isn't there.

    Args:
        connection: in autocommit.
        schema: where.

    Returns:
        "created", "upgraded" or "current".

    Raises:
        NamespaceRefused: the schema is evtool's own, or a namespace.
        MigrationFailed: one of the tables is there already, and not evtool's.
        PermissionDenied: this role may not make them.
    """
    if not 0 < len(schema.encode(errors="replace")) <= names.MAX_SCHEMA_BYTES or "\0" in schema:
        raise NamespaceRefused(
            f"a schema has a name of 1 to {names.MAX_SCHEMA_BYTES} bytes", hint="name another with --schema"
        )
    if schema in {SCHEMA, scripts.REGISTRY_SCHEMA} or schema.startswith("pg_"):
        raise NamespaceRefused(f'the schema "{schema}" is not for tables', hint="name another with --schema")
    with explained_for_tables(connection, schema, f'the tables in "{schema}" can\'t be made'):
        return _make_tables(connection, schema)


def _make_tables(connection: Connection, schema: str) -> str:
    with connection.transaction():
        connection.execute(scripts.lock(schema))
        row = connection.execute(_STATE, {"schema": schema}).fetchone()
        assert row is not None
        exists, versioned, is_namespace = row
        if is_namespace:
            raise NamespaceRefused(f'the schema "{schema}" holds a namespace', hint="name another with --schema")
        if not versioned:
            identifier = sql.Identifier(schema)
            if not exists:
                connection.execute(sql.SQL("CREATE SCHEMA {}").format(identifier))
            connection.execute(sql.SQL("SET LOCAL search_path = {}, pg_temp").format(identifier))
            connection.execute(scripts.fill(sqltext.read(f"{RESOURCES}/structure.sql"), {"ns": schema}))
            return "created"
    return "upgraded" if _upgrade(connection, RESOURCES, schema) else "current"


def _is_current(connection: Connection) -> bool:
    row = connection.execute(_STATE, {"schema": SCHEMA}).fetchone()
    assert row is not None
    exists, versioned, _ = row
    if exists and not versioned:
        raise MigrationFailed(
            f'the schema "{SCHEMA}" is there and is not evtool\'s', hint=f"rename it: ALTER SCHEMA {SCHEMA} RENAME TO …"
        )
    if not exists or _version(connection, SCHEMA) != sqltext.structure_version(BULK):
        return False
    found = connection.execute(_BEHAVIOUR).fetchone()
    return found is not None and found[0] == sqltext.checksum(BULK)


def _version(connection: Connection, schema: str) -> str | None:
    row = connection.execute(_STATE, {"schema": schema}).fetchone()
    if row is None or not row[1]:
        return None
    query = sql.SQL("SELECT version_num FROM {}.evtool_version").format(sql.Identifier(schema))
    found = connection.execute(query).fetchone()
    return found[0] if found else None


def _upgrade(connection: Connection, scope: str, schema: str) -> bool:
    """Runs the migrations that are still to come; whether there were any."""
    if _version(connection, schema) == sqltext.structure_version(scope):
        return False
    # a second to import, and hardly ever needed
    from evtool.stores.postgres import structure

    with connection.transaction():
        connection.execute(scripts.lock(schema))
        # behind the lock, for whoever held it may have migrated
        current = _version(connection, schema)
        if not structure.pending(scope, current, what=f'the schema "{schema}"'):
            return False
        structure.upgrade(connection, scope, schema, current)
    return True
