"""Making a namespace of a store that Message DB 1.3.0 installed, while its clients go on.

The steps, each committed by itself and passed over when it is done already:

1. The registry, and whether the schema is what it should be (sql/registry/functions/check_adoptable.sql).
2. Indexes that are missing, built concurrently (sql/adoption/indexes.sql).
3. A lock that old and new writers share (sql/adoption/functions/acquire_lock.sql), and a wait for those who write
   without it.
4. In one transaction: the structure's version, the functions, the views, the groups and their members, the registry.
   No table is locked against readers or writers.
5. Another wait, for those who write by the old function; then nobody may insert around the functions any more.

A schema that evtool made itself, from a backup of that schema alone, only needs the fourth.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import timedelta

from psycopg import sql

from evtool import names, sqltext
from evtool.errors import NamespaceRefused, ServerUnsuitable, StoreTimeout
from evtool.stores.postgres import migration, migration_scripts, registry, scripts, structure
from evtool.stores.postgres.connection import BehindPooler, Connection, Notices
from evtool.stores.postgres.migration import Target
from evtool.stores.postgres.rights import explained

_CHECK = "SELECT evtool.check_adoptable(%s, %s)"
_FIRST = "0001"
"""The structure that Message DB's table is."""

# What a killed CREATE INDEX CONCURRENTLY leaves behind.
_INVALID = sql.SQL(
    "SELECT format('DROP INDEX CONCURRENTLY %I.%I', n.nspname, c.relname)\n"
    "FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace\n"
    "WHERE n.nspname = {} AND NOT i.indisvalid AND c.relname IN ('messages_time', 'messages_stream_bytes')"
)
# Whether anybody but the owner may still write around the functions.
_DIRECT_WRITES = """
    SELECT EXISTS (
      SELECT FROM pg_class AS c, aclexplode(c.relacl) AS a
      WHERE c.relnamespace = to_regnamespace(quote_ident(%s)) AND a.grantee NOT IN (0, c.relowner)
        AND CASE c.relname
          WHEN 'messages' THEN a.privilege_type = 'INSERT'
          WHEN 'messages_global_position_seq' THEN a.privilege_type <> 'SELECT'
        END)
"""
_GUARD = "SELECT pg_try_advisory_lock(hashtext('evtool adopt'), hashtext(%s))"
_UNGUARD = "SELECT pg_advisory_unlock(hashtext('evtool adopt'), hashtext(%s))"


def adopt(connection: Connection, schema: str, name: str, wait: timedelta) -> Iterator[str]:
    """See `Administration.adopt`."""
    names.check_namespace(name)
    _check_schema(schema)
    if isinstance(connection, BehindPooler):
        raise ServerUnsuitable(
            "a store can't be adopted through a connection pooler", hint="connect to the server itself"
        )
    target = Target(scripts.NAMESPACE, schema, name)
    with explained(connection, migration.REGISTRY):
        step = migration.migrate_one(connection, migration.REGISTRY)
    if step.action != "current":
        yield f"the registry was {step.action}"
    with explained(connection, target), _alone(connection, schema):
        found = connection.execute(_CHECK, (schema, name)).fetchone()
        assert found is not None
        if found[0] == "evtool":
            yield from _register(connection, target)
            return
        if found[0] == "message_db":
            yield from _build_indexes(connection, schema)
            _in_transaction(connection, schema, _bridge(schema))
            yield "old and new writers share a lock"
            _wait(connection, wait)
            yield from _in_transaction(connection, schema, _take_over(target))
            yield f'the schema {schema} is the namespace "{name}"'
        elif connection.execute(_DIRECT_WRITES, (schema,)).fetchone() == (False,):
            yield "nothing is left to be done"
            return
        _wait(connection, wait)
        yield from _in_transaction(connection, schema, _close(schema))
        yield "nobody may write around the functions"


