"""ns adopt while clients write, while transactions last, and when it is killed: nobody notices, and a rerun finishes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from psycopg.pq import TransactionStatus

import evtool
from evtool.errors import StoreTimeout
from evtool.stores.postgres import adoption, migration
from tests.migration.adopting import CALLS, CHECKOUT, DEADLINE, adopt, as_client, message_db, write

GATE = 424244
ADOPT = """
import sys, evtool, datetime
for line in evtool.connect(sys.argv[1]).administration().adopt('message_store', 'message_store', datetime.timedelta(minutes=1)):
    print(line, flush=True)
"""


@pytest.fixture
def foreign(empty_dsn: str) -> Iterator[psycopg.Connection]:
    """A superuser's session on a database where Message DB was installed, and written to."""
    with message_db(empty_dsn) as session:
        yield session


def _until(condition: Callable[[], Any]) -> None:
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, "it never became true"
        time.sleep(0.005)


def _waits(watching: psycopg.Connection, session: psycopg.Connection) -> bool:
    query = "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = %s"
    return watching.execute(query, (session.info.backend_pid,)).fetchone() == (True,)


def _drains(watching: psycopg.Connection) -> bool:
    query = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%%wait_for_transactions%%' AND wait_event = %s"
    return watching.execute(query, ("PgSleep",)).fetchone() == (1,)


class _Clients:
    """Writers, a consumer and a reader who make Message DB's calls until they are told to stop."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self.stop = threading.Event()
        self.written = threading.Event()
        self.counts = [0] * 4

    def write(self, number: int) -> None:
        """Two streams for four writers: a lock that is not shared shows as a position that is taken."""
        with as_client(self.dsn) as session:
            while not self.stop.is_set():
                count = self.counts[number]
                write(session, f"order-{number % 2}")
                assert write(session, f"order-own{number}", count - 1) == count
                self.counts[number] += 1

    def consume(self) -> list[tuple[int, str]]:
        """Reads on from what it has seen, as a consumer does: what appears behind that is never seen."""
        seen: list[tuple[int, str]] = []
        query = "SELECT global_position, stream_name FROM get_category_messages('order', %s, 100)"
        with as_client(self.dsn) as session:
            while True:
                is_last = self.written.is_set()
                rows = session.execute(query, (seen[-1][0] + 1 if seen else 1,)).fetchall()
                seen += rows
                if is_last and not rows:
                    return seen

    def read(self) -> int:
        """Makes every call; returns how often."""
        count = 0
        with as_client(self.dsn) as session:
            while not self.stop.is_set():
                for call in CALLS:
                    session.execute(call)
                count += 1
        return count


def test_clients_go_on_and_none_of_their_calls_fails(foreign: psycopg.Connection, empty_dsn: str) -> None:
    """Writers and readers of Message DB's calls run all the while: no error, no position twice, nothing appears late."""
    clients = _Clients(empty_dsn)
    with ThreadPoolExecutor(8) as pool:
        writers = [pool.submit(clients.write, number) for number in range(4)]
        consumer, reader = pool.submit(clients.consume), pool.submit(clients.read)
        running = [*writers, consumer, reader]
        try:
            for _ in range(2):
                before = list(clients.counts)
                _until(
                    lambda: (
                        all(count > was + 25 for count, was in zip(clients.counts, before, strict=True))  # noqa: B023
                        or any(one.done() for one in running)
                    )
                )
                adopt(empty_dsn)
        finally:
            clients.stop.set()
            for writer in writers:
                writer.exception(DEADLINE)
            clients.written.set()
        assert [writer.result() for writer in writers] == [None] * 4
        assert reader.result(DEADLINE) > 0
        seen = consumer.result(DEADLINE)
    query = "SELECT global_position, stream_name FROM messages WHERE stream_name LIKE 'order-%%' ORDER BY 1"
    foreign.execute("SET search_path = message_store")
    assert seen == foreign.execute(query).fetchall()
    assert len(seen) == 2 * sum(clients.counts)
    holes = "SELECT stream_name FROM messages GROUP BY stream_name HAVING max(position) <> count(*) - 1 OR min(position) <> 0"
    assert foreign.execute(holes).fetchall() == []


def test_a_writer_in_the_middle_of_the_old_function_keeps_others_out(
    foreign: psycopg.Connection, empty_dsn: str
) -> None:
    """While one who began before is not done, the adoption waits, and so does whoever writes to the same category."""
    _build_the_indexes_first(foreign)
    with as_client(empty_dsn) as old, as_client(empty_dsn) as new, ThreadPoolExecutor(2) as pool:
        old.execute("BEGIN")
        assert write(old, "cart-1") == 0
        adopting = pool.submit(adopt, empty_dsn)
        _until(lambda: _drains(foreign) or adopting.done())
        writing = pool.submit(write, new, "cart-1")
        _until(lambda: _waits(foreign, new) or writing.done())
        assert not writing.done()
        assert not adopting.done()
        old.execute("COMMIT")
        assert writing.result(DEADLINE) == 1
        adopting.result(DEADLINE)


