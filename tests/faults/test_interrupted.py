"""Killed, interrupted, cut off: an import is whole or absent, and a file is, too.

Nothing here waits for luck. A process is held at a known point by the pipe that it reads from or writes to, and what
the server is doing is asked of the server.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from tests.cli.running import SECONDS, Cli
from tests.transfer.lines import line, lines

_MANY = 30_000
_FEW = 5000

Wait = Callable[[str], int]


@pytest.fixture
def wait_for(dsn: str, namespace: str) -> Iterator[Wait]:
    """Waits for a session in the namespace that runs such a statement, and returns its pid; for '', until none runs."""
    with psycopg.connect(dsn, autocommit=True) as watching:
        watching.execute("SET statement_timeout = '30s'")
        find = (
            "SELECT max(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            f" AND state <> 'idle' AND query LIKE '%%{namespace}%%' AND query LIKE %s"
        )

        def wait(statement: str) -> int:
            deadline = time.monotonic() + SECONDS
            while time.monotonic() < deadline:
                row = watching.execute(find, (statement + "%",)).fetchone()
                assert row is not None
                if (row[0] is not None) == bool(statement):
                    return row[0] or 0
                watching.execute("SELECT pg_sleep(0.005)")
            raise TimeoutError(statement)

        yield wait


@pytest.fixture
def filled(cli: Cli) -> bytes:
    """The namespace holds so much that no pipe takes it at once; returns its export."""
    cli("import", stdin=lines(range(1, _MANY + 1))).ok()
    return cli("export").ok().stdout


def _half_import(cli: Cli, wait_for: Wait, *, sent: int) -> subprocess.Popen[bytes]:
    """An import that has begun, was given some lines, and waits for more."""
    process = cli.start("import")
    assert process.stdin is not None
    process.stdin.write(lines(range(1001, 1001 + sent)))
    process.stdin.flush()
    wait_for("COPY")
    return process


def _half_export(cli: Cli, wait_for: Wait, target: Path | None) -> subprocess.Popen[bytes]:
    """An export that has begun and can't go on: to stdout, which nobody reads, or to a file, stopped by a signal.

    It has one try, so that whatever happens is its end.
    """
    if target is None:
        process = cli.start("export", "--retries", "0")
        assert process.stdout is not None
        process.stdout.read(1)
    else:
        process = cli.start("export", "--retries", "0", "-o", target, "--progress", "json")
        assert process.stderr is not None
        process.stderr.readline()
        process.send_signal(signal.SIGSTOP)
    wait_for("COPY")
    return process


def _end(process: subprocess.Popen[bytes]) -> bytes:
    """What a process said on stderr, once it has ended."""
    with suppress(BrokenPipeError):
        _, error = process.communicate(timeout=SECONDS)
        return error
    assert process.stderr is not None
    return process.stderr.read()


@pytest.mark.thorough(but=["5000"])
@pytest.mark.parametrize("sent", [_FEW, _MANY])
def test_a_killed_import_leaves_nothing_and_the_next_works(cli: Cli, wait_for: Wait, sent: int) -> None:
    """Kill -9 at several moments: the namespace is as before, and the same file can be imported at once."""
    cli("import", stdin=line(1)).ok()
    before = cli("export").ok().stdout
    process = _half_import(cli, wait_for, sent=sent)
    process.kill()
    _end(process)
    assert process.returncode == -signal.SIGKILL
    wait_for("")
    assert cli("export").ok().stdout == before
    cli("import", stdin=lines(range(1001, 1001 + _FEW))).ok()
    assert cli("export").ok().stdout.count(b"\n") == 1 + _FEW
    cli("write", "new-1", "T").ok()
    assert json.loads(cli("read", "new-1").ok().out)["gpos"] == 1001 + _FEW


def test_an_import_killed_after_its_last_line_is_whole_or_absent(cli: Cli, wait_for: Wait) -> None:
    """The end of the file and the kill race each other: all lines are there, or none."""
    process = _half_import(cli, wait_for, sent=_FEW)
    assert process.stdin is not None
    process.stdin.close()
    process.stdin = None
    process.kill()
    _end(process)
    wait_for("")
    assert cli("export").ok().stdout.count(b"\n") in {0, _FEW}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_an_interrupted_import_leaves_nothing(cli: Cli, wait_for: Wait, number: signal.Signals) -> None:
    """Ctrl-C is exit code 130 and one line; nothing is imported, and nothing is locked any more."""
    process = _half_import(cli, wait_for, sent=_FEW)
    process.send_signal(number)
    error = _end(process)
    assert b"Traceback" not in error
    if number == signal.SIGINT:
        assert process.returncode == 130
        # on a terminal the shell has put ^C there: a line of its own follows
        assert error.strip() == b"evtool: interrupted; nothing is half done"
    else:
        assert process.returncode != 0
    wait_for("")
    assert cli("export").ok().out == ""
    cli("write", "new-1", "T").ok()


def test_an_import_whose_server_session_ends_is_undone(cli: Cli, wait_for: Wait, dsn: str) -> None:
    """The store is unreachable (exit code 3), and the line that it happened at is not blamed."""
    process = _half_import(cli, wait_for, sent=_FEW)
    _terminate(dsn, wait_for("COPY"))
    with suppress(BrokenPipeError):
        assert process.stdin is not None
        process.stdin.write(lines(range(100_000, 100_000 + _FEW)))
    error = _end(process)
    assert process.returncode == 3, error
    assert error.startswith(b"evtool: STORE_UNREACHABLE: ")
    assert error.count(b"\n") == 1
    assert cli("export").ok().out == ""


@pytest.mark.thorough(but=[""])
@pytest.mark.parametrize("compressed", [False, True], ids=["", "gzip"])
def test_an_export_whose_server_session_ends_leaves_no_file(
    cli: Cli, wait_for: Wait, dsn: str, filled: bytes, tmp_path: Path, compressed: bool
) -> None:
    """The store is unreachable (exit code 3); an older file of that name stays as it was."""
    target = tmp_path / ("out.gz" if compressed else "out")
    target.write_bytes(b"older")
    process = _half_export(cli, wait_for, target)
    _terminate(dsn, wait_for("COPY"))
    process.send_signal(signal.SIGCONT)
    error = _end(process).splitlines()
    assert process.returncode == 3, error
    assert json.loads(error[-1])["error"] == "STORE_UNREACHABLE"
    assert [path.name for path in tmp_path.iterdir()] == [target.name]
    assert target.read_bytes() == b"older"


def test_an_export_to_a_pipe_whose_server_session_ends_says_so(
    cli: Cli, wait_for: Wait, dsn: str, filled: bytes
) -> None:
    """Whoever reads the pipe gets whole lines, and the exit code tells that they are not all."""
    process = cli.start("export", "--retries", "0", bufsize=0)
    assert process.stdout is not None
    first = process.stdout.read(1)
    _terminate(dsn, wait_for("COPY"))
    out, error = process.communicate(timeout=SECONDS)
    assert process.returncode == 3, error
    assert error.startswith(b"evtool: STORE_UNREACHABLE: ")
    assert filled.startswith(first + out)
    assert (first + out).endswith(b"\n")


def test_a_killed_export_leaves_no_file_that_looks_like_a_result(
    cli: Cli, wait_for: Wait, filled: bytes, tmp_path: Path
) -> None:
    """Kill -9: what is left of it is hidden and ends in .part; the next export makes the whole file."""
    target = tmp_path / "out.ndjson"
    process = _half_export(cli, wait_for, target)
    process.kill()
    process.send_signal(signal.SIGCONT)
    _end(process)
    assert process.returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".")
    assert left.name.endswith(".part")
    cli("export", "-o", target).ok()
    assert target.read_bytes() == filled


@pytest.mark.thorough(but=["file"])
@pytest.mark.parametrize("to_file", [False, True], ids=["pipe", "file"])
def test_an_interrupted_export_leaves_nothing(
    cli: Cli, wait_for: Wait, filled: bytes, tmp_path: Path, to_file: bool
) -> None:
    """Ctrl-C is exit code 130 and one line, or one event; no file, and no query on the server."""
    process = _half_export(cli, wait_for, tmp_path / "out" if to_file else None)
    process.send_signal(signal.SIGINT)
    if to_file:
        process.send_signal(signal.SIGCONT)
    error = _end(process).splitlines()
    assert process.returncode == 130
    if to_file:
        said = {"error": "INTERRUPTED", "message": "interrupted; nothing is half done"}
        assert json.loads(error[-1]) == said
    else:
        assert error[-1] == b"evtool: interrupted; nothing is half done"
    assert all(not text or text.startswith(b'{"exported"') for text in error[:-1])
    assert list(tmp_path.iterdir()) == []
    wait_for("")


def test_ctrl_c_ends_an_export_that_waits_for_a_writer(cli: Cli, dsn: str, namespace: str) -> None:
    """The wait for other writers is no place to hang in."""
    with psycopg.connect(dsn) as writer, psycopg.connect(dsn, autocommit=True) as watching:
        writer.execute(f"SELECT {namespace}.write_message(gen_random_uuid()::varchar, 'slow-1', 'T', '1')")
        process = cli.start("export")
        watching.execute("SET statement_timeout = '30s'")
        sleeping = (
            f"SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%{namespace}%watermark%' AND state = 'active'"
        )
        while watching.execute(f"{sleeping} AND pid <> pg_backend_pid()").fetchone() != (1,):
            watching.execute("SELECT pg_sleep(0.005)")
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=SECONDS)
        assert process.returncode == 130
        assert error.strip() == b"evtool: interrupted; nothing is half done"


def _terminate(dsn: str, pid: int) -> None:
    with psycopg.connect(dsn, autocommit=True) as admin:
        assert admin.execute("SELECT pg_terminate_backend(%s, 10000)", (pid,)).fetchone() == (True,)
    assert os.getpid() != pid
