"""PgBouncer in transaction mode between evtool and the server: what works through it, and that nothing is left in it."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import conninfo

import evtool
from evtool.errors import ServerUnsuitable, StoreUnreachable, WrongExpectedVersion
from evtool.model import MigrationPlan, NewMessage
from evtool.stores.postgres import PostgresStore
from evtool.stores.postgres.connection import BehindPooler
from tests.cli.running import Cli

SECONDS = 20.0
EVENTS = Path(__file__).resolve().parents[1] / "data" / "repository-events.ndjson.gz"

Pooled = Callable[..., str]


def _program() -> str:
    found = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if found is None:
        # fails in CI, where everything has to be there
        (pytest.fail if os.environ.get("CI") else pytest.skip)("there is no pgbouncer: apt-get install pgbouncer")
    return found


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


@contextlib.contextmanager
def _running(folder: Path, server: str, size: int) -> Iterator[tuple[str, str]]:
    """A PgBouncer in front of a server, in transaction mode with so many sessions; its host and port."""
    parts = {**conninfo.conninfo_to_dict(server)}
    names = ("host", "hostaddr", "port", "user", "password")
    target = " ".join(f"{name}='{parts[name]}'" for name in names if parts.get(name) and name != "hostaddr")
    port = _free_port()
    settings = {
        "listen_addr": "127.0.0.1",
        "listen_port": port,
        "unix_socket_dir": "",
        "auth_type": "any",
        "pool_mode": "transaction",
        "default_pool_size": size,
        "min_pool_size": 0,
        "server_check_delay": 30,
    }
    file = folder / "pgbouncer.ini"
    lines = ["[databases]", f"* = {target}", "[pgbouncer]", *(f"{name} = {value}" for name, value in settings.items())]
    file.write_text("\n".join(lines) + "\n")
    # it refuses root: as another user of a namespace of its own it still may do what this process may
    before = ["unshare", "-U", "--map-user=1000", "--map-group=1000"] if os.geteuid() == 0 else []
    with subprocess.Popen(
        [*before, _program(), "-q", str(file)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        try:
            end = time.monotonic() + SECONDS
            while True:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                    break
                assert process.poll() is None, process.stderr.read().decode() if process.stderr else ""
                assert time.monotonic() < end, "PgBouncer does not listen"
                time.sleep(0.01)
            yield "127.0.0.1", str(port)
        finally:
            process.terminate()
            process.wait(SECONDS)


@pytest.fixture(scope="module")
def pooled(server: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pooled]:
    """The DSN of a database through a PgBouncer that has two sessions for all its clients, or one."""
    with contextlib.ExitStack() as stack:
        at = {
            size: stack.enter_context(_running(tmp_path_factory.mktemp("pooler"), server.dsn, size)) for size in (1, 2)
        }

        def through(dsn: str, size: int = 2) -> str:
            host, port = at[size]
            user = conninfo.conninfo_to_dict(dsn).get("user") or ""
            return conninfo.make_conninfo(
                host=host,
                port=port,
                user=str(user),
                dbname=str(conninfo.conninfo_to_dict(dsn)["dbname"]),
                sslmode="disable",
            )

        yield through


@pytest.fixture
def through(pooled: Pooled, dsn: str, namespace: str) -> Iterator[PostgresStore]:
    """A store in a fresh namespace, through the pooler."""
    with PostgresStore(pooled(dsn), namespace) as store:
        yield store


def test_it_is_noticed_that_a_pooler_is_in_between(pooled: Pooled, dsn: str) -> None:
    """Without being told, evtool sees that its session isn't its own, and on the server itself that it is."""
    for one, is_pooled in ((pooled(dsn), True), (dsn, False)):
        with PostgresStore(one) as store, store._connector.pooled() as connection:
            assert isinstance(connection, BehindPooler) is is_pooled


def test_writing_and_reading_by_many_at_once(through: PostgresStore) -> None:
    """More threads than the pooler has sessions, and more calls than would be prepared: each is as on the server."""
    barrier = threading.Barrier(6)

    def work(number: int) -> None:
        barrier.wait(SECONDS)
        stream = f"cart-{number}"
        for position in range(15):
            written = through.write_message(None, stream, "T", {"n": position}, expected_version=position - 1)
            assert written == position
        assert through.write_messages(stream, [NewMessage("T", {}), NewMessage("T", {})]) == [15, 16]
        assert through.stream_version(stream) == 16
        assert [one.position for one in through.get_stream_messages(stream)] == list(range(17))
        last = through.get_last_stream_message(stream)
        assert last is not None
        assert last.position == 16
        with pytest.raises(WrongExpectedVersion):
            through.write_message(None, stream, "T", {}, expected_version=3)

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(work, range(6))) == [None] * 6
    everything = through.get_all_messages(batch_size=-1)
    assert [one.global_position for one in everything] == list(range(1, 6 * 17 + 1))
    assert everything == through.get_category_messages("cart", batch_size=-1)
    assert [one.stream_name for one in through.list_streams()] == [f"cart-{number}" for number in range(6)]


