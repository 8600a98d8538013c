"""`evtool tail`, on every store, and what only a server has: gaps, lost connections, notifications."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import conninfo, sql

import evtool
from evtool.store import Store
from tests.cli.running import SECONDS, Cli, assert_one_line

Started = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture(params=["postgres", "sqlite", "lmdb"])
def address(request: pytest.FixtureRequest, empty_dsn: str, tmp_path: Path) -> str:
    """A migrated store with three messages in two categories."""
    made = {"postgres": empty_dsn, "sqlite": f"sqlite://{tmp_path}/s", "lmdb": f"lmdb://{tmp_path}/l"}[request.param]
    with evtool.connect(made) as store:
        store.migrate()
        for stream in ("account-1", "account-1", "order-2"):
            store.write_message(None, stream, "T", None)
    return made


@pytest.fixture
def server_store(empty_dsn: str) -> Iterator[Store]:
    """A store of this test's own on the server, empty."""
    with evtool.connect(empty_dsn) as store:
        store.migrate()
        yield store


@pytest.fixture
def start() -> Iterator[Started]:
    """Starts evtool; what still runs at the end of the test is killed."""
    with contextlib.ExitStack() as stack:

        def run(address: str, *arguments: str, **variables: str) -> subprocess.Popen[bytes]:
            cli = Cli(address)
            process = cli.start("tail", *arguments, env=cli.environment(**variables))
            stack.enter_context(process)
            stack.callback(process.kill)
            return process

        yield run


def _line(process: subprocess.Popen[bytes]) -> tuple[str, int]:
    """The stream and the position of the next line."""
    assert process.stdout is not None
    read = process.stdout.readline()
    assert read, process.stderr and process.stderr.read().decode()
    found = json.loads(read)
    return found["stream"], found["pos"]


def _ended(process: subprocess.Popen[bytes]) -> tuple[int, str]:
    """How it ends, without being asked to."""
    code = process.wait(SECONDS)
    assert process.stderr is not None
    return code, process.stderr.read().decode()


def test_once_prints_the_last_messages_and_ends(address: str) -> None:
    """Ten at the most unless told otherwise, in order, by stream, by category or all, as `read` prints them."""
    cli = Cli(address)
    everything = cli("read", "--all").ok().out
    assert cli("tail", "--once").ok().out == everything
    assert cli("tail", "--once", "--lines", "2").ok().out.splitlines() == everything.splitlines()[1:]
    assert cli("tail", "--once", "--lines", "0").ok().out == ""
    assert cli("tail", "--once", "--position", "3").ok().out.splitlines() == everything.splitlines()[2:]
    assert cli("tail", "--once", "--category", "account").ok().out == cli("read", "account-1").ok().out
    assert cli("tail", "account-1", "--once", "--position", "1").ok().out.splitlines() == everything.splitlines()[1:2]
    with evtool.connect(address) as store:
        store.write_messages("account-1", [evtool.NewMessage("T")] * 20)
    assert len(cli("tail", "--once").ok().out.splitlines()) == 10


def test_what_is_written_is_printed_at_once(address: str, start: Started) -> None:
    """Each line is sent before the next message comes, and the command goes on until it is interrupted."""
    process = start(address, "--position", "1", "--interval", "0.05")
    assert [_line(process) for _ in range(3)] == [("account-1", 0), ("account-1", 1), ("order-2", 0)]
    with evtool.connect(address) as store:
        for number in range(3):
            store.write_message(None, f"account-{number}", "T", None)
            assert _line(process)[0] == f"account-{number}"
    process.send_signal(signal.SIGINT)
    code, said = _ended(process)
    assert code == 130
    assert "to go on from here: --position 7\n" in said
    assert "Traceback" not in said


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has pipes that keep what is written apart")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_lines_are_sent_together_while_nothing_is_waited_for(address: str, unbuffered: str) -> None:
    """Also under PYTHONUNBUFFERED: a line that is sent before it is counted would be told to come once more."""
    # a pipe that keeps what is written apart
    read, write = os.pipe2(os.O_DIRECT)
    with os.fdopen(read, "rb", buffering=0) as reader:
        with os.fdopen(write, "wb") as writer:
            cli = Cli(address)
            process = cli.start("tail", "--once", stdout=writer, env=cli.environment(PYTHONUNBUFFERED=unbuffered))
        with process:
            assert len(reader.read(65536).splitlines()) == 3


def test_it_ends_when_nothing_comes_or_enough_came(address: str) -> None:
    """--until-idle and --limit end it with success."""
    assert len(Cli(address)("tail", "--until-idle", "0.2").ok().out.splitlines()) == 3
    assert len(Cli(address)("tail", "--limit", "2").ok().out.splitlines()) == 2


