"""Bringing the registry, or one namespace, to what this version ships, in one transaction.

Structure goes by Alembic, behaviour by replacing all of it when the checksum of its files differs from the registry's.
Whoever migrates the same thing at the same time waits at the transaction's advisory lock, and then finds it done.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from packaging.version import InvalidVersion, Version
from psycopg import sql

from evtool import __version__, settings, sqltext
from evtool.errors import DatabaseTooNew, MigrationFailed, NamespaceRefused
from evtool.model import MigrationStep, Namespace, NamespaceState
from evtool.stores.postgres import registry, scripts, structure
from evtool.stores.postgres.connection import Connection, Notices

CLIENT_ROLE = "message_store"
"""The role that Message DB's clients hard-code."""

_BEHAVIOURS = """
    SELECT schema_name, checksum, evtool_version, fingerprint = evtool.fingerprint(schema_name),
      to_regrole(quote_ident(evtool.role_name(schema_name, 'writer'))) IS NOT NULL
      AND to_regrole(quote_ident(evtool.role_name(schema_name, 'reader'))) IS NOT NULL
    FROM evtool.behaviours WHERE schema_name = ANY(%s)
"""
_BEHAVIOUR = """
    SELECT checksum, evtool_version, fingerprint = evtool.fingerprint(schema_name)
    FROM evtool.behaviours WHERE schema_name = %s
"""
_IS_MESSAGE_DB = """
    SELECT to_regprocedure(format('%%I.message_store_version()', %s::text)) IS NOT NULL
"""
_GROUPS_ARE_THERE = """
    SELECT to_regrole(quote_ident(evtool.role_name(%s, 'reader'))) IS NOT NULL
      AND to_regrole(quote_ident(evtool.role_name(%s, 'writer'))) IS NOT NULL
"""
# By oid, for pg_has_role raises where there is no role of that name, and may be asked before rolname is compared.
_CLIENT_ROLE_IS_THERE = """
    SELECT EXISTS (
      SELECT FROM pg_roles
      WHERE rolname = %s
        AND (rolsuper OR pg_has_role(oid, to_regrole(quote_ident(evtool.role_name(%s, 'writer')))::oid, 'MEMBER')))
"""


@dataclass(frozen=True, slots=True)
class Target:
    """The registry or a namespace."""

    scope: str
    schema: str
    name: str | None

    @property
    def what(self) -> str:
        """For messages."""
        return "the registry" if self.name is None else f'the namespace "{self.name}"'

    @property
    def install_name(self) -> str:
        """What install.sql calls it."""
        return self.name or self.schema


REGISTRY = Target(scripts.REGISTRY, scripts.REGISTRY_SCHEMA, None)


def target_of(namespace: Namespace) -> Target:
    """A namespace as what is migrated."""
    return Target(scripts.NAMESPACE, namespace.schema, namespace.name)


def status(connection: Connection) -> list[NamespaceState]:
    """How the registry (first) and every namespace stand to what this version ships. Changes nothing."""
    if not registry.is_installed(connection):
        pending = tuple(structure.revisions(scripts.REGISTRY))
        return [NamespaceState(None, scripts.REGISTRY_SCHEMA, None, pending, roles=False)]
    while True:
        namespaces = registry.list_namespaces(connection)
        try:
            # a savepoint where the caller has a transaction, which could not go on behind the error
            with connection.transaction():
                states = _states(connection, namespaces)
        except psycopg.Error:
            # a schema that is dropped while its functions are looked at is an error of the server's
            if registry.list_namespaces(connection) == namespaces:
                raise
        else:
            there = {None, *(one.name for one in registry.list_namespaces(connection))}
            return [state for state in states if state.name in there]


def _states(connection: Connection, namespaces: Sequence[Namespace]) -> list[NamespaceState]:
    targets = [REGISTRY, *map(target_of, namespaces)]
    rows = connection.execute(_BEHAVIOURS, ([target.schema for target in targets],))
    behaviours = {row[0]: row[1:] for row in rows}
    states = [_state(target, structure_version(connection, target.schema), behaviours) for target in targets]
    return [
        dataclasses.replace(state, roles=state.roles and _has_client(connection, state.schema))
        if state.name == settings.DEFAULT_NAMESPACE
        else state
        for state in states
    ]


def _state(target: Target, current: str | None, behaviours: dict[str, tuple[Any, ...]]) -> NamespaceState:
    note = None
    try:
        pending = structure.pending(target.scope, current, what=target.what)
    except DatabaseTooNew as error:
        pending, note = [], f"{error.message}; {error.hint}"
    checksum, version, unchanged, roles = behaviours.get(target.schema, (None, None, False, False))
    if checksum is None or current is None:
        functions = "missing"
    elif not unchanged:
        functions = "changed"
    elif checksum != sqltext.checksum(target.scope):
        functions = "outdated"
        if _is_newer(version):
            note = note or f"its functions are of evtool {version}, newer than this one: upgrade evtool"
    else:
        functions = "current"
    if current is None and target.name is not None:
        note = "its schema is gone, or lacks its tables: evtool ns delete, or restore it"
    return NamespaceState(
        target.name, target.schema, current, tuple(pending), functions, bool(roles) or target.name is None, note
    )


