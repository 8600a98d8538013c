"""What a migration would do, as SQL for psql: `--sql` of migrate and of ns."""

from __future__ import annotations

from psycopg import sql

from evtool import __version__, settings
from evtool.errors import DatabaseTooNew, MigrationFailed
from evtool.model import NamespaceState
from evtool.stores.postgres import migration, registry, scripts, structure
from evtool.stores.postgres.connection import Connection
from evtool.stores.postgres.migration import CLIENT_ROLE, Target

# psql goes on after an error unless told otherwise
STOP = "\\set ON_ERROR_STOP on\n"


def script(connection: Connection | None) -> str:
    """The SQL of `migrate`, complete and runnable by psql; with nothing to do it holds only a comment.

    Args:
        connection: the database to be migrated; None for a fresh one.
    """
    parts = [f"-- evtool {__version__}: what `evtool migrate` would do\n{STOP}"]
    installed = connection is not None and registry.is_installed(connection)
    states = migration.status(connection) if connection is not None and installed else []
    for state in states:
        if state.note:
            kind = MigrationFailed if state.structure is None else DatabaseTooNew
            raise kind(state.note, hint="see: evtool migrate status")
        parts.append(_upgrade_script(state))
    if not installed:
        parts.append(_new_script(migration.REGISTRY))
    if connection is None or not [state for state in states if state.name is not None]:
        parts.append(_default_script(connection))
    text = "\n".join(part for part in parts if part)
    return text if len([part for part in parts if part]) > 1 else text + "-- nothing to do\n"


def registry_script(connection: Connection) -> str:
    """The SQL that makes or upgrades the registry; only a comment where that is not needed."""
    if not registry.is_installed(connection):
        return _new_script(migration.REGISTRY)
    (state,) = [state for state in migration.status(connection) if state.name is None]
    if state.note:
        raise DatabaseTooNew(state.note, hint="see: evtool migrate status")
    return _upgrade_script(state) or "-- the registry is current\n"


def _default_script(connection: Connection | None) -> str:
    """The namespace that a fresh database gets; only a comment where something else has its schema."""
    schema = settings.DEFAULT_NAMESPACE
    if connection is not None:
        row = connection.execute("SELECT to_regnamespace(quote_ident(%s)) IS NOT NULL", (schema,)).fetchone()
        if row and row[0]:
            return f"-- the schema {schema} exists and is not a namespace of evtool: it is left alone\n"
    return _new_script(Target(scripts.NAMESPACE, schema, schema))


def namespace_script(name: str, schema: str) -> str:
    """The SQL that makes a namespace, a transaction of its own."""
    parts = [scripts.lock(schema), _check_script(name, schema), registry.create_script(name, schema)]
    return f"{STOP}{_in_transaction(f'the namespace {_comment(name)}', sql.Composed(parts).as_string())}"


def deletion_script(name: str, schema: str) -> str:
    """The SQL that removes a namespace, a transaction of its own."""
    body = sql.Composed([scripts.lock(schema), registry.delete_script(schema)]).as_string()
    return f"{STOP}{_in_transaction(f'the namespace {_comment(name)}', body)}"


def _new_script(target: Target) -> str:
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
    target = Target(scope, state.schema, state.name)
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
    parts[:0] = [scripts.lock(None if state.name is None else state.schema), scripts.SHORT_WAIT]
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
