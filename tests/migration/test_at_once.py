"""Several at once, and one that dies: whoever comes second waits, and a step is done or not done."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest

import evtool
from evtool.errors import NamespaceExists, NamespaceNotFound, NamespaceRefused
from evtool.store import Store

CHECKOUT = Path(__file__).resolve().parents[2]
DEADLINE = 60.0

MIGRATE = "import sys, evtool\nfor step in evtool.connect(sys.argv[1]).migrate(): print(step.schema, step.action)"

# The key of the lock at which a migrator is stopped in the middle of a step.
GATE = 424242

WAITERS = """
    SELECT count(*) FROM pg_locks
    WHERE locktype = 'advisory' AND NOT granted
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


def _until(condition: Callable[[], Any]) -> None:
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, "it never became true"
        time.sleep(0.005)


def _waiters(session: psycopg.Connection) -> int:
    row = session.execute(WAITERS).fetchone()
    assert row is not None
    return int(row[0])


@pytest.fixture
def spawn() -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """Starts a process that migrates a database; all have ended after the test."""
    children: list[subprocess.Popen[str]] = []

    def start(dsn: str) -> subprocess.Popen[str]:
        child = subprocess.Popen(
            [sys.executable, "-c", MIGRATE, dsn],
            env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        children.append(child)
        return child

    yield start
    for child in children:
        with child:
            child.kill()


@pytest.fixture
def store(empty_dsn: str) -> Iterator[Store]:
    """A store on a migrated database of the test's own."""
    with evtool.connect(empty_dsn) as made:
        made.migrate()
        yield made


@pytest.fixture
def gate(admin: psycopg.Connection) -> Callable[[str, str], None]:
    """Lets whoever runs a DDL command on an object wait while this session holds the gate's lock."""

    def close(tag: str, identity: str) -> None:
        admin.execute("SELECT pg_advisory_lock(%s)", (GATE,))
        admin.execute(
            f"CREATE FUNCTION public.gate() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN"
            f" IF EXISTS (SELECT FROM pg_event_trigger_ddl_commands() WHERE object_identity = '{identity}') THEN"
            f"  PERFORM pg_advisory_xact_lock({GATE}); END IF; END $$"
        )
        admin.execute(
            f"CREATE EVENT TRIGGER gate ON ddl_command_end WHEN TAG IN ('{tag}') EXECUTE FUNCTION public.gate()"
        )

    return close


def test_migrators_at_once_wait_for_each_other(empty_dsn: str, admin: psycopg.Connection, spawn: Any) -> None:
    """Three processes on an empty database: each part is made once, and none of them fails."""
    admin.execute("SELECT pg_advisory_lock(hashtext('evtool'), 0)")
    children = [spawn(empty_dsn) for _ in range(3)]
    _until(lambda: _waiters(admin) == 3)
    admin.execute("SELECT pg_advisory_unlock(hashtext('evtool'), 0)")
    lines = []
    for child in children:
        printed, errors = child.communicate(timeout=DEADLINE)
        assert child.returncode == 0, errors
        lines += printed.splitlines()
    assert sorted(lines) == sorted(
        [f"{schema} {action}" for schema in ("evtool", "message_store") for action in ("created", "current", "current")]
    )


def test_a_migrator_of_a_drifted_namespace_waits_too(store: Store, admin: psycopg.Connection, empty_dsn: str) -> None:
    """Two that find the same drift: one replaces the functions, the other finds it done."""
    admin.execute("DROP VIEW message_store.type_summary")
    admin.execute("SELECT pg_advisory_lock(hashtext('evtool'), hashtext('message_store'))")
    with ThreadPoolExecutor(2) as pool:
        running = [pool.submit(evtool.connect(empty_dsn).migrate) for _ in range(2)]
        _until(lambda: _waiters(admin) == 2)
        admin.execute("SELECT pg_advisory_unlock_all()")
        actions = sorted(future.result(DEADLINE)[1].action for future in running)
    assert actions == ["current", "functions replaced"]


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("tag", "identity"),
    [
        ("CREATE SCHEMA", "evtool"),
        ("CREATE TABLE", "evtool.behaviours"),
        ("CREATE FUNCTION", "evtool.fingerprint(pg_catalog.text)"),
        ("CREATE SCHEMA", "message_store"),
        ("CREATE TABLE", "message_store.messages"),
        ("CREATE INDEX", "message_store.messages_category"),
        ("CREATE VIEW", "message_store.type_summary"),
    ],
)
def test_a_migrator_that_is_killed_leaves_all_of_a_step_or_nothing(
    empty_dsn: str, admin: psycopg.Connection, spawn: Any, gate: Any, tag: str, identity: str
) -> None:
    """Kill -9 in the middle: what came before is complete, the step itself never was, and the next run completes it."""
    gate(tag, identity)
    child = spawn(empty_dsn)
    _until(lambda: _waiters(admin) == 1 or child.poll() is not None)
    if child.poll() is not None:
        pytest.fail(f"nothing made {identity}: {child.stderr.read()}")
    child.send_signal(signal.SIGKILL)
    child.wait(DEADLINE)
    admin.execute("SELECT pg_advisory_unlock_all()")
    others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    _until(lambda: admin.execute(others).fetchone() == (0,))

    schemas = "SELECT to_regnamespace('evtool') IS NOT NULL, to_regnamespace('message_store') IS NOT NULL"
    assert admin.execute(schemas).fetchone() == (not identity.startswith("evtool"), False)
    with evtool.connect(empty_dsn) as store:
        if not identity.startswith("evtool"):
            assert [state.current for state in store.migration_status()] == [True]
        actions = [step.action for step in store.migrate()]
        assert actions == ["created" if identity.startswith("evtool") else "current", "created"]
        assert all(state.current for state in store.migration_status())
        assert store.write_message(None, "a-1", "T", {}) == 0