def migrate_one(connection: Connection, target: Target) -> MigrationStep:
    """Brings the registry or one namespace up to date, in one transaction.

    Raises:
        DatabaseTooNew: a newer evtool migrated it; nothing was changed.
        MigrationFailed: its schema is gone.
        psycopg.Error: a step failed, and all of it was rolled back.
    """
    with Notices(connection) as notes, connection.transaction():
        connection.execute(scripts.lock(None if target.name is None else target.schema))
        if target.name is not None and registry.find(connection, target.name) is None:
            return MigrationStep(target.name, target.schema, "left alone", None, ("it was deleted meanwhile",))
        connection.execute(scripts.SHORT_WAIT)
        done = []
        is_new = target.name is None and not registry.is_installed(connection)
        if is_new:
            _refuse_foreign_registry(connection)
            connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(target.schema)))
        current = None if is_new else structure_version(connection, target.schema)
        if current is None and not is_new:
            raise MigrationFailed(
                f"{target.what} is in the registry, but its schema {target.schema} lacks its tables",
                hint="remove it with evtool ns delete, or restore the schema from a backup",
            )
        if structure.pending(target.scope, current, what=target.what):
            structure.upgrade(connection, target.scope, target.schema, current)
            done.append("created" if is_new else "upgraded")
        # a new table has no grants yet, though no function may have changed
        if done or _behaviour_is_stale(connection, target):
            connection.execute(scripts.behaviour(target.scope, schema=target.schema, name=target.install_name))
            done.append("functions replaced")
        elif target.name is not None and _grant_groups(connection, target.schema):
            done.append("roles granted")
        if target.name == settings.DEFAULT_NAMESPACE and _grant_client(connection, target.schema):
            done.append("roles granted")
        version = structure.revisions(target.scope)[-1]
    return MigrationStep(target.name, target.schema, done[0] if done else "current", version, tuple(notes))


def create_default(connection: Connection) -> MigrationStep:
    """The namespace that a fresh database gets, with the role that Message DB's clients use."""
    name = schema = settings.DEFAULT_NAMESPACE
    with Notices(connection) as notes, connection.transaction():
        connection.execute(scripts.lock(schema))
        try:
            with connection.transaction():
                is_new = registry.check_new(connection, name, schema)
        except psycopg.errors.RaiseException as error:
            adoptable = connection.execute(_IS_MESSAGE_DB, (schema,)).fetchone() == (True,)
            hint = f"; to take it over: evtool ns adopt {schema}" if adoptable else ""
            note = f"{error.diag.message_primary}: it was left alone, and there is no namespace {name}{hint}"
            return MigrationStep(name, schema, "left alone", None, (*notes, note))
        if is_new:
            connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(schema)))
            structure.upgrade(connection, scripts.NAMESPACE, schema, None)
            connection.execute(scripts.behaviour(scripts.NAMESPACE, schema=schema, name=name))
        _grant_client(connection, schema)
    version = structure.revisions(scripts.NAMESPACE)[-1]
    return MigrationStep(name, schema, "created" if is_new else "current", version, tuple(notes))


def has_function(connection: Connection, signature: str) -> bool:
    """Whether the database has a function."""
    return connection.execute("SELECT to_regprocedure(%s) IS NOT NULL", (signature,)).fetchone() == (True,)


def structure_version(connection: Connection, schema: str) -> str | None:
    """The version of the tables of a schema; None where it has none."""
    table = sql.Identifier(schema, "evtool_version")
    row = connection.execute("SELECT to_regclass(%s)", (table.as_string(connection),)).fetchone()
    if row is None or row[0] is None:
        return None
    row = connection.execute(sql.SQL("SELECT version_num FROM {}").format(table)).fetchone()
    return row[0] if row else None


def _behaviour_is_stale(connection: Connection, target: Target) -> bool:
    """Whether the functions must be replaced.

    Raises:
        DatabaseTooNew: they are a newer evtool's.
    """
    if not has_function(connection, "evtool.fingerprint(text)"):
        # somebody dropped it; without it nothing is known of any function
        return True
    for checksum, version, unchanged in connection.execute(_BEHAVIOUR, (target.schema,)).fetchall():
        differs = checksum != sqltext.checksum(target.scope)
        if differs and _is_newer(version):
            raise DatabaseTooNew(
                f"the functions of {target.what} are of evtool {version}, and this is {__version__}",
                hint="upgrade evtool",
            )
        return differs or not unchanged
    return True


def _is_newer(version: str) -> bool:
    try:
        return Version(version) > Version(__version__)
    except InvalidVersion:
        return False


def _grant_groups(connection: Connection, schema: str) -> bool:
    """Makes the group roles that an earlier migrator was not allowed to make; whether it did."""
    row = connection.execute(_GROUPS_ARE_THERE, (schema, schema)).fetchone()
    if row and row[0]:
        return False
    row = connection.execute("SELECT evtool.grant_namespace(%s)", (schema,)).fetchone()
    return bool(row and row[0])


def _has_client(connection: Connection, schema: str) -> bool:
    """Whether the role of Message DB's clients is there, and a writer."""
    row = connection.execute(_CLIENT_ROLE_IS_THERE, (CLIENT_ROLE, schema)).fetchone()
    return bool(row and row[0])


def _grant_client(connection: Connection, schema: str) -> bool:
    """Sees to the role of Message DB's clients; whether anything was done."""
    if _has_client(connection, schema):
        return False
    row = connection.execute("SELECT evtool.ensure_client_role(%s, %s)", (CLIENT_ROLE, schema)).fetchone()
    return bool(row and row[0])


def _refuse_foreign_registry(connection: Connection) -> None:
    row = connection.execute("SELECT to_regnamespace('evtool') IS NOT NULL").fetchone()
    if row and row[0]:
        raise NamespaceRefused(
            "the schema evtool exists and holds no registry of evtool",
            hint="rename that schema: ALTER SCHEMA evtool RENAME TO …",
        )
