"""Bringing a database to what this version ships: the registry, then each namespace, each in its own transaction.

Structure goes by Alembic, behaviour by replacing all of it when the checksum of its files differs from the registry's.
Whoever migrates the same thing at the same time waits at the transaction's advisory lock, and then finds it done.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
import sqlalchemy.exc
from packaging.version import InvalidVersion, Version
from psycopg import sql

from evtool import __version__, settings, sqltext
from evtool.errors import DatabaseTooNew, MigrationFailed, NamespaceRefused
from evtool.model import MigrationStep, Namespace, NamespaceState
from evtool.stores.postgres import registry, scripts, structure
from evtool.stores.postgres.connection import Connection, Notices

CLIENT_ROLE = "message_store"
"""The role that Message DB's clients hard-code."""

# psql goes on after an error unless told otherwise
_STOP = "\\set ON_ERROR_STOP on\n"

_STRUCTURES = """
    SELECT n.nspname
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relname = 'evtool_version' AND c.relkind = 'r'
      AND (n.nspname = 'evtool' OR n.nspname IN (SELECT schema_name FROM evtool.namespaces))
"""
_BEHAVIOURS = """
    SELECT schema_name, checksum, evtool_version, fingerprint = evtool.fingerprint(schema_name),
      to_regrole(quote_ident(evtool.role_name(schema_name, 'writer'))) IS NOT NULL
      AND to_regrole(quote_ident(evtool.role_name(schema_name, 'reader'))) IS NOT NULL
    FROM evtool.behaviours
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
class _Target:
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


_REGISTRY = _Target(scripts.REGISTRY, scripts.REGISTRY_SCHEMA, None)


def _target(namespace: Namespace) -> _Target:
    return _Target(scripts.NAMESPACE, namespace.schema, namespace.name)


def status(connection: Connection) -> list[NamespaceState]:
    """How the registry (first) and every namespace stand to what this version ships. Changes nothing."""
    if not registry.is_installed(connection):
        pending = tuple(structure.revisions(scripts.REGISTRY))
        return [NamespaceState(None, scripts.REGISTRY_SCHEMA, None, pending, roles=False)]
    versions = _structure_versions(connection)
    behaviours = {row[0]: row[1:] for row in connection.execute(_BEHAVIOURS)}
    targets = [_REGISTRY, *map(_target, registry.list_namespaces(connection))]
    states = [_state(target, versions, behaviours) for target in targets]
    return [
        dataclasses.replace(state, roles=state.roles and _has_client(connection, state.schema))
        if state.name == settings.DEFAULT_NAMESPACE
        else state
        for state in states
    ]


def _state(target: _Target, versions: dict[str, str], behaviours: dict[str, tuple[Any, ...]]) -> NamespaceState:
    current = versions.get(target.schema)
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


def migrate(connection: Connection) -> Iterator[MigrationStep]:
    """Brings everything up to date, one step a transaction.

    Raises:
        DatabaseTooNew: the database was migrated by a newer evtool; nothing of that part was changed.
        MigrationFailed: a step failed; its transaction was rolled back.
    """
    yield _migrate_one(connection, _REGISTRY)
    namespaces = registry.list_namespaces(connection)
    if not namespaces:
        yield _create_default(connection)
    for namespace in namespaces:
        yield _migrate_one(connection, _target(namespace))


def _migrate_one(connection: Connection, target: _Target) -> MigrationStep:
    with Notices(connection) as notes, _Explained(target), structure.transaction(connection) as outer:
        connection.execute(scripts.lock(None if target.name is None else target.schema))
        if target.name is not None and registry.find(connection, target.name) is None:
            return MigrationStep(target.name, target.schema, "left alone", None, ("it was deleted meanwhile",))
        done = []
        is_new = target.name is None and not registry.is_installed(connection)
        if is_new:
            _refuse_foreign_registry(connection)
            connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(target.schema)))
        versions = {} if is_new else _structure_versions(connection, target.schema)
        current = versions.get(target.schema)
        if current is None and not is_new:
            raise MigrationFailed(
                f"{target.what} is in the registry, but its schema {target.schema} lacks its tables",
                hint="remove it with evtool ns delete, or restore the schema from a backup",
            )
        if structure.pending(target.scope, current, what=target.what):
            structure.upgrade(outer, target.scope, target.schema)
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


def _create_default(connection: Connection) -> MigrationStep:
    """The namespace that a fresh database gets, with the role that Message DB's clients use."""
    name = schema = settings.DEFAULT_NAMESPACE
    target = _Target(scripts.NAMESPACE, schema, name)
    with Notices(connection) as notes, _Explained(target), structure.transaction(connection) as outer:
        connection.execute(scripts.lock(schema))
        try:
            with connection.transaction():
                is_new = registry.check_new(connection, name, schema)
        except psycopg.errors.RaiseException as error:
            note = f"{error.diag.message_primary}: it was left alone, and there is no namespace {name}"
            return MigrationStep(name, schema, "left alone", None, (*notes, note))
        if is_new:
            connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(schema)))
            structure.upgrade(outer, scripts.NAMESPACE, schema)
            connection.execute(scripts.behaviour(scripts.NAMESPACE, schema=schema, name=name))
        _grant_client(connection, schema)
    version = structure.revisions(scripts.NAMESPACE)[-1]
    return MigrationStep(name, schema, "created" if is_new else "current", version, tuple(notes))


