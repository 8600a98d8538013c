"""Brings a database's queue, the schema `evtool_jobs`, to what this version ships, and knows whether it is."""

from __future__ import annotations

import contextlib

from packaging.version import InvalidVersion, Version
from psycopg import sql

from evtool import __version__, sqltext
from evtool.bulk import installing as bulk
from evtool.connecting import server_dsn
from evtool.errors import DatabaseTooNew, MigrationFailed, NamespaceRefused, NotMigrated
from evtool.model import NamespaceState
from evtool.stores.postgres import registry, scripts
from evtool.stores.postgres.connection import Connection, Connector, Notices
from evtool.stores.postgres.translation import translated

INSTALL = "run: evtool bulk jobs --init"
"""The next step where there is no queue."""

_VERSION = "SELECT version_num FROM evtool_jobs.evtool_version"
_BEHAVIOUR = """
    SELECT checksum, evtool_version, fingerprint = evtool.fingerprint(schema_name)
    FROM evtool.behaviours
    WHERE schema_name = 'evtool_jobs'
"""
_EXISTS = "SELECT to_regnamespace('evtool_jobs') IS NOT NULL, to_regclass('evtool_jobs.evtool_version') IS NOT NULL"
_ROLES = """
    SELECT count(*)
    FROM pg_roles
    WHERE rolname IN ('evtool_jobs_reader', 'evtool_jobs_submitter', 'evtool_jobs_worker')
"""
_MAY_CLAIM = "SELECT to_regprocedure('evtool_jobs.claim(text, interval, integer, timestamptz)') IS NOT NULL"


def install(connection: Connection) -> tuple[str, list[str]]:
    """Makes the queue, or brings it up to date, in one transaction; whoever does so at the same time waits.

    Returns:
        What was done (`created`, `upgraded`, `functions replaced` or `current`), and what the server had to say.

    Raises:
        NotMigrated: the database has no registry.
        DatabaseTooNew: a newer evtool made the queue.
        NamespaceRefused: the schema evtool_jobs is somebody else's.
    """
    if not registry.is_installed(connection):
        raise NotMigrated("this database has no registry of evtool yet", hint="run: evtool migrate, with this --dsn")
    # alembic takes a second to import
    from evtool.stores.postgres import structure

    with Notices(connection) as notes, connection.transaction():
        connection.execute(scripts.lock(scripts.JOBS_SCHEMA))
        current = _structure(connection)
        is_new = current is None
        if is_new:
            connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(scripts.JOBS_SCHEMA)))
        pending = structure.pending(scripts.JOBS, current, what="the queue of bulk jobs")
        if pending:
            structure.upgrade(connection, scripts.JOBS, scripts.JOBS_SCHEMA, current)
        stale = bool(pending) or _is_stale(connection)
        if stale:
            connection.execute(_behaviour())
        elif not _roles_are_there(connection):
            connection.execute("SELECT evtool_jobs.grant_roles()")
    done = "created" if is_new else "upgraded" if pending else "functions replaced" if stale else "current"
    return done, notes


def install_at(dsn: str) -> tuple[str, list[str]]:
    """As `install`, on a connection of its own; what imports need is made too."""
    with contextlib.closing(Connector(server_dsn(dsn)).open()) as connection, translated():
        bulk.install(connection)
        return install(connection)


def state(connection: Connection) -> NamespaceState | None:
    """How the queue stands to what this version ships; None where there is none, or the schema is somebody else's."""
    row = connection.execute(_EXISTS).fetchone()
    current = _structure(connection) if row == (True, True) else None
    if current is None:
        return None
    from evtool.stores.postgres import structure

    found = connection.execute(_BEHAVIOUR).fetchone()
    if found is None:
        functions = "missing"
    elif not found[2]:
        functions = "changed"
    else:
        functions = "current" if found[0] == sqltext.checksum(scripts.JOBS) else "outdated"
    roles = _roles_are_there(connection)
    try:
        pending = tuple(structure.pending(scripts.JOBS, current, what="the queue of bulk jobs"))
    except DatabaseTooNew as error:
        note = f"{error.message}; {error.hint}"
        return NamespaceState(None, scripts.JOBS_SCHEMA, current, (), functions, roles, note)
    return NamespaceState(None, scripts.JOBS_SCHEMA, current, pending, functions, roles)


def script() -> str:
    """The SQL that makes the queue in a database that has a registry, a transaction of its own, runnable by psql."""
    body = sql.Composed(
        [
            scripts.lock(scripts.JOBS_SCHEMA),
            scripts.create_schema(scripts.JOBS_SCHEMA),
            scripts.structure(scripts.JOBS, schema=scripts.JOBS_SCHEMA, name=scripts.JOBS_SCHEMA),
            _behaviour(),
        ]
    )
    return f"\\set ON_ERROR_STOP on\n-- the queue of bulk jobs\nBEGIN;\n{body.as_string().rstrip()}\nCOMMIT;\n"


def check(connection: Connection) -> None:
    """Makes sure that there is a queue that this evtool knows, for those who only use it.

    Raises:
        NotMigrated: there is none.
        DatabaseTooNew: a newer evtool made it.
        MigrationFailed: an older one did.
    """
    row = connection.execute(_MAY_CLAIM).fetchone()
    current = _structure(connection)
    if row is None or current is None:
        raise NotMigrated("this database has no queue of bulk jobs yet", hint=INSTALL)
    known = sqltext.structure_version(scripts.JOBS)
    if current > known:
        raise _too_new(f"structure {current}", known)
    if current < known or not row[0]:
        raise MigrationFailed("the queue of bulk jobs is an older evtool's", hint=INSTALL)


def _structure(connection: Connection) -> str | None:
    """The version of the queue's tables; None where there are none."""
    row = connection.execute(_EXISTS).fetchone()
    assert row is not None
    schema, table = row
    if not schema:
        return None
    if not table:
        raise NamespaceRefused(
            "the schema evtool_jobs exists and holds no queue of evtool",
            hint="rename that schema: ALTER SCHEMA evtool_jobs RENAME TO …",
        )
    found = connection.execute(_VERSION).fetchone()
    return str(found[0]) if found else None


def _is_stale(connection: Connection) -> bool:
    row = connection.execute(_BEHAVIOUR).fetchone()
    if row is None:
        return True
    checksum, version, unchanged = row
    differs = checksum != sqltext.checksum(scripts.JOBS)
    if differs and _is_newer(version):
        raise _too_new(f"functions of evtool {version}", __version__)
    return differs or not unchanged


def _is_newer(version: str) -> bool:
    try:
        return Version(version) > Version(__version__)
    except InvalidVersion:
        return False


def _too_new(what: str, known: str) -> DatabaseTooNew:
    return DatabaseTooNew(
        f"the queue of bulk jobs has {what}, and this evtool knows {known} at the most",
        hint="a newer evtool made it: upgrade evtool",
    )


def _roles_are_there(connection: Connection) -> bool:
    return connection.execute(_ROLES).fetchone() == (3,)


def _behaviour() -> sql.Composed:
    return scripts.behaviour(scripts.JOBS, schema=scripts.JOBS_SCHEMA, name=scripts.JOBS_SCHEMA)