def _stuck_at_an_index(watching: psycopg.Connection) -> bool:
    query = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%%CONCURRENTLY%%' AND wait_event_type = %s"
    return watching.execute(query, ("Lock",)).fetchone() == (1,)


def test_a_writer_between_the_steps_keeps_others_out(foreign: psycopg.Connection, empty_dsn: str) -> None:
    """One who writes by the old function until after the new ones are there shares its lock with them."""
    _build_the_indexes_first(foreign)
    with (
        as_client(empty_dsn) as idle,
        as_client(empty_dsn) as old,
        as_client(empty_dsn) as new,
        ThreadPoolExecutor(2) as pool,
    ):
        idle.execute("BEGIN")
        idle.execute("SELECT 1")
        adopting = pool.submit(adopt, empty_dsn)
        # the shared lock is there, and the wait for those who don't know it has begun
        _until(lambda: _drains(foreign) or adopting.done())
        registered = "SELECT to_regclass('message_store.evtool_version') IS NOT NULL"
        assert foreign.execute(registered).fetchone() == (False,)
        old.execute("BEGIN")
        assert write(old, "cart-1") == 0
        idle.execute("COMMIT")
        _until(lambda: foreign.execute(registered).fetchone() == (True,) or adopting.done())
        writing = pool.submit(write, new, "cart-1")
        _until(lambda: _waits(foreign, new) or writing.done())
        assert not writing.done()
        assert write(old, "cart-1") == 1
        old.execute("COMMIT")
        assert writing.result(DEADLINE) == 2
        adopting.result(DEADLINE)


def _build_the_indexes_first(session: psycopg.Connection) -> None:
    """As a first run does, so that only the waits of the second are left to be waited at."""
    from evtool import sqltext
    from evtool.stores.postgres import scripts

    text = scripts.fill(sqltext.read("adoption/indexes.sql"), {"ns": "message_store"}).as_string(session)
    for statement in sqltext.statements(text):
        session.execute(statement)


def test_a_transaction_that_does_not_end_is_named_and_waited_for_again(
    foreign: psycopg.Connection, empty_dsn: str
) -> None:
    """After the wait it is TIMEOUT with the pid; clients have gone on, and another run finishes."""
    _build_the_indexes_first(foreign)
    with as_client(empty_dsn) as old:
        old.execute("BEGIN")
        old.execute("SELECT 1")
        with pytest.raises(StoreTimeout, match=f"pid: {old.info.backend_pid}"):
            adopt(empty_dsn, wait=timedelta(milliseconds=200))
        with as_client(empty_dsn) as client:
            assert write(client, "account-1") == 9
    adopt(empty_dsn)
    with evtool.connect(empty_dsn) as store:
        assert all(state.current for state in store.migration_status())


def test_two_who_adopt_at_once_do_not_disturb_each_other(foreign: psycopg.Connection, empty_dsn: str) -> None:
    """The second is told that there is a first."""
    with as_client(empty_dsn) as old, ThreadPoolExecutor(1) as pool:
        old.execute("BEGIN")
        old.execute("SELECT 1")
        adopting = pool.submit(adopt, empty_dsn)
        _until(lambda: _stuck_at_an_index(foreign) or _drains(foreign) or adopting.done())
        with pytest.raises(StoreTimeout, match="being adopted by another session"):
            adopt(empty_dsn)
        old.execute("COMMIT")
        assert adopting.result(DEADLINE)[-1] == "nobody may write around the functions"


@pytest.mark.thorough(but=["CREATE FUNCTION*"])
@pytest.mark.parametrize(
    ("tag", "identity"),
    [
        ("CREATE SCHEMA", "evtool"),
        ("CREATE INDEX", "message_store.messages_time"),
        ("CREATE FUNCTION", "message_store.acquire_lock(character varying)"),
        ("CREATE TABLE", "message_store.evtool_version"),
        ("CREATE TABLE", "message_store.imports"),
        ("CREATE VIEW", "message_store.type_summary"),
    ],
)
def test_killed_in_a_step_it_is_finished_by_the_next_run(
    foreign: psycopg.Connection, empty_dsn: str, tag: str, identity: str
) -> None:
    """Kill -9 at any step: clients find a store that works, by its old functions or the new, and a rerun completes it."""
    foreign.execute("SELECT pg_advisory_lock(%s)", (GATE,))
    foreign.execute(
        "CREATE FUNCTION public.gate() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN"
        f" IF EXISTS (SELECT FROM pg_event_trigger_ddl_commands() WHERE object_identity = '{identity}') THEN"
        f"  PERFORM pg_advisory_xact_lock({GATE}); END IF; END $$"
    )
    foreign.execute(
        f"CREATE EVENT TRIGGER gate ON ddl_command_end WHEN TAG IN ('{tag}') EXECUTE FUNCTION public.gate()"
    )
    waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND objid = %s"
    _kill_when(empty_dsn, lambda: foreign.execute(waiting, (GATE,)).fetchone() == (1,))
    foreign.execute("SELECT pg_advisory_unlock_all()")
    _finished_by_another_run(foreign, empty_dsn)


