"""The doctor: all checks of a database, each in a read-only transaction of its own, and the mending of what they find.

A check is a query in sql/doctor and the words for what it finds. What a role may not see is told, and the other checks
go on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from typing import TypeVar

import psycopg

from evtool.errors import EvtoolError, ServerUnsuitable
from evtool.findings import Diagnosis, Mended, Severity
from evtool.model import NamespaceState
from evtool.stores.postgres import migration, registry
from evtool.stores.postgres.connection import BehindPooler, Connection
from evtool.stores.postgres.doctor import grants, messages, server, structures
from evtool.stores.postgres.doctor.checking import Found
from evtool.stores.postgres.migration import REGISTRY, Target, target_of
from evtool.stores.postgres.translation import one_line

_SEVERITIES = list(Severity)
_Result = TypeVar("_Result")


def diagnose(connection: Connection, name: str | None, busy: timedelta) -> Diagnosis:
    """See `Administration.diagnose`."""
    examination = _Examination(connection)
    examination.run(name, busy)
    findings = sorted((one.finding for one in examination.found), key=lambda one: _SEVERITIES.index(one.severity))
    return Diagnosis(tuple(findings), tuple(dict.fromkeys(examination.unseen)))


def mend(connection: Connection, name: str | None) -> Iterator[Mended]:
    """See `Administration.mend`."""
    if isinstance(connection, BehindPooler):
        raise ServerUnsuitable("nothing is mended through a connection pooler", hint="connect to the server itself")
    examination = _Examination(connection)
    examination.run(name, None)
    connection.read_only = None
    # a call of evtool.grant_namespace mends all grants of a namespace, so what was found later may be mended by then
    for one in examination.found:
        if one.mend is None:
            continue
        try:
            yield Mended(one.finding, one.mend(connection))
        except psycopg.OperationalError as error:
            if connection.closed:
                raise
            yield Mended(one.finding, None, _said(error))
        except (psycopg.Error, EvtoolError) as error:
            yield Mended(one.finding, None, _said(error))


class _Examination:
    """All checks, one after the other."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.found: list[Found] = []
        self.unseen: list[str] = []

    def run(self, name: str | None, busy: timedelta | None) -> None:
        """Looks at everything; `busy` of None leaves out what is never mended: settings and transactions."""
        connection = self._connection
        connection.read_only = True
        if name is None:
            targets = [target_of(one) for one in registry.list_namespaces(connection)]
        else:
            targets = [target_of(registry.get(connection, name))]
        states = self._states()
        self._check("what the registry lacks", lambda: structures.check_orphans(connection), only=name is None)
        for target in (REGISTRY, *targets):
            self._namespace(target, states.get(target.schema))
        if busy is not None:
            self._check("the server's settings", lambda: server.check_settings(connection))
            self._check("busy transactions", lambda: server.check_busy(connection, busy))
            self._see(server.unseen)

    def _namespace(self, target: Target, state: NamespaceState | None) -> None:
        connection = self._connection
        if state is not None:
            self.found += structures.check_state(target, state)
            if state.structure is None or state.pending or state.note:
                # it is not what the other checks are about
                return
        checks: list[tuple[str, Callable[[Connection, Target], Iterator[Found]]]] = [("tables", structures.check_shape)]
        if target.name is not None:
            checks += [
                ("privileges", grants.check),
                ("owners", structures.check_owners),
                ("sequence", messages.check_sequence),
                ("positions", messages.check_holes),
                ("plans", messages.check_plans),
                ("vacuum", messages.check_vacuum),
            ]
        for what, check in checks:
            self._check(f"{target.what}: {what}", lambda check=check: check(connection, target))  # type: ignore[misc]

    def _states(self) -> dict[str, NamespaceState]:
        def ask() -> list[NamespaceState]:
            try:
                return migration.status(self._connection)
            except psycopg.errors.UndefinedFunction:
                self.found.append(structures.registry_functions_missing())
                raise

        return {state.schema: state for state in self._look("which functions are installed", ask) or ()}

    def _check(self, what: str, check: Callable[[], Iterable[Found]], *, only: bool = True) -> None:
        if only:
            self.found += self._look(what, lambda: list(check())) or ()

    def _see(self, check: Callable[[Connection], str | None]) -> None:
        told = self._look("who sees what", lambda: check(self._connection))
        if told is not None:
            self.unseen.append(told)

    def _look(self, what: str, check: Callable[[], _Result]) -> _Result | None:
        """The result of a check; None, with a line in `unseen`, where it is not allowed or can't be had."""
        try:
            with self._connection.transaction():
                return check()
        except psycopg.Error as error:
            if self._connection.closed:
                raise
            self.unseen.append(f"{what}: {_said(error)}")
            return None


def _said(error: Exception) -> str:
    if isinstance(error, EvtoolError):
        return error.message
    diagnosed = error.diag.message_primary if isinstance(error, psycopg.Error) else None
    return one_line(diagnosed or str(error))
