"""The schemas of bulk imports and of their jobs in `evtool migrate`: kept up to date where they are, made nowhere."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence

from evtool import sqltext
from evtool.bulk import installing as bulk
from evtool.bulk.jobs import installing as jobs
from evtool.connecting import server_dsn
from evtool.errors import EvtoolError
from evtool.model import MigrationStep, NamespaceState
from evtool.stores.postgres import registry, scripts
from evtool.stores.postgres.connection import Connection, Connector, Notices
from evtool.stores.postgres.translation import translated

_SCOPES = {bulk.SCHEMA: bulk.BULK, scripts.JOBS_SCHEMA: scripts.JOBS}


def status(dsn: str) -> list[NamespaceState]:
    """How each of the two that is installed stands to what this version ships. Changes nothing.

    Raises:
        StoreUnreachable: no server, no login.
    """
    with contextlib.closing(Connector(server_dsn(dsn)).open()) as connection, translated():
        return _states(connection)


def migrate(dsn: str) -> list[MigrationStep]:
    """Brings each of the two that is installed up to date, in a transaction of its own; a failure is a step, too.

    Raises:
        StoreUnreachable: no server, no login.
    """
    with contextlib.closing(Connector(server_dsn(dsn)).open()) as connection:
        with translated():
            states = _states(connection)
        return [_step(connection, state) for state in states]


def _states(connection: Connection) -> list[NamespaceState]:
    if not registry.is_installed(connection):
        # the queue's functions are entered there
        return []
    return [state for state in (bulk.state(connection), jobs.state(connection)) if state is not None]


def _step(connection: Connection, state: NamespaceState) -> MigrationStep:
    started = time.monotonic()
    notes: Sequence[str] = ()
    try:
        with translated():
            if state.schema == bulk.SCHEMA:
                action, notes = _bulk(connection, state)
            else:
                action, notes = jobs.install(connection)
    except EvtoolError as error:
        return MigrationStep(None, state.schema, "failed", state.structure, (), time.monotonic() - started, error)
    version = sqltext.structure_version(_SCOPES[state.schema])
    return MigrationStep(None, state.schema, action, version, tuple(notes), time.monotonic() - started)


def _bulk(connection: Connection, state: NamespaceState) -> tuple[str, Sequence[str]]:
    with Notices(connection) as notes:
        changed = bulk.install(connection)
    return ("upgraded" if state.pending else "functions replaced") if changed else "current", notes
