"""docs/faults.md for those who run the server: what is cut off is whole or absent, and the next run goes on from there."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import conninfo, sql

import evtool
from evtool.embedded import EmbeddedServer
from evtool.errors import ServerUnsuitable, StoreError
from evtool.stores.postgres import PostgresStore
from evtool.testing import reference
from tests.cli.running import Cli, assert_one_line

CACHE = Path(__file__).resolve().parents[2] / ".cache"
DEADLINE = 60.0
GATE = 424245
WAITING = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND objid = %s"


def _until(condition: Callable[[], Any]) -> None:
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, "it never became true"
        time.sleep(0.005)


def _close_the_gate(session: psycopg.Connection, identity: str) -> None:
    """Lets whoever makes an object wait in the middle, for as long as the session lasts."""
    session.execute("SELECT pg_advisory_lock(%s)", (GATE,))
    session.execute(
        "CREATE FUNCTION public.gate() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN"
        f" IF EXISTS (SELECT FROM pg_event_trigger_ddl_commands() WHERE object_identity = '{identity}') THEN"
        f"  PERFORM pg_advisory_xact_lock({GATE}); END IF; END $$"
    )
    session.execute("CREATE EVENT TRIGGER gate ON ddl_command_end EXECUTE FUNCTION public.gate()")


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[EmbeddedServer]:
    """A server of the test's own, which flushes to disk and may be killed."""
    server = EmbeddedServer(tmp_path / "data")
    server.start()
    try:
        yield server
    finally:
        server.stop("immediate")


@pytest.mark.thorough(but=["arguments1-*"])
@pytest.mark.parametrize(
    ("arguments", "identity"),
    [
        (["migrate"], "message_store.type_summary"),
        (["ns", "create", "orders"], "orders.type_summary"),
        (["ns", "adopt", "message_store"], "message_store.messages_time"),
        (["ns", "adopt", "message_store"], "message_store.type_summary"),
    ],
)
def test_the_server_is_killed_in_the_middle(own_server: EmbeddedServer, arguments: list[str], identity: str) -> None:
    """The command ends with exit code 3 and one line; when the server is back, the same command does it."""
    dsn = own_server.dsn
    adopts = "adopt" in arguments
    with psycopg.connect(dsn, autocommit=True) as session:
        if adopts:
            reference.install(session, reference.fetch(CACHE))
        elif arguments != ["migrate"]:
            Cli(dsn)("migrate").ok()
        _close_the_gate(session, identity)
        with Cli(dsn).start(*arguments) as process:
            _until(lambda: session.execute(WAITING, (GATE,)).fetchone() == (1,) or process.poll() is not None)
            own_server.stop("immediate")
            _, errors = process.communicate(timeout=DEADLINE)
        assert process.returncode == 3, errors
        last = errors.decode().splitlines()[-1]
        assert last.startswith("evtool: STORE_UNREACHABLE: "), errors
    dsn = own_server.start()
    with psycopg.connect(dsn, autocommit=True) as session:
        made = "SELECT to_regclass(%s) IS NOT NULL"
        if not adopts:
            assert session.execute(made, (identity,)).fetchone() == (False,)
        session.execute("DROP EVENT TRIGGER gate")
    Cli(dsn)(*arguments).ok()
    with PostgresStore(dsn) as store:
        assert all(state.current for state in store.migration_status())
        assert {step.action for step in store.migrate()} == {"current"}


