"""The ladder of servers for tests: each rung for real, and what happens where one breaks."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from evtool.embedded import binaries as embedded_binaries
from evtool.embedded import temporary
from evtool.errors import InvalidArgument, StoreUnreachable
from evtool.testing import RUNGS, DatabaseServer, start_server
from evtool.testing.servers import probe_docker


def _missing(what: str) -> None:
    """Fails in CI, where everything has to be there; skips aloud on somebody's machine."""
    (pytest.fail if os.environ.get("CI") else pytest.skip)(what)


NO_ENGINE = "unix:///nonexistent/docker.sock"
NO_IMAGE = "evtool.invalid/no-such-image:1"


@pytest.fixture(scope="module")
def given_dsn() -> Iterator[str]:
    """A superuser's DSN of a server that somebody else runs."""
    with temporary() as server:
        yield server.dsn


def need_docker() -> None:
    reason = probe_docker("unix:///var/run/docker.sock")
    if reason is not None:
        _missing(f"Docker: {reason}")


def answers(dsn: str) -> bool:
    try:
        psycopg.connect(dsn, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


@pytest.mark.thorough(but=["dsn", "embedded", "installed"])
@pytest.mark.parametrize("rung", RUNGS)
def test_each_rung_gives_a_superusers_server(rung: str, given_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A forced rung gives a server for many connections, tells itself in one line, and stop() ends it."""
    if rung == "docker":
        need_docker()
    if rung == "dsn":
        monkeypatch.setenv("EVTOOL_TEST_DSN", given_dsn)
    monkeypatch.setenv("EVTOOL_TEST_SERVER", rung)
    with start_server() as server:
        assert isinstance(server, DatabaseServer)
        assert (server.rung, server.tried) == (rung, [])
        with psycopg.connect(server.dsn) as connection:
            assert connection.info.parameter_status("is_superuser") == "on"
            assert connection.info.dbname == "postgres"
            assert (connection.info.parameter_status("server_version") or "").startswith(server.version)
            rows = connection.execute(
                "SELECT name, setting FROM pg_settings WHERE name IN ('fsync', 'max_connections',"
                " 'max_prepared_transactions', 'shared_buffers') ORDER BY name"
            ).fetchall()
        assert server.describe().startswith(f"PostgreSQL {server.version} ")
        assert "\n" not in server.describe()
        if rung != "dsn":
            assert [value for _, value in rows] == ["off", "300", "10", "32768"]
    assert answers(server.dsn) is (rung == "dsn")
    server.stop()


def test_a_dead_engine_is_passed_over_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a forced rung the next one is taken, and `tried` tells why not the ones before."""
    monkeypatch.setenv("DOCKER_HOST", NO_ENGINE)
    with start_server() as server:
        assert server.rung in {"embedded", "installed"}
        assert server.tried[0] == "dsn: EVTOOL_TEST_DSN is not set"
        assert server.tried[1].startswith(f"docker: no engine at {NO_ENGINE}")


def test_an_image_that_cannot_be_had_is_passed_over_with_its_reason() -> None:
    """Where the image neither is there nor can be pulled, the ladder goes on."""
    need_docker()
    with start_server(image=NO_IMAGE) as server:
        assert server.rung in {"embedded", "installed"}
        assert server.tried[1].startswith(f"docker: {NO_IMAGE} is not there and can't be pulled: ")


def test_a_forced_rung_never_falls_through(monkeypatch: pytest.MonkeyPatch) -> None:
    """EVTOOL_TEST_SERVER names one rung, and its failure is the only thing in the error."""
    monkeypatch.setenv("DOCKER_HOST", NO_ENGINE)
    monkeypatch.setenv("EVTOOL_TEST_SERVER", "docker")
    with pytest.raises(StoreUnreachable, match="docker: no engine") as failed:
        start_server()
    assert "embedded:" not in failed.value.message
    monkeypatch.setenv("EVTOOL_TEST_SERVER", "dsn")
    with pytest.raises(StoreUnreachable, match="dsn: EVTOOL_TEST_DSN is not set"):
        start_server()


def test_a_given_server_that_is_gone_is_no_reason_to_take_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """EVTOOL_TEST_DSN is meant: if it doesn't work the tests don't quietly run elsewhere."""
    monkeypatch.setenv("EVTOOL_TEST_DSN", "postgresql://me:hush@127.0.0.1:1/postgres")
    with pytest.raises(StoreUnreachable, match="dsn: no connection") as failed:
        start_server()
    assert "hush" not in failed.value.message
    monkeypatch.setenv("EVTOOL_TEST_DSN", "postgresql//me:hush@127.0.0.1:1/postgres")
    with pytest.raises(StoreUnreachable, match="dsn: the connection string") as failed:
        start_server()
    assert "hush" not in failed.value.message


def test_a_given_role_must_be_a_superuser(given_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests create roles and databases, so an ordinary role is refused at once."""
    with psycopg.connect(given_dsn) as connection:
        connection.execute("CREATE ROLE modest LOGIN")
    monkeypatch.setenv("EVTOOL_TEST_DSN", given_dsn.replace("user=postgres", "user=modest"))
    with pytest.raises(StoreUnreachable, match="dsn: its role is no superuser"):
        start_server()


def test_no_rung_at_all_lists_every_reason(passable: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing works, one line names each rung and what is wrong with it."""
    monkeypatch.setenv("DOCKER_HOST", NO_ENGINE)
    monkeypatch.setenv("EVTOOL_EMBEDDED_BIN", str(passable))
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr(embedded_binaries, "_INSTALLED", ())
    with pytest.raises(StoreUnreachable) as failed:
        start_server()
    message = failed.value.message
    assert "\n" not in message
    places = [message.find(f"; {rung}: ") for rung in RUNGS]
    assert -1 not in places, message
    assert places == sorted(places)
    assert "EVTOOL_TEST_DSN" in (failed.value.hint or "")


def test_an_unknown_rung_is_a_usage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A misspelt EVTOOL_TEST_SERVER is told, with the words that exist."""
    monkeypatch.setenv("EVTOOL_TEST_SERVER", "dokcer")
    with pytest.raises(InvalidArgument, match="dokcer") as failed:
        start_server()
    assert "docker" in (failed.value.hint or "")


# --- the probe ----------------------------------------------------------------------------


@pytest.fixture
def engine(passable: Path) -> Iterator[Callable[[Callable[[socket.socket], None]], str]]:
    """A socket that accepts one client and does with it what the test says; gives its address."""
    threads: list[threading.Thread] = []
    listener = socket.socket(socket.AF_UNIX)
    path = passable / "docker.sock"
    listener.bind(str(path))
    listener.listen()

    def serve(behave: Callable[[socket.socket], None]) -> str:
        def accept() -> None:
            client, _ = listener.accept()
            with client:
                behave(client)

        threads.append(threading.Thread(target=accept))
        threads[-1].start()
        return f"unix://{path}"

    yield serve
    for thread in threads:
        thread.join()
    listener.close()


def say_nothing(client: socket.socket) -> None:
    while client.recv(4096):  # until the other side gives up
        pass


def drip(client: socket.socket) -> None:
    try:
        while True:
            client.sendall(b"H")
            time.sleep(0.1)
    except OSError:  # the other side gave up
        pass


@pytest.mark.parametrize("behave", [say_nothing, drip])
def test_an_engine_that_hangs_costs_a_second(engine: Any, behave: Callable[[socket.socket], None]) -> None:
    """An engine that accepts and never answers, or answers a byte at a time, is given up after a second."""
    address = engine(behave)
    began = time.monotonic()
    assert probe_docker(address) == f"the engine at {address} does not answer within 1 s"
    assert 0.9 < time.monotonic() - began < 2


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"HTTP/1.0 200 OK\r\n\r\nOK", None),
        (b"HTTP/1.0 500 Trouble\r\n\r\n", "answers 'HTTP/1.0 500 Trouble'"),
        (b"", "answers ''"),
    ],
)
def test_the_answer_counts(engine: Any, answer: bytes, reason: str | None) -> None:
    """Only an engine that says 200 is there."""

    def behave(client: socket.socket) -> None:
        client.recv(4096)
        client.sendall(answer)

    told = probe_docker(engine(behave))
    assert told is None if reason is None else reason in str(told)


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("tcp://127.0.0.1:1", "no engine at tcp://127.0.0.1:1"),
        ("tcp://127.0.0.1:port", "no engine at"),
        ("ssh://user@host", "cannot ask an engine at ssh"),
    ],
)
def test_other_addresses_are_told_apart(address: str, reason: str) -> None:
    """A port without an engine, nonsense, and an address that can't be asked each have their reason."""
    assert reason in str(probe_docker(address))


# --- the end ------------------------------------------------------------------------------

FORGET = """
import sys
from evtool.testing import start_server
print(start_server(sys.argv[1]).dsn)
"""


@pytest.mark.thorough(but=["embedded"])
@pytest.mark.parametrize("rung", ["docker", "embedded", "installed"])
def test_a_forgotten_server_ends_with_its_interpreter(rung: str, spawn: Any) -> None:
    """A program that never calls stop() leaves no server behind."""
    if rung == "docker":
        need_docker()
    child = spawn(FORGET, rung)
    told, complaint = child.communicate(timeout=60)
    assert child.returncode == 0, complaint
    assert not answers(told.strip())