def test_it_ends_by_itself_when_nobody_reads_any_more(address: str, start: Started) -> None:
    """`evtool tail | head`: also while nothing comes that it could fail to write; and nothing is complained of."""
    process = start(address)
    _line(process)
    assert process.stdout is not None
    process.stdout.close()
    code, said = _ended(process)
    assert (code, said) == (1, "")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_it_is_ended_orderly(address: str, start: Started, number: signal.Signals) -> None:
    """As Ctrl-C does it, with the shell's exit code."""
    process = start(address, "--lines", "1")
    _line(process)
    process.send_signal(number)
    assert _ended(process)[0] == 128 + number


@pytest.mark.parametrize(
    "arguments",
    [
        ["account-1", "--category", "account"],
        ["--correlation", "x"],
        ["--position", "1", "--lines", "1"],
        ["--once", "--until-idle", "1"],
        ["--interval", "0"],
        ["--position", "-1"],
        ["--position", str(2**63)],
        ["--limit", "0"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_exit_code_2(arguments: list[str]) -> None:
    """What can't go together is said before anything is connected."""
    done = Cli("host=/nonexistent")("tail", *arguments)
    assert done.code == 2
    assert "/nonexistent" not in done.err


def test_what_can_not_be_followed_is_one_line(address: str) -> None:
    """A category's name for a stream, a namespace that isn't there."""
    assert_one_line(Cli(address)("tail", "account"), 2, "NOT_A_STREAM")
    assert_one_line(Cli(address)("tail", "--category", "account-1"), 2, "NOT_A_CATEGORY")
    assert_one_line(Cli(address)("tail", "-n", "nowhere"), 1, "NAMESPACE_NOT_FOUND")


def test_what_is_not_there_at_first_is_not_waited_for() -> None:
    """A server that can't be reached is exit code 3, though a lost one would be waited for, for ever."""
    assert_one_line(Cli("host=/nonexistent")("tail"), 3, "STORE_UNREACHABLE")


def test_a_message_that_commits_late_comes_in_its_place(server_store: Store, empty_dsn: str, start: Started) -> None:
    """Whoever is busy at a smaller position is waited for; longer than the wait, that is said, and it goes on."""
    with psycopg.connect(empty_dsn) as writer:
        writer.execute("SELECT message_store.write_message(gen_random_uuid()::varchar, 'late-1', 'T', '{}')")
        server_store.write_message(None, "early-1", "T", None)
        options = "-c message_store.watermark_timeout=10ms"
        process = start(empty_dsn, "--position", "1", "--interval", "0.05", PGOPTIONS=options)
        assert process.stderr is not None
        said = process.stderr.readline().decode()
        assert "still busy" in said
        assert "going on waiting" in said
        done = Cli(empty_dsn)("tail", "--once", PGOPTIONS=options)
        assert_one_line(done, 1, "TIMEOUT", "still busy")
        category = Cli(empty_dsn)("tail", "--once", "--category", "early", PGOPTIONS=options).ok()
        assert json.loads(category.out)["gpos"] == 2
        writer.commit()
    assert [_line(process) for _ in range(2)] == [("late-1", 0), ("early-1", 0)]


def test_a_late_message_of_a_category_is_not_passed_over(server_store: Store, empty_dsn: str, start: Started) -> None:
    """A category is followed from its own last message, not from the namespace's, which may be ahead of a late one."""
    server_store.write_message(None, "slow-1", "T", None)
    with psycopg.connect(empty_dsn) as writer:
        writer.execute("SELECT message_store.write_message(gen_random_uuid()::varchar, 'slow-1', 'T', '{}')")
        server_store.write_message(None, "fast-1", "T", None)
        process = start(empty_dsn, "--category", "slow", "--lines", "1", "--interval", "0.05")
        assert _line(process) == ("slow-1", 0)
        writer.commit()
    assert _line(process) == ("slow-1", 1)


def _cut(dsn: str, name: str) -> int:
    """Ends all sessions of a program; returns how many there were."""
    query = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = %s"
    with psycopg.connect(dsn, autocommit=True) as admin:
        row = admin.execute(query, (name,)).fetchone()
        assert row is not None
        return int(row[0])


@pytest.mark.parametrize("options", [(), ("--listen",)], ids=["polling", "listening"])
def test_lost_connections_are_taken_up_again(
    server_store: Store, empty_dsn: str, start: Started, options: tuple[str, ...]
) -> None:
    """Behind the last line: nothing comes twice, nothing is missed, and each loss is told."""
    server_store.administration().notify("message_store", on=True)
    named = conninfo.make_conninfo(empty_dsn, application_name="tail_that_is_cut")
    process = start(named, "--position", "0", "--interval", "0.05", *options)
    for number in range(4):
        server_store.write_message(None, "a-1", "T", None)
        assert _line(process) == ("a-1", number)
        end = time.monotonic() + SECONDS
        while not _cut(empty_dsn, "tail_that_is_cut"):
            assert time.monotonic() < end
    process.send_signal(signal.SIGINT)
    code, said = _ended(process)
    assert code == 130
    assert "trying again in" in said
    assert "of 0" not in said


def test_a_lost_connection_is_tried_again_so_often(server_store: Store, empty_dsn: str, start: Started) -> None:
    """With --retries 0 it is exit code 3."""
    named = conninfo.make_conninfo(empty_dsn, application_name="tail_that_ends")
    process = start(named, "--position", "0", "--interval", "0.05", "--retries", "0")
    server_store.write_message(None, "a-1", "T", None)
    _line(process)
    _cut(empty_dsn, "tail_that_ends")
    code, said = _ended(process)
    assert code == 3
    assert "STORE_UNREACHABLE" in said


def test_a_notification_is_heard_long_before_the_next_look(server_store: Store, empty_dsn: str, start: Started) -> None:
    """With an interval of an hour it can only be the writer that woke it up."""
    server_store.administration().notify("message_store", on=True)
    process = start(empty_dsn, "--position", "0", "--listen", "--interval", "3600")
    for number in range(3):
        server_store.write_message(None, "a-1", "T", None)
        assert _line(process) == ("a-1", number)


def test_listening_is_refused_where_nobody_notifies(address: str, server_store: Store, empty_dsn: str) -> None:
    """Rather than followed slowly: stores of files have none, and a namespace has to be switched on."""
    assert_one_line(Cli(address)("tail", "--listen"), 2, "evtool ns notify" if address == empty_dsn else "NOT_ABLE")


def test_notifications_are_switched_on_and_off(server_store: Store, empty_dsn: str) -> None:
    """`ns notify` does it, says whether it was so before, shows its SQL, and `ns show` tells."""
    cli = Cli(empty_dsn)
    for on in ("on", "off"):
        script = cli("ns", "notify", "message_store", f"--{on}", "--sql").ok().out
        assert "messages_notify" in script
        assert cli("ns", "notify", "message_store", f"--{on}").ok().out.endswith(f"notifications are {on}\n")
        assert cli("ns", "notify", "message_store", f"--{on}").ok().out.endswith(f"{on}, as before\n")
        assert json.loads(cli("ns", "show", "message_store", "--json").ok().out)["notify"] == on
        with psycopg.connect(empty_dsn, autocommit=True) as connection:
            connection.execute("DROP TRIGGER IF EXISTS messages_notify ON message_store.messages")
            if on == "off":
                server_store.administration().notify("message_store", on=True)
            connection.execute(script.encode())
        assert server_store.administration().notifies("message_store") is (on == "on")
    assert cli("ns", "notify", "message_store").code == 2
    assert_one_line(cli("ns", "notify", "nowhere", "--on"), 1, "NAMESPACE_NOT_FOUND")


def test_notifications_are_their_owners_and_wait_for_no_writer_for_long(
    server_store: Store, empty_dsn: str, tmp_path: Path
) -> None:
    """A writer may not switch them; and a transaction that keeps the table locked is an error, not a queue behind it."""
    cli = Cli(empty_dsn)
    with psycopg.connect(empty_dsn) as writer:
        writer.execute("SELECT message_store.write_message(gen_random_uuid()::varchar, 'a-1', 'T', '{}')")
        done = cli("ns", "notify", "message_store", "--on", PGOPTIONS="-c lock_timeout=50ms")
        assert_one_line(done, 1, "TIMEOUT")
    with psycopg.connect(empty_dsn, autocommit=True) as admin:
        role = f"listener_{os.getpid()}"
        admin.execute(sql.SQL("CREATE ROLE {} LOGIN IN ROLE message_store_writer").format(sql.Identifier(role)))
    done = cli("ns", "notify", "message_store", "--on", PGOPTIONS=f"-c role={role}")
    assert_one_line(done, 1, "PERMISSION_DENIED", "owner")


@pytest.mark.thorough(but=["sqlite-*"])
@pytest.mark.parametrize(
    ("arguments", "position"),
    [(["--category", "nobody", "--lines", "0"], 1), (["--lines", "0"], 4), (["account-1", "--position", "7"], 7)],
)
def test_who_saw_nothing_come_can_go_on_too(address: str, start: Started, arguments: list[str], position: int) -> None:
    """Interrupted before a message came, it tells from where on one would have been printed."""
    said = ""
    for attempt in range(1, 20):
        # it has to have looked once, which nothing outside tells: it is given more time until it has
        process = start(address, *arguments)
        time.sleep(attempt * 0.3)
        process.send_signal(signal.SIGINT)
        code, said = _ended(process)
        if "to go on from here" in said:
            break
    assert code == 130
    assert said == f"evtool: to go on from here: --position {position}\nevtool: interrupted\n"