def script(connection: Connection, schema: str, name: str) -> str:
    """See `Administration.adoption_script`."""
    names.check_namespace(name)
    _check_schema(schema)
    target = Target(scripts.NAMESPACE, schema, name)
    found = ("message_db",)
    parts = [migration_scripts.STOP, migration_scripts.registry_script(connection)]
    if registry.is_installed(connection) and migration.has_function(connection, "evtool.check_adoptable(text, text)"):
        found = connection.execute(_CHECK, (schema, name)).fetchone() or found
    if found[0] == "evtool":
        current = migration.structure_version(connection, schema)
        parts.append(_transaction(connection, schema, _enter(target, current)))
        return "\n".join(parts)
    if found[0] == "message_db":
        parts += [
            "-- the indexes that are missing; what a killed run left of them goes first\n"
            + _INVALID.format(sql.Literal(schema)).as_string(connection)
            + "\\gexec\n",
            _indexes(schema).as_string(connection),
            _transaction(connection, schema, _bridge(schema)),
            "SELECT evtool.wait_for_transactions();\n",
            _transaction(connection, schema, _take_over(target)),
        ]
    parts += ["SELECT evtool.wait_for_transactions();\n", _transaction(connection, schema, _close(schema))]
    return "\n".join(parts)


def _check_schema(schema: str) -> None:
    try:
        names.check_schema(schema)
    except NamespaceRefused as error:
        raise NamespaceRefused(
            error.message, hint="move what is to be adopted into a schema of its own: ALTER TABLE … SET SCHEMA …"
        ) from error


@contextlib.contextmanager
def _alone(connection: Connection, schema: str) -> Iterator[None]:
    """Keeps a second adoption of the same schema out: it would take an index that is being built for a broken one."""
    row = connection.execute(_GUARD, (schema,)).fetchone()
    if not row or not row[0]:
        raise StoreTimeout(f"the schema {schema} is being adopted by another session", hint="wait until that has ended")
    try:
        yield
    finally:
        if not connection.closed:
            connection.execute(_UNGUARD, (schema,))


def _build_indexes(connection: Connection, schema: str) -> Iterator[str]:
    for (statement,) in connection.execute(_INVALID.format(sql.Literal(schema))).fetchall():
        connection.execute(statement)
        yield "an index that was half built was dropped"
    for statement in sqltext.statements(_indexes(schema).as_string(connection)):
        connection.execute(statement)
    yield "the missing indexes were built"


def _indexes(schema: str) -> sql.Composed:
    return scripts.fill(sqltext.read("adoption/indexes.sql"), {"ns": schema})


def _wait(connection: Connection, wait: timedelta) -> None:
    connection.execute("SELECT evtool.wait_for_transactions(%s)", (wait,))


def _register(connection: Connection, target: Target) -> Iterator[str]:
    current = migration.structure_version(connection, target.schema)
    yield from _in_transaction(connection, target.schema, _enter(target, current))
    yield f'the schema {target.schema} is the namespace "{target.name}" again'


def _in_transaction(connection: Connection, schema: str, body: sql.Composed) -> list[str]:
    """Runs a step, and returns what the server had to say."""
    with Notices(connection) as notes, connection.transaction():
        connection.execute(scripts.lock(schema))
        connection.execute(scripts.SHORT_WAIT)
        connection.execute(body)
    return notes


def _transaction(connection: Connection, schema: str, body: sql.Composed) -> str:
    parts = sql.Composed([scripts.lock(schema), scripts.SHORT_WAIT, body])
    return f"BEGIN;\n{parts.as_string(connection).rstrip()}\nCOMMIT;\n"


def _bridge(schema: str) -> sql.Composed:
    return scripts.fill(sqltext.read("adoption/functions/acquire_lock.sql"), {"ns": schema})


def _take_over(target: Target) -> sql.Composed:
    first = scripts.fill(sqltext.read("adoption/structure.sql"), {"ns": target.schema})
    clients = sql.SQL("SELECT evtool.adopt_roles({});\n").format(sql.Literal(target.schema))
    return sql.Composed([first, _enter(target, _FIRST), clients])


def _enter(target: Target, current: str | None) -> sql.Composed:
    """What makes a namespace of a schema that has evtool's structure in some version."""
    parts: list[sql.Composable] = []
    if structure.pending(target.scope, current, what=target.what):
        path = sql.SQL("SET LOCAL search_path = {}, pg_temp;\n").format(sql.Identifier(target.schema))
        parts += [path, sql.SQL(structure.upgrade_script(target.scope, current, target.schema))]
    check = sql.SQL("SELECT evtool.check_adoptable({}, {});\n")
    parts.append(check.format(sql.Literal(target.schema), sql.Literal(target.install_name)))
    parts.append(scripts.behaviour(target.scope, schema=target.schema, name=target.install_name))
    return sql.Composed(parts)


def _close(schema: str) -> sql.Composed:
    return sql.SQL("SELECT evtool.revoke_direct_writes({});\n").format(sql.Literal(schema))