@pytest.mark.thorough(but=["index"])
@pytest.mark.parametrize("where", ["index", "first wait"])
def test_killed_while_it_waits_it_is_finished_by_the_next_run(
    foreign: psycopg.Connection, empty_dsn: str, where: str
) -> None:
    """An index that was left half built is dropped and built anew; a wait is waited again."""
    if where == "first wait":
        _build_the_indexes_first(foreign)
    with as_client(empty_dsn) as old:
        old.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        old.execute("SELECT count(*) FROM messages")
        _kill_when(empty_dsn, lambda: (_stuck_at_an_index if where == "index" else _drains)(foreign))
        query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'evtool' AND datname = current_database()"
        foreign.execute(query)
        _until(lambda: foreign.execute(query).fetchall() == [])
    invalid = "SELECT count(*) FROM pg_index WHERE NOT indisvalid"
    assert foreign.execute(invalid).fetchone() == (1 if where == "index" else 0,)
    _finished_by_another_run(foreign, empty_dsn)
    assert foreign.execute(invalid).fetchone() == (0,)


def test_killed_in_the_last_wait_the_next_run_closes_the_table(foreign: psycopg.Connection, empty_dsn: str) -> None:
    """When all but the last step is done, clients may still insert for themselves; the next run ends that."""
    _build_the_indexes_first(foreign)
    may_insert = "SELECT has_table_privilege('message_store', 'message_store.messages', 'INSERT')"
    registered = "SELECT to_regclass('message_store.evtool_version') IS NOT NULL"
    with as_client(empty_dsn) as first, as_client(empty_dsn) as second:

        def in_the_last_wait() -> bool:
            if _drains(foreign) and second.info.transaction_status == TransactionStatus.IDLE:
                second.execute("BEGIN")
                second.execute("SELECT 1")
                first.execute("COMMIT")
            return foreign.execute(registered).fetchone() == (True,) and _drains(foreign)

        first.execute("BEGIN")
        first.execute("SELECT 1")
        _kill_when(empty_dsn, in_the_last_wait)
        foreign.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'evtool' AND datname = current_database()"
        )
    assert foreign.execute(may_insert).fetchone() == (True,)
    _finished_by_another_run(foreign, empty_dsn)
    assert foreign.execute(may_insert).fetchone() == (False,)


def _kill_when(dsn: str, condition: Callable[[], Any]) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", ADOPT, dsn],
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as child:
        _until(lambda: condition() or child.poll() is not None)
        assert child.poll() is None, child.stdout.read() if child.stdout else ""
        child.send_signal(signal.SIGKILL)


def _finished_by_another_run(foreign: psycopg.Connection, dsn: str) -> None:
    evtools = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'evtool' AND datname = current_database()"
    _until(lambda: foreign.execute(evtools).fetchone() == (0,))
    with as_client(dsn) as client:
        for call in CALLS:
            client.execute(call)
        assert write(client, "account-1", 8) == 9
        adopt(dsn)
        for call in CALLS:
            client.execute(call)
        assert write(client, "account-1", 9) == 10
    with evtool.connect(dsn) as store:
        assert all(state.current and state.roles for state in store.migration_status())
        assert len(store.get_all_messages()) == 62


def test_an_analyze_at_work_is_waited_for_before_anything_is_changed(
    foreign: psycopg.Connection, empty_dsn: str
) -> None:
    """Autovacuum comes when it likes, and waits for whoever has changed an index of its table: neither waits for both."""
    target = migration.Target("namespace", "message_store", "message_store")
    with psycopg.connect(empty_dsn, autocommit=True) as adopting, ThreadPoolExecutor() as pool:
        migration.migrate_one(adopting, migration.REGISTRY)
        list(adoption._build_indexes(adopting, target.schema))
        adoption._in_transaction(adopting, target.schema, adoption._bridge(target.schema))
        with foreign.transaction():
            foreign.execute("LOCK TABLE message_store.messages IN SHARE UPDATE EXCLUSIVE MODE")
            step = pool.submit(adoption._in_transaction, adopting, target.schema, adoption._take_over(target))
            with psycopg.connect(empty_dsn, autocommit=True) as watching:
                _until(lambda: step.done() or _waits(watching, adopting))
            assert not step.done()
            foreign.execute("ANALYZE message_store.messages")
        step.result(DEADLINE)
    with evtool.connect(empty_dsn) as store:
        assert store.get_namespace("message_store").schema == "message_store"
