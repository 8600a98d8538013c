"""Migrating many namespaces: several at a time, each in its own transaction, and one that fails stops no other."""

from __future__ import annotations

import dataclasses
import queue
import threading
import time
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg

from evtool.errors import EvtoolError, InvalidArgument, NamespaceNotFound, StoreUnreachable
from evtool.model import MigrationPlan, MigrationStep
from evtool.stores.postgres import migration, registry
from evtool.stores.postgres.connection import Connection, Connector
from evtool.stores.postgres.migration import Target
from evtool.stores.postgres.rights import explained
from evtool.stores.postgres.translation import translated

_NOT_TRIED = "not tried"
# what a worker puts at the end of its steps
_LAST = None


def migrate(connector: Connector, plan: MigrationPlan) -> Iterator[MigrationStep]:
    """Migrates the registry, then the namespaces of a plan; a step for each, as they end.

    Raises:
        InvalidArgument: the plan has no connection to work with, or a negative canary.
        NamespaceNotFound: the plan names one that isn't there; only the registry was migrated.
        EvtoolError: the registry can't be migrated, and so nothing was.
    """
    if plan.jobs < 1 or plan.canary < 0:
        raise InvalidArgument("jobs must be 1 or more, and canary 0 or more", hint="for instance: --jobs 4 --canary 1")
    connection = connector.open()
    try:
        with translated(), explained(connection, migration.REGISTRY):
            start = time.monotonic()
            step = migration.migrate_one(connection, migration.REGISTRY)
            yield dataclasses.replace(step, seconds=time.monotonic() - start)
            targets = _targets(connection, plan)
            if not targets and not plan.namespaces:
                yield migration.create_default(connection)
        waiting = iter(targets)
        if (yield from _canaries(connection, waiting, plan.canary)):
            yield from _not_tried(waiting, "a canary failed")
    finally:
        connection.close()
    rest = list(waiting)
    yield from _all_at_once(connector, rest, min(plan.jobs, len(rest)))


def _targets(connection: Connection, plan: MigrationPlan) -> list[Target]:
    there = {namespace.name: migration.target_of(namespace) for namespace in registry.list_namespaces(connection)}
    missing = [name for name in plan.namespaces if name not in there]
    if missing:
        names = ", ".join(f'"{name}"' for name in missing)
        raise NamespaceNotFound(f"there is no namespace {names}", hint="see: evtool ns list")
    return [target for name, target in there.items() if not plan.namespaces or name in plan.namespaces]


def _canaries(connection: Connection, waiting: Iterator[Target], wanted: int) -> Generator[MigrationStep, None, bool]:
    """Migrates one after the other until as many as wanted have changed; returns whether one failed."""
    while wanted and (target := next(waiting, None)) is not None:
        step = _try(connection, target)
        yield step
        if step.error is not None:
            return True
        wanted -= step.action not in {"current", "left alone"}
    return False


def _not_tried(targets: Iterable[Target], why: str) -> Iterator[MigrationStep]:
    for target in targets:
        yield MigrationStep(target.name, target.schema, _NOT_TRIED, None, (why,))


def _try(connection: Connection, target: Target) -> MigrationStep:
    """Migrates a namespace; a failure is a step, too."""
    start = time.monotonic()
    try:
        with translated(target.name), explained(connection, target):
            step = migration.migrate_one(connection, target)
    except EvtoolError as error:
        step = MigrationStep(target.name, target.schema, "failed", None, error=error)
    return dataclasses.replace(step, seconds=time.monotonic() - start)


def _all_at_once(connector: Connector, targets: list[Target], jobs: int) -> Iterator[MigrationStep]:
    if not targets:
        return
    crew = _Crew(connector, targets)
    with ThreadPoolExecutor(jobs, thread_name_prefix="evtool-migrate") as pool:
        try:
            for _ in range(jobs):
                pool.submit(crew.work)
            working = jobs
            while working:
                step = crew.steps.get()
                if step is _LAST:
                    working -= 1
                else:
                    yield step
        finally:
            # Ctrl-C, or a caller that has seen enough: what runs now is rolled back
            crew.stop()
    if crew.broken is not None:
        raise crew.broken
    left = list(crew.left())
    if left and crew.unreachable is not None:
        if len(left) == len(targets):
            raise crew.unreachable
        yield from _not_tried(left, crew.unreachable.message)


class _Crew:
    """Workers with a connection each, who take the next namespace until there is none."""

    def __init__(self, connector: Connector, targets: list[Target]) -> None:
        self.steps: queue.SimpleQueue[MigrationStep | None] = queue.SimpleQueue()
        self.unreachable: StoreUnreachable | None = None
        self.broken: BaseException | None = None
        self._connector = connector
        self._targets: queue.SimpleQueue[Target] = queue.SimpleQueue()
        self._connections: set[Connection] = set()
        self._stopped = threading.Event()
        for target in targets:
            self._targets.put(target)

    def left(self) -> Iterator[Target]:
        """Those whom nobody has taken."""
        while True:
            try:
                yield self._targets.get_nowait()
            except queue.Empty:
                return

    def work(self) -> None:
        """Migrates until nothing is left, or no connection can be had; the others go on in that case."""
        try:
            while not self._stopped.is_set() and not self._targets.empty():
                connection = self._connector.open()
                self._connections.add(connection)
                try:
                    self._work_on(connection)
                finally:
                    self._connections.discard(connection)
                    connection.close()
        except StoreUnreachable as error:
            self.unreachable = error
        except BaseException as error:  # noqa: BLE001 - raised where the steps are taken
            self.broken = error
        finally:
            self.steps.put(_LAST)

    def stop(self) -> None:
        """Lets each finish, or cancels what it waits for."""
        self._stopped.set()
        for connection in list(self._connections):
            try:
                connection.cancel_safe(timeout=1)
            except psycopg.Error:
                # it has just ended
                continue

    def _work_on(self, connection: Connection) -> None:
        for target in self.left():
            self.steps.put(_try(connection, target))
            if self._stopped.is_set() or connection.closed:
                return
