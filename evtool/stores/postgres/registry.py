"""The registry of a database, and the namespaces in it: looked up, made, deleted."""

from __future__ import annotations

import dataclasses
from datetime import UTC
from typing import Any

import psycopg
from psycopg import sql

from evtool import names, sqltext
from evtool.errors import DatabaseTooNew, NamespaceExists, NamespaceNotFound, NotMigrated, PermissionDenied
from evtool.model import Namespace
from evtool.stores.postgres import scripts
from evtool.stores.postgres.connection import Connection, Notices
from evtool.stores.postgres.rights import explained_for_namespace
from evtool.stores.postgres.translation import PERMISSION_HINT

_MIGRATE = "run: evtool migrate, with this --dsn"

_COLUMNS = "SELECT name, schema_name, created_at AT TIME ZONE 'UTC' FROM evtool.namespaces"
_LIST = f'{_COLUMNS} ORDER BY name COLLATE "C"'
_GET = f"{_COLUMNS} WHERE name = %s"
_HOLDS_MESSAGES = """
    SELECT n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname IN (%(name)s::text, lower(%(name)s::text)) AND c.relname = 'messages' AND c.relkind = 'r'
"""


def list_namespaces(connection: Connection) -> list[Namespace]:
    """All namespaces, by name."""
    return [_namespace(row) for row in _ask(connection, _LIST)]


def find(connection: Connection, name: str) -> Namespace | None:
    """The namespace of a name, or None."""
    rows = _ask(connection, _GET, (name,))
    return _namespace(rows[0]) if rows else None


def get(connection: Connection, name: str) -> Namespace:
    """The namespace of a name.

    Raises:
        NamespaceNotFound: there is none.
    """
    found = find(connection, name)
    if found is None:
        hint = "see: evtool ns list; make it: evtool ns create NAME"
        for (schema,) in _ask(connection, _HOLDS_MESSAGES, {"name": name}):
            hint = f"the schema {schema} holds messages, as a Message DB does, and isn't evtool's: see evtool ns adopt"
        raise NamespaceNotFound(f'there is no namespace "{name}"', hint=hint)
    return found


def check_structure(connection: Connection, schema: str) -> None:
    """Makes sure that this evtool knows the tables of a schema, for what doesn't go through its functions.

    Raises:
        DatabaseTooNew: a newer evtool made them.
    """
    query = sql.SQL("SELECT version_num FROM {}.evtool_version").format(sql.Identifier(schema))
    row = connection.execute(query).fetchone()
    known = sqltext.structure_version(scripts.NAMESPACE)
    if row is not None and row[0] > known:
        raise DatabaseTooNew(
            f"the schema {schema} has structure {row[0]}, and this evtool knows {known} at the most",
            hint="a newer evtool migrated it: upgrade evtool",
        )


def create_script(name: str, schema: str) -> sql.Composed:
    """The SQL that makes a namespace: what install.sql does, for a schema that isn't there yet."""
    return sql.SQL("").join(
        [
            scripts.create_schema(schema),
            scripts.structure(scripts.NAMESPACE, schema=schema, name=name),
            scripts.behaviour(scripts.NAMESPACE, schema=schema, name=name),
        ]
    )


def create(connection: Connection, name: str, schema: str | None) -> Namespace:
    """Makes a namespace, in one transaction.

    Raises:
        NamespaceExists, NamespaceRefused: see `Store.create_namespace`.
        PermissionDenied: the role may not; it names what is missing.
    """
    names.check_namespace(name)
    schema = names.schema_name(name) if schema is None else names.check_schema(schema)
    try:
        with explained_for_namespace(connection, name, schema, "made"), connection.transaction():
            if find(connection, name) is not None:
                raise _exists(name)
            connection.execute(scripts.lock(schema))
            if not check_new(connection, name, schema):
                raise _exists(name)
            with Notices(connection) as notes:
                connection.execute(create_script(name, schema))
            return dataclasses.replace(get(connection, name), notes=tuple(notes))
    except (psycopg.errors.UniqueViolation, psycopg.errors.RaiseException) as error:
        # somebody has just made it with another schema, which has another lock
        if error.diag.constraint_name in {"namespaces_pkey", "namespace_taken"}:
            raise _exists(name) from error
        raise


def check_new(connection: Connection, name: str, schema: str) -> bool:
    """Whether the schema is free: False where this very namespace has it.

    Raises:
        psycopg.Error: it is another's, with a mark that is translated to NamespaceRefused.
    """
    row = _ask(connection, "SELECT evtool.check_schema_name(%s, %s)", (schema, name))[0]
    return bool(row[0])


def delete_script(schema: str) -> sql.Composed:
    """The SQL that removes a namespace."""
    # IF EXISTS: a schema that was dropped by hand leaves a namespace to be deleted
    drop = (
        "SELECT evtool.lock_namespace({literal});\nDROP SCHEMA IF EXISTS {schema} CASCADE;\n{forget};\n"
        "SELECT evtool.drop_namespace_roles({literal});\n"
    )
    return sql.SQL(drop).format(
        schema=sql.Identifier(schema),
        literal=sql.Literal(schema),
        forget=sql.SQL(
            "DELETE FROM evtool.behaviours WHERE schema_name = {schema};\n"
            "DELETE FROM evtool.namespaces WHERE schema_name = {schema}"
        ).format(schema=sql.Literal(schema)),
    )


def delete(connection: Connection, name: str) -> None:
    """Removes a namespace with all its messages and its group roles, in one transaction.

    Raises:
        NamespaceNotFound: there is none.
        PermissionDenied: the role may not; it names what is missing.
    """
    schema = get(connection, name).schema
    with explained_for_namespace(connection, name, schema, "removed"), connection.transaction():
        connection.execute(scripts.lock(schema))
        # again, for whoever held the lock may have deleted it
        connection.execute(delete_script(get(connection, name).schema))


def is_installed(connection: Connection) -> bool:
    """Whether the database has a registry, readable or not."""
    row = connection.execute("SELECT to_regclass('evtool.namespaces') IS NOT NULL").fetchone()
    return bool(row and row[0])


def _namespace(row: tuple[Any, ...]) -> Namespace:
    return Namespace(row[0], row[1], row[2].replace(tzinfo=UTC))


def _ask(connection: Connection, query: Any, parameters: Any = None) -> list[tuple[Any, ...]]:
    try:
        return connection.execute(query, parameters).fetchall()
    except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName, psycopg.errors.UndefinedFunction) as error:
        raise NotMigrated("this database has no namespaces of evtool yet", hint=_MIGRATE) from error
    except psycopg.errors.InsufficientPrivilege as error:
        role = connection.info.user
        raise PermissionDenied(
            f'the role "{role}" may not do this: {error.diag.message_primary}', hint=PERMISSION_HINT
        ) from error


def _exists(name: str) -> NamespaceExists:
    return NamespaceExists(f'there is a namespace "{name}" already', hint="see: evtool ns list")