def script(connection: Connection | None) -> str:
    """The SQL of `migrate`, complete and runnable by psql; with nothing to do it holds only a comment.

    Args:
        connection: the database to be migrated; None for a fresh one.
    """
    parts = [f"-- evtool {__version__}: what `evtool migrate` would do\n{_STOP}"]
    installed = connection is not None and registry.is_installed(connection)
    states = status(connection) if connection is not None and installed else []
    for state in states:
        if state.note:
            kind = MigrationFailed if state.structure is None else DatabaseTooNew
            raise kind(state.note, hint="see: evtool migrate status")
        parts.append(_upgrade_script(state))
    if not installed:
        parts.append(_new_script(_REGISTRY))
    if connection is None or not [state for state in states if state.name is not None]:
        parts.append(_default_script(connection))
    text = "\n".join(part for part in parts if part)
    return text if len([part for part in parts if part]) > 1 else text + "-- nothing to do\n"


def _default_script(connection: Connection | None) -> str:
    """The namespace that a fresh database gets; only a comment where something else has its schema."""
    schema = settings.DEFAULT_NAMESPACE
    if connection is not None:
        row = connection.execute("SELECT to_regnamespace(quote_ident(%s)) IS NOT NULL", (schema,)).fetchone()
        if row and row[0]:
            return f"-- the schema {schema} exists and is not a namespace of evtool: it is left alone\n"
    return _new_script(_Target(scripts.NAMESPACE, schema, schema))


def namespace_script(name: str, schema: str) -> str:
    """The SQL that makes a namespace, a transaction of its own."""
    parts = [scripts.lock(schema), _check_script(name, schema), registry.create_script(name, schema)]
    return f"{_STOP}{_in_transaction(f'the namespace {_comment(name)}', sql.Composed(parts).as_string())}"


def deletion_script(name: str, schema: str) -> str:
    """The SQL that removes a namespace, a transaction of its own."""
    body = sql.Composed([scripts.lock(schema), registry.delete_script(schema)]).as_string()
    return f"{_STOP}{_in_transaction(f'the namespace {_comment(name)}', body)}"


def _new_script(target: _Target) -> str:
    parts = [
        scripts.lock(None if target.name is None else target.schema),
        scripts.create_schema(target.schema),
        sql.SQL(structure.upgrade_script(target.scope, None, target.schema)),
        scripts.behaviour(target.scope, schema=target.schema, name=target.install_name),
    ]
    if target.name is not None:
        parts.insert(1, _check_script(target.name, target.schema))
    if target.name == settings.DEFAULT_NAMESPACE:
        parts.append(_client_script(target.schema))
    return _in_transaction(target.what, sql.Composed(parts).as_string())


def _upgrade_script(state: NamespaceState) -> str:
    scope = scripts.REGISTRY if state.name is None else scripts.NAMESPACE
    target = _Target(scope, state.schema, state.name)
    parts: list[sql.Composable] = []
    if state.pending:
        path = sql.SQL("SET LOCAL search_path = {}, pg_temp;\n").format(sql.Identifier(state.schema))
        text = structure.upgrade_script(scope, state.structure, state.schema)
        parts += [path, sql.SQL(text)]
    if state.pending or state.functions != "current":
        parts.append(scripts.behaviour(scope, schema=state.schema, name=target.install_name))
    elif not state.roles:
        parts.append(sql.SQL("SELECT evtool.grant_namespace({});\n").format(sql.Literal(state.schema)))
    if not parts:
        return ""
    parts.insert(0, scripts.lock(None if state.name is None else state.schema))
    if state.name == settings.DEFAULT_NAMESPACE:
        parts.append(_client_script(state.schema))
    return _in_transaction(target.what, sql.Composed(parts).as_string())


def _check_script(name: str, schema: str) -> sql.Composed:
    return sql.SQL("SELECT evtool.check_schema_name({}, {});\n").format(sql.Literal(schema), sql.Literal(name))


def _client_script(schema: str) -> sql.Composed:
    return sql.SQL("SELECT evtool.ensure_client_role({}, {});\n").format(sql.Literal(CLIENT_ROLE), sql.Literal(schema))


def _in_transaction(what: str, body: str) -> str:
    return f"-- {what}\nBEGIN;\n{body.rstrip()}\nCOMMIT;\n"


def _comment(name: str) -> str:
    # a line break would end the comment; names have none, see names.check_namespace
    return f'"{name}"'


def _structure_versions(connection: Connection, only: str | None = None) -> dict[str, str]:
    """The version of the tables of each schema that has any, or of one."""
    versions = {}
    for (schema,) in connection.execute(_STRUCTURES).fetchall():
        if only not in {None, schema}:
            continue
        query = sql.SQL("SELECT version_num FROM {}.evtool_version").format(sql.Identifier(schema))
        row = connection.execute(query).fetchone()
        if row is not None:
            versions[schema] = row[0]
    return versions


def _behaviour_is_stale(connection: Connection, target: _Target) -> bool:
    """Whether the functions must be replaced.

    Raises:
        DatabaseTooNew: they are a newer evtool's.
    """
    for schema, checksum, version, unchanged, _ in connection.execute(_BEHAVIOURS).fetchall():
        if schema != target.schema:
            continue
        differs = checksum != sqltext.checksum(target.scope)
        if differs and _is_newer(version):
            raise DatabaseTooNew(
                f"the functions of {target.what} are of evtool {version}, and this is {__version__}",
                hint="upgrade evtool (pip install -U evtool)",
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


class _Explained:
    """Turns what SQLAlchemy wraps around a psycopg error back into that error."""

    def __init__(self, target: _Target) -> None:
        self._target = target

    def __enter__(self) -> None:
        """Nothing."""

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        """Unwraps."""
        if isinstance(error, sqlalchemy.exc.DBAPIError) and isinstance(error.orig, psycopg.Error):
            raise error.orig from error
