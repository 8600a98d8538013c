"""The sessions of exports from PostgreSQL: one is kept for the next export, and whatever went wrong with it is not."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from psycopg import conninfo

import evtool
from evtool.model import ExportBlock
from evtool.stores.postgres import PostgresStore, connection
from evtool.testing.contract.helping import append, record

NAME = "exported again"
COUNT = 2500
SESSIONS = "SELECT pid FROM pg_stat_activity WHERE application_name = %s ORDER BY pid"

Begin = Callable[[], Iterator[ExportBlock]]
Sessions = Callable[[], set[int]]
Until = Callable[[Callable[[], bool]], None]


@pytest.fixture(autouse=True)
def for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is kept is kept for as long as a slow machine takes for a test."""
    monkeypatch.setattr(connection, "_KEPT_SECONDS", 600.0)


@pytest.fixture
def store(dsn: str, shared_store: PostgresStore) -> Iterator[evtool.Store]:
    """A store with messages whose sessions are told from all others by their name."""
    shared_store.create_namespace(NAME)
    with evtool.connect(conninfo.make_conninfo(dsn, application_name=NAME), NAME) as one:
        append(one, "thing-1", COUNT)
        yield one
    shared_store.delete_namespace(NAME)


@pytest.fixture
def sessions(dsn: str) -> Iterator[Sessions]:
    """The processes of the store's sessions that are connected now."""
    with psycopg.connect(dsn, autocommit=True) as session:
        yield lambda: {pid for (pid,) in session.execute(SESSIONS, (NAME,))}


@pytest.fixture
def begin(store: evtool.Store) -> Iterator[Begin]:
    """Begins an export, reads its first block, and returns the others; they are closed in the end."""
    with contextlib.ExitStack() as begun:

        def make() -> Iterator[ExportBlock]:
            blocks = begun.enter_context(contextlib.closing(store.export(evtool.Selection())))  # type: ignore[type-var]
            assert next(blocks).last_position < COUNT
            return blocks

        yield make


def last_of(blocks: Iterator[ExportBlock]) -> int:
    """The position of the last message of what is left of an export."""
    return [block.last_position for block in blocks][-1]


def positions(store: evtool.Store) -> int:
    """How many messages an export has."""
    return sum(block.count for block in store.export(evtool.Selection()))


def test_an_export_leaves_its_session_to_the_next(store: evtool.Store, sessions: Sessions) -> None:
    """Exports one after another open one session; each sees what was written before it."""
    for more in range(3):
        assert positions(store) == COUNT + more
        append(store, "thing-1")
        if not more:
            first = sessions()
    assert sessions() == first


def test_exports_at_the_same_time_have_a_session_each(
    store: evtool.Store, begin: Begin, sessions: Sessions, until: Until
) -> None:
    """Of three that go on together none waits for another; one of their sessions is kept."""
    before = len(sessions())
    under_way = [begin() for _ in range(3)]
    assert len(sessions()) == before + 3
    for blocks in under_way:
        assert last_of(blocks) == COUNT
    until(lambda: len(sessions()) == before + 1)
    assert positions(store) == COUNT


def test_an_export_that_is_broken_off_leaves_no_session(
    store: evtool.Store, begin: Begin, sessions: Sessions, until: Until
) -> None:
    """Nobody gets a session in the middle of a COPY."""
    before = sessions()
    blocks = begin()
    blocks.close()  # type: ignore[attr-defined]
    until(lambda: sessions() == before)
    assert positions(store) == COUNT


def test_a_session_that_the_server_has_ended_is_not_used_again(
    store: evtool.Store, dsn: str, sessions: Sessions, until: Until
) -> None:
    """The next export opens another one, and misses nothing."""
    before = sessions()
    assert positions(store) == COUNT
    (kept,) = sessions() - before
    with psycopg.connect(dsn, autocommit=True) as session:
        session.execute("SELECT pg_terminate_backend(%s)", (kept,))
    until(lambda: kept not in sessions())
    assert positions(store) == COUNT


def test_a_session_is_not_kept_for_long(
    store: evtool.Store, sessions: Sessions, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that exports no more has no session for it, though its store stays open."""
    monkeypatch.setattr(connection, "_KEPT_SECONDS", 0.1)
    before = sessions()
    assert positions(store) == COUNT
    until(lambda: sessions() == before)
    assert positions(store) == COUNT


def test_whoever_opens_another_session_ends_the_one_that_is_kept(
    store: evtool.Store, sessions: Sessions, until: Until
) -> None:
    """A role that may have two sessions reads, exports and imports, one after another."""
    before = sessions()
    assert positions(store) == COUNT
    (kept,) = sessions() - before
    store.import_batch([record(COUNT + 1, "imported-1")])
    until(lambda: kept not in sessions())


def test_a_slice_that_ends_with_a_message_leaves_its_session(
    store: evtool.Store, sessions: Sessions, tmp_path: Path
) -> None:
    """Of an export to a file, too, is nothing left to be read when its last message was."""
    before = sessions()
    kept = []
    for _ in range(2):
        evtool.export_file(store, str(tmp_path / "slice.ndjson"), evtool.Selection(to_position=100))
        kept.append(sessions() - before)
    assert len(kept[0]) == 1
    assert kept[0] == kept[1]


def test_a_store_that_is_closed_during_an_export_keeps_no_session(
    store: evtool.Store, begin: Begin, sessions: Sessions, until: Until
) -> None:
    """What is under way goes on to its end, and then its session ends, too."""
    blocks = begin()
    store.close()
    assert last_of(blocks) == COUNT
    until(lambda: not sessions())


def test_a_child_does_not_wait_for_what_its_parents_threads_held(store: evtool.Store, dsn: str, until: Until) -> None:
    """A thread that looks for its namespace when the process is forked is not there in the child to let others in."""
    waiting = "SELECT count(*) FROM pg_locks WHERE relation = 'evtool.namespaces'::regclass AND NOT granted"
    with (
        psycopg.connect(dsn) as keeper,
        psycopg.connect(dsn, autocommit=True) as session,
        ThreadPoolExecutor() as threads,
    ):
        keeper.execute("LOCK TABLE evtool.namespaces")
        held = threads.submit(positions, store)
        until(lambda: session.execute(waiting).fetchone() == (1,))
        pid = os.fork()
        if not pid:
            code = 1
            try:
                code = int(positions(store) != COUNT)
            finally:
                os._exit(code)
        try:
            until(lambda: session.execute(waiting).fetchone() == (2,))
        except BaseException:
            os.kill(pid, signal.SIGKILL)
            raise
        finally:
            keeper.rollback()
            ended = os.waitpid(pid, 0)[1]
        assert os.waitstatus_to_exitcode(ended) == 0
        assert held.result() == COUNT


def test_a_process_that_was_forked_leaves_its_parents_session_alone(
    store: evtool.Store, dsn: str, sessions: Sessions
) -> None:
    """Parent and child export with a session each, and the parent's is still there when the child's has ended."""
    assert positions(store) == COUNT
    before = sessions()
    pid = os.fork()
    if not pid:
        code = 1
        try:
            assert positions(store) == COUNT
            with psycopg.connect(dsn) as session:
                code = int(session.execute(SESSIONS, (NAME,)).fetchall() == [(one,) for one in sorted(before)])
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert positions(store) == COUNT
    assert sessions() == before