def test_the_server_is_killed_while_it_is_written_to(own_server: EmbeddedServer) -> None:
    """What was acknowledged is there afterwards, in order; the sequence is not behind, and writing goes on."""
    with PostgresStore(own_server.dsn) as store:
        store.migrate()
    code = (
        "import sys, evtool\n"
        "store = evtool.connect(sys.argv[1])\n"
        "while True: print(store.write_message(None, 'a-1', 'T', {}), flush=True)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, own_server.dsn],
        env={**os.environ, "PYTHONPATH": str(Path(evtool.__file__).parents[1])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as writer:
        assert writer.stdout is not None
        for line in writer.stdout:
            if int(line) >= 50:
                break
        own_server.stop("immediate")
        acknowledged = [50, *(int(line) for line in writer.stdout)][-1]
        assert "StoreUnreachable" in (writer.stderr.read() if writer.stderr else "")
    with PostgresStore(own_server.start()) as store:
        there = [one.position for one in store.get_stream_messages("a-1", batch_size=-1)]
        # one more may have been committed and not acknowledged
        assert there in ([*range(acknowledged + 1)], [*range(acknowledged + 2)])
        assert store.write_message(None, "a-1", "T", {}) == len(there)
        assert store.watermark().position >= store.get_all_messages(batch_size=-1)[-1].global_position


@pytest.mark.parametrize(
    ("arguments", "identity"),
    [(["migrate"], "message_store.type_summary"), (["ns", "create", "orders"], "orders.type_summary")],
)
def test_a_statement_timeout_in_the_middle(empty_dsn: str, arguments: list[str], identity: str) -> None:
    """The step is rolled back as a whole and TIMEOUT; without the timeout the same command does it."""
    with psycopg.connect(empty_dsn, autocommit=True) as session:
        if arguments != ["migrate"]:
            Cli(empty_dsn)("migrate").ok()
        _close_the_gate(session, identity)
        hasty = conninfo.make_conninfo(empty_dsn, options="-c statement_timeout=1s")
        done = Cli(hasty)(*arguments)
        assert done.code == 1, done.err
        assert "evtool: TIMEOUT: the statement was cancelled" in done.err
        assert session.execute("SELECT to_regclass(%s)", (identity,)).fetchone() == (None,)
        session.execute("SELECT pg_advisory_unlock_all()")
    Cli(empty_dsn)(*arguments).ok()


def test_a_migrator_that_dies_with_its_lock_lets_the_next_one_in(empty_dsn: str) -> None:
    """The lock is the transaction's, so it goes with the session: a second migrator waits, and then does it."""
    with psycopg.connect(empty_dsn, autocommit=True) as session:
        _close_the_gate(session, "message_store.type_summary")
        with Cli(empty_dsn).start("migrate") as first, Cli(empty_dsn).start("migrate") as second:
            _until(lambda: session.execute(WAITING, (GATE,)).fetchone() == (1,))
            waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
            _until(lambda: session.execute(waiting).fetchone() == (2,))
            pid = session.execute(
                "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND objid = %s", (GATE,)
            ).fetchone()
            session.execute("SELECT pg_terminate_backend(%s)", pid)
            session.execute("SELECT pg_advisory_unlock_all()")
            outcomes = sorted((one.communicate(timeout=DEADLINE), one.returncode)[1] for one in (first, second))
    assert outcomes == [0, 3]
    with PostgresStore(empty_dsn) as store:
        assert all(state.current for state in store.migration_status())


def test_no_connection_is_left(empty_dsn: str) -> None:
    """A role without a free connection is told so, with exit code 3, by every command; nothing was changed."""
    role = f"crowded_{uuid.uuid4().hex}"
    with psycopg.connect(empty_dsn, autocommit=True) as admin:
        admin.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'only for a test' CONNECTION LIMIT 0")
    dsn = conninfo.make_conninfo(empty_dsn, user=role, password="only for a test")
    for arguments in (["migrate"], ["ns", "list"], ["ns", "adopt", "message_store"], ["write", "a-1", "T"], ["export"]):
        assert_one_line(Cli(dsn)(*arguments), 3, "STORE_UNREACHABLE", "too many connections for role")


def test_a_read_only_server(empty_dsn: str, dsn: str, namespace: str) -> None:
    """What would change something is SERVER_UNSUITABLE, at once and with nothing done; reading and status go on."""
    read_only = conninfo.make_conninfo(empty_dsn, options="-c default_transaction_read_only=on")
    assert_one_line(Cli(read_only)("migrate"), 1, "SERVER_UNSUITABLE", "read-only", "primary")
    assert_one_line(Cli(read_only)("ns", "adopt", "message_store"), 1, "SERVER_UNSUITABLE", "read-only")
    with psycopg.connect(empty_dsn) as session:
        assert session.execute("SELECT to_regnamespace('evtool')").fetchone() == (None,)
    ours = conninfo.make_conninfo(dsn, options="-c default_transaction_read_only=on")
    with PostgresStore(dsn, namespace) as store:
        store.write_message(None, "a-1", "T", {})
    with PostgresStore(ours, namespace) as store:
        assert len(store.get_all_messages()) == len(store.get_stream_messages("a-1")) == 1
        assert any(state.name == namespace for state in store.migration_status())
        refused: list[Callable[[], Any]] = [
            lambda: store.write_message(None, "a-1", "T", {}),
            lambda: store.create_namespace(f"{namespace}_more"),
            lambda: store.administration().grant(namespace, "message_store", "read"),
        ]
        for ask in refused:
            with pytest.raises(ServerUnsuitable):
                ask()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounting = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if mounting.returncode != 0:
        # only root may, and not in every container; CI says so by failing
        (pytest.fail if os.environ.get("CI") else pytest.skip)(
            f"no file system can be mounted: {mounting.stderr.strip()}"
        )
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk(own_server: EmbeddedServer, small_disk: Path) -> None:
    """An import, a write and a namespace that have no room change nothing and say so; with room they are done."""
    with PostgresStore(own_server.dsn) as store, psycopg.connect(own_server.dsn, autocommit=True) as admin:
        store.migrate()
        store.write_message(None, "a-1", "T", {})
        admin.execute(sql.SQL("CREATE TABLESPACE small LOCATION {}").format(sql.Literal(str(small_disk))))
        admin.execute("ALTER DATABASE postgres SET default_tablespace = small")
        admin.execute("ALTER TABLE message_store.messages SET TABLESPACE small")
        ballast = small_disk / "ballast"
        with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
            while True:
                file.write(b"x" * 4096)
        for ask in (
            lambda: store.write_message(None, "b-1", "T", {"x": os.urandom(100_000).hex()}),
            lambda: Cli(own_server.dsn)("ns", "create", "orders"),
        ):
            try:
                done: Any = ask()
            except StoreError as error:
                assert "disk is full" in error.message
            else:
                assert done.code == 1, done
                assert "the server's disk is full" in done.err
        assert [one.stream_name for one in store.get_all_messages()] == ["a-1"]
        assert [one.name for one in store.list_namespaces()] == ["message_store"]
        ballast.unlink()
        store.write_message(None, "b-1", "T", {"x": os.urandom(100_000).hex()})
        Cli(own_server.dsn)("ns", "create", "orders").ok()
        assert store.stream_version("b-1") == 0
        admin.execute("ALTER DATABASE postgres RESET default_tablespace")