def test_exports_and_imports(pooled: Pooled, dsn: str, namespace: str, tmp_path: Path) -> None:
    """A real file goes in and comes out through the pooler byte for byte as on the server itself."""
    cli = Cli(pooled(dsn), namespace)
    cli("import", "-i", EVENTS).ok()
    for name, one in (("through", cli), ("directly", Cli(dsn, namespace))):
        one("export", "-o", tmp_path / f"{name}.ndjson").ok()
        one("export", "--categories", "nothing", "-o", tmp_path / f"{name}-none.ndjson").ok()
    whole = (tmp_path / "through.ndjson").read_bytes()
    assert whole == (tmp_path / "directly.ndjson").read_bytes()
    assert whole.count(b"\n") == 38_817
    refused = cli("import", "-i", EVENTS)
    assert refused.code == 4, refused.err


def test_a_gap_safe_read_waits_for_writers_all_the_same(through: PostgresStore, dsn: str, namespace: str) -> None:
    """A writer that has its position and is not done is waited for, through whichever session it writes."""
    with psycopg.connect(dsn) as writing, ThreadPoolExecutor(1) as pool:
        writing.execute(f"SET search_path = {namespace}")
        writing.execute("SELECT write_message(%s, 'a-1', 'T', '{}')", (str(uuid.uuid4()),))
        through.write_message(None, "b-1", "T", {})
        reading = pool.submit(through.get_all_messages)
        with pytest.raises(TimeoutError):
            reading.result(0.3)
        writing.commit()
        assert [one.stream_name for one in reading.result(SECONDS)] == ["a-1", "b-1"]


def test_migrations_and_namespaces(pooled: Pooled, empty_dsn: str) -> None:
    """An empty database is migrated, given namespaces, and migrated again by several jobs, through the pooler."""
    with PostgresStore(pooled(empty_dsn)) as store:
        assert [step.action for step in store.migrate()] == ["created", "created"]
        for number in range(5):
            store.create_namespace(f"shop {number}")
        with psycopg.connect(empty_dsn, autocommit=True) as admin:
            admin.execute("UPDATE evtool.behaviours SET checksum = 'old'")
        steps = list(store.administration().migrate(MigrationPlan(jobs=4)))
        assert {step.action for step in steps} == {"functions replaced"}
        assert len(steps) == 7
        store.delete_namespace("shop 0")
        assert all(state.current for state in store.migration_status())


def test_nothing_is_left_in_a_session_that_others_get(pooled: Pooled, empty_dsn: str) -> None:
    """With a single session for everybody, a stranger behind evtool finds it as the server gave it."""
    shared = pooled(empty_dsn, size=1)
    names = (
        "search_path",
        "default_transaction_isolation",
        "datestyle",
        "enable_sort",
        "lock_timeout",
        "default_transaction_read_only",
    )
    query = "SELECT pg_backend_pid(), " + ", ".join(f"current_setting('{name}')" for name in names)

    def look() -> Any:
        with psycopg.connect(shared, autocommit=True, prepare_threshold=None) as stranger:
            prepared = stranger.execute("SELECT count(*) FROM pg_prepared_statements").fetchone()
            locks = stranger.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'").fetchone()
            return stranger.execute(query).fetchone(), prepared, locks

    before = look()
    with PostgresStore(shared) as store:
        store.migrate()
        for _ in range(8):
            store.write_message(None, "a-1", "T", {})
            store.get_all_messages()
        assert len(b"".join(block.lines for block in store.export(evtool.Selection())).splitlines()) == 8
        store.create_namespace("orders")
        assert look() == before


def test_what_does_not_work_through_it_is_said(pooled: Pooled, empty_dsn: str) -> None:
    """Adopting needs sessions of its own, and PgBouncer takes no options: each is an error that says so."""
    with PostgresStore(pooled(empty_dsn)) as store:
        with pytest.raises(ServerUnsuitable) as caught:
            list(store.administration().adopt("message_store", "message_store", timedelta(seconds=1)))
        assert "connect to the server itself" in (caught.value.hint or "")
        store.migrate()
        store.administration().notify("message_store", on=True)
        with pytest.raises(ServerUnsuitable) as caught:
            next(evtool.follow(store, listen=True))
        assert "connect to the server itself" in (caught.value.hint or "")
        store.write_message(None, "a-1", "T", {})
        assert [one.stream_name for one in evtool.follow(store, position=1, until_idle=0)] == ["a-1"]
    optional = conninfo.make_conninfo(pooled(empty_dsn), options="-c lock_timeout=1s")
    with PostgresStore(optional) as store, pytest.raises(StoreUnreachable, match="unsupported startup parameter"):
        store.list_namespaces()