def _outcomes(*calls: Callable[[], Any], ready: Callable[[], Any], go: Callable[[], Any]) -> list[Any]:
    """Runs calls in threads, opens the way when they are ready, and returns what each returned or raised."""
    results: list[Any] = [None] * len(calls)

    def run(number: int) -> None:
        try:
            results[number] = calls[number]()
        except evtool.EvtoolError as error:
            results[number] = error

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(calls))]
    for thread in threads:
        thread.start()
    try:
        _until(ready)
    finally:
        go()
        for thread in threads:
            thread.join(DEADLINE)
    return results


def _hold(admin: psycopg.Connection, schema: str) -> Callable[[], Any]:
    """Holds the lock of a schema, and returns what lets go of it."""
    admin.execute("SELECT pg_advisory_lock(hashtext('evtool'), hashtext(%s))", (schema,))
    return lambda: admin.execute("SELECT pg_advisory_unlock_all()")


def test_of_two_who_make_the_same_namespace_one_wins(store: Store, admin: psycopg.Connection) -> None:
    """The other is told that it exists, and there is one namespace."""
    go = _hold(admin, "orders")
    results = _outcomes(*[lambda: store.create_namespace("orders")] * 2, ready=lambda: _waiters(admin) == 2, go=go)
    assert sorted(type(result).__name__ for result in results) == ["Namespace", "NamespaceExists"]
    assert [namespace.name for namespace in store.list_namespaces()] == ["message_store", "orders"]


def test_of_two_names_for_one_schema_one_wins(store: Store, admin: psycopg.Connection) -> None:
    """Two namespaces that would share a schema at the same moment: the second is refused."""
    go = _hold(admin, "my_app")
    results = _outcomes(
        lambda: store.create_namespace("my-app"),
        lambda: store.create_namespace("my_app"),
        ready=lambda: _waiters(admin) == 2,
        go=go,
    )
    assert sorted(type(result).__name__ for result in results) == ["Namespace", "NamespaceRefused"]
    (refusal,) = (result for result in results if isinstance(result, NamespaceRefused))
    assert "belongs to the namespace" in refusal.message


def test_a_name_that_was_taken_while_waiting_is_refused(store: Store, admin: psycopg.Connection) -> None:
    """Whoever waited for its schema, and meanwhile lost its name to another schema, is told so."""
    go = _hold(admin, "first")

    def make_second_then_go() -> None:
        store.create_namespace("orders", "second")
        go()

    (result,) = _outcomes(
        lambda: store.create_namespace("orders", "first"),
        ready=lambda: _waiters(admin) == 1,
        go=make_second_then_go,
    )
    assert isinstance(result, NamespaceExists)
    assert store.get_namespace("orders").schema == "second"
    assert admin.execute("SELECT to_regnamespace('first')").fetchone() == (None,)


def test_a_name_that_was_taken_at_the_last_moment_is_refused(
    store: Store, admin: psycopg.Connection, gate: Any
) -> None:
    """Even behind all checks, the registry's key lets a name be entered once, and the loser's schema is gone."""
    gate("CREATE VIEW", "first.type_summary")

    def make_second_then_go() -> None:
        store.create_namespace("orders", "second")
        admin.execute("SELECT pg_advisory_unlock_all()")

    (result,) = _outcomes(
        lambda: store.create_namespace("orders", "first"),
        ready=lambda: _waiters(admin) == 1,
        go=make_second_then_go,
    )
    assert isinstance(result, NamespaceExists)
    assert store.get_namespace("orders").schema == "second"
    assert admin.execute("SELECT to_regnamespace('first')").fetchone() == (None,)


def test_of_two_who_delete_one_finds_it_gone(store: Store, admin: psycopg.Connection) -> None:
    """Deleting twice at once deletes once; the other is told that there is none."""
    store.create_namespace("orders")
    go = _hold(admin, "orders")
    results = _outcomes(*[lambda: store.delete_namespace("orders")] * 2, ready=lambda: _waiters(admin) == 2, go=go)
    assert sorted(type(result).__name__ for result in results) == ["NamespaceNotFound", "NoneType"]
    assert any(isinstance(result, NamespaceNotFound) for result in results)


def test_writers_go_on_while_functions_are_replaced(store: Store, admin: psycopg.Connection) -> None:
    """A namespace is migrated while it is written to: no write fails, and none is lost."""
    stop = threading.Event()
    written: list[int] = []

    def write() -> None:
        while not stop.is_set():
            written.append(store.write_message(None, "a-1", "T", {}))

    def has_written_more(writer: Future[None], before: int) -> bool:
        return writer.done() or len(written) > before

    with ThreadPoolExecutor(1) as pool:
        writer = pool.submit(write)
        try:
            for _ in range(3):
                _until(functools.partial(has_written_more, writer, len(written)))
                admin.execute("UPDATE evtool.behaviours SET checksum = 'old' WHERE schema_name = 'message_store'")
                assert store.migrate()[1].action == "functions replaced"
        finally:
            stop.set()
        writer.result(DEADLINE)
    assert written == list(range(len(written)))
    assert store.stream_version("a-1") == written[-1]
