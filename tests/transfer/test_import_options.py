"""`evtool import` on the command line: what its options do, print and exit with."""

from __future__ import annotations

import gzip
import json
import os
import pty
import re
import select
import subprocess
import termios
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from psycopg import conninfo, sql

from tests.cli.running import SECONDS, Cli, assert_one_line
from tests.transfer.conftest import Contents
from tests.transfer.lines import line, lines

Read = Callable[[], Contents]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file of 3500 messages."""
    path = tmp_path / "events.ndjson"
    path.write_bytes(lines(range(1, 3501)))
    return path


# --on-conflict skip


def test_what_is_there_is_skipped_and_counted(cli: Cli, file: Path) -> None:
    """The line says how many were there; the JSON event has them as `skipped`, and only when it was asked for."""
    cli("import", stdin=lines(range(1, 1001))).ok()
    done = cli("import", "-i", file, "--on-conflict", "skip").ok()
    assert re.fullmatch(
        r"Done\. 2500 events imported in \d+\.\ds, the last at global position 3500, 1000 were there already\.\n",
        done.err,
    )
    events = cli("import", "-i", file, "--on-conflict", "skip", "--progress", "json").ok().err.splitlines()
    assert events[:3] == [f'{{"imported":{n},"gpos":{n}}}' for n in (1000, 2000, 3000)]
    assert re.fullmatch(r'\{"done":true,"imported":0,"skipped":3500,"elapsed":"\d+\.\ds"\}', events[3])
    assert len(events) == 4


def test_what_differs_is_refused_with_its_fields(cli: Cli, contents: Read) -> None:
    """Exit code 4, the line and the names of the fields; never their values."""
    cli("import", stdin=lines([1, 2, 3])).ok()
    before = contents()
    other = line(2, data={"card": "4111-1111"}, type="Other")
    assert_one_line(
        cli("import", "--on-conflict", "skip", stdin=lines([1]) + other),
        4,
        "POSITION_EXISTS: line 2: global position 2 already exists, and differs in: type, data",
    )
    done = cli("import", "--on-conflict", "skip", "--progress", "json", stdin=lines([1]) + other)
    assert done.code == 4
    assert "4111" not in done.err
    assert json.loads(done.err) == {
        "error": "POSITION_EXISTS",
        "message": "global position 2 already exists, and differs in: type, data",
        "line": 2,
    }
    assert contents() == before


# --force


def test_force_replaces_all(cli: Cli, contents: Read, file: Path) -> None:
    """Afterwards the namespace holds the file; the next write lands above everything that ever was there."""
    cli("import", stdin=line(9000, stream="old-1")).ok()
    cli("import", "-i", file, "--force", "--yes").ok()
    assert cli("export").ok().stdout.count(b"\n") == 3500
    assert cli("read", "old-1").ok().out == ""
    cli("write", "new-1", "T").ok()
    assert contents()[0][-1][0] == 9001


def test_force_does_not_ask_a_pipe(cli: Cli, contents: Read, file: Path) -> None:
    """Without a terminal to answer, and without --yes, nothing is done: exit code 2."""
    cli("import", stdin=line(9000)).ok()
    before = contents()
    done = cli("import", "-i", file, "--force")
    assert done.code == 2
    assert "add --yes" in done.err
    assert contents() == before


def test_nobody_is_asked_where_standard_input_is_closed(cli: Cli, tmp_path: Path) -> None:
    """`<&-`, as some supervisors start programs: it is told to add --yes, or to name a file."""
    path = tmp_path / "events.ndjson"
    path.write_bytes(lines(range(1, 4)))
    for arguments, said in (
        (["import", "-i", path, "--force"], "add --yes"),
        (["copy", "--from-namespace", "other", "--force"], "add --yes"),
        (["ns", "delete", cli.namespace or ""], "add --yes"),
        (["import"], "Give a file with -i FILE"),
        (["verify", "-"], "Give a FILE"),
    ):
        command = ["sh", "-c", 'exec "$@" <&-', "sh", *cli.command(*arguments)]
        done = subprocess.run(command, env=cli.environment(), capture_output=True, text=True, check=False)
        assert (done.returncode, said in done.stderr) == (2, True), (arguments, done.stderr)


@pytest.mark.parametrize(("answer", "code", "left"), [(b"y\n", 0, 3500), (b"n\n", 1, 1), (b"\n", 1, 1)])
def test_force_asks_on_a_terminal(cli: Cli, file: Path, answer: bytes, code: int, left: int) -> None:
    """The question names the namespace and the file; anything but yes changes nothing."""
    cli("import", stdin=line(9000)).ok()
    ours, theirs = pty.openpty()
    process = cli.start("import", "-i", file, "--force", stdin=theirs)
    os.write(ours, answer)
    _, error = process.communicate(timeout=SECONDS)
    os.close(ours)
    os.close(theirs)
    assert process.returncode == code, error
    assert f'"{cli.namespace}"'.encode() in error
    assert str(file).encode() in error
    assert cli("export").ok().stdout.count(b"\n") == left


@pytest.mark.parametrize("content", [b"", b"\n", gzip.compress(b"")], ids=["empty", "a blank line", "gzip"])
def test_force_does_not_replace_all_by_nothing(cli: Cli, contents: Read, content: bytes) -> None:
    """An export that has failed at the other end of the pipe sends nothing, which must not empty a namespace."""
    cli("import", stdin=line(9000)).ok()
    before = contents()
    assert_one_line(cli("import", "--force", "--yes", stdin=content), 1, "IMPORT_FAILED", "holds no messages")
    assert contents() == before


# --dry-run


@pytest.mark.thorough(but=["*-", "*---force"])
@pytest.mark.parametrize(
    "options", [[], ["--on-conflict", "skip"], ["--force"], ["--force", "--on-conflict", "skip"]], ids=" ".join
)
@pytest.mark.parametrize("filled", [False, True], ids=["empty", "filled"])
def test_a_dry_run_says_what_would_be_done_and_keeps_nothing(
    cli: Cli, contents: Read, connection: psycopg.Connection, file: Path, options: list[str], filled: bool
) -> None:
    """Exit code 0, the numbers of a real run, and nothing is changed: no row, no position drawn, no record."""
    if filled:
        cli("import", stdin=lines([9000], stream="old-1")).ok()
    before = contents()
    records = connection.execute("SELECT count(*), max(number) FROM imports").fetchone()
    done = cli("import", "-i", file, "--dry-run", *options).ok()
    assert done.err.startswith("Dry run: 3500 events would be imported, the last at global position 3500")
    assert "nothing was kept" in done.err
    events = cli("import", "-i", file, "--dry-run", "--progress", "json", *options).ok().err.splitlines()
    assert json.loads(events[-1])["dry_run"] is True
    assert json.loads(events[-1])["imported"] == 3500
    assert contents() == before
    assert connection.execute("SELECT count(*), max(number) FROM imports").fetchone() == records
    cli("import", "-i", file).ok()
    if not filled:
        assert connection.execute("SELECT max(number) FROM imports").fetchone() == (1,)


@pytest.mark.parametrize(
    ("fault", "code", "name"),
    [
        (line(9000, stream="new-1"), 4, "POSITION_EXISTS: line 2"),
        (line(9001, id="00000000-0000-4000-8000-000000000007"), 4, "ID_EXISTS: line 2"),
        (line(9001, stream="old-1", pos=8999), 4, "STREAM_POSITION_EXISTS: line 2"),
        (line(9001, stream="new-1", data=b"1e200000"), 1, "INVALID_JSON: line 2"),
        (b"nope\n", 1, "INVALID_JSON: line 2"),
    ],
    ids=["position", "id", "stream position", "value", "line"],
)
def test_a_dry_run_finds_what_an_import_would_refuse(
    cli: Cli, contents: Read, fault: bytes, code: int, name: str
) -> None:
    """The namespace's own constraints are asked, too; the code, the line and the exit code are the same."""
    cli("import", stdin=line(9000, stream="old-1", id="00000000-0000-4000-8000-000000000007")).ok()
    before = contents()
    content = line(1) + fault + line(2)
    tried, done = (cli("import", *options, stdin=content) for options in (["--dry-run"], []))
    assert_one_line(tried, code, name)
    assert tried.err == done.err
    assert contents() == before


# --batch-size, --resume


def test_a_batch_is_kept_when_a_later_line_is_wrong(cli: Cli, file: Path) -> None:
    """Whole batches stay, the line says which lines they were and how to go on, and that works."""
    file.write_bytes(lines(range(1, 2501)) + line(2400, stream="new-1") + lines(range(2501, 2600)))
    done = cli("import", "-i", file, "--batch-size", "1000")
    assert_one_line(done, 4, "POSITION_EXISTS: line 2501", "lines 1 to 2000 are imported", "--on-conflict skip")
    assert cli("export").ok().stdout.count(b"\n") == 2000
    file.write_bytes(lines(range(1, 2600)))
    cli("import", "-i", file, "--on-conflict", "skip").ok()
    assert cli("export").ok().stdout.count(b"\n") == 2599


def test_a_resumed_import_says_where_it_goes_on(cli: Cli, connection: psycopg.Connection, file: Path) -> None:
    """The same command, after an interruption and after its end: exit code 0, and a line that says what it did."""
    command = ("import", "-i", file, "--batch-size", "1000", "--resume")
    cli("import", stdin=line(2500, stream="in the way-1")).ok()
    assert cli(*command).code == 4
    connection.execute("DELETE FROM messages WHERE stream_name = 'in the way-1'")
    done = cli(*command).ok()
    assert done.err.startswith("Done. 1500 events imported in ")
    assert done.err.endswith("; it went on behind line 2000.\n")
    done = cli(*command).ok()
    assert done.err.startswith("Done. 0 events imported in ")
    assert done.err.endswith(": this file was imported before, to its last line.\n")
    assert cli("export").ok().stdout.count(b"\n") == 3500


def test_every_thousand_messages_are_a_batch_if_so_asked(cli: Cli, connection: psycopg.Connection, file: Path) -> None:
    """Each is a transaction of its own."""
    cli("import", "-i", file, "--batch-size", "1000").ok()
    assert connection.execute(
        "SELECT count(*), count(DISTINCT xmin::text) FROM messages WHERE global_position % 1000 = 1"
    ).fetchone() == (4, 4)
    assert connection.execute("SELECT count(DISTINCT xmin::text) FROM messages").fetchone() == (4,)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--resume"], "standard input can't be resumed"),
        (["--force", "--yes", "--resume"], "--force is one transaction"),
        (["--force", "--yes", "--batch-size", "10"], "--force is one transaction"),
        (["--dry-run", "--batch-size", "10"], "--dry-run is one transaction"),
        (["--batch-size", "0"], "--batch-size"),
        (["--batch-size", "-5"], "--batch-size"),
        (["--on-conflict", "ignore"], "--on-conflict"),
        (["--yes"], "--yes goes with --force"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_does_not_go_together_is_a_usage_error(cli: Cli, contents: Read, options: list[str], word: str) -> None:
    """Exit code 2, and nothing is read."""
    before = contents()
    done = cli("import", *options, stdin=lines([1]))
    assert done.code == 2, done.err
    assert word in done.err
    assert contents() == before


# Progress


@pytest.mark.thorough(but=["gzip"])
@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "gzip"])
def test_a_terminal_sees_a_bar_by_bytes_of_the_file(cli: Cli, file: Path, compressed: bool) -> None:
    """Percent, messages, their rate and the time that is left; the bar is gone at the end."""
    if compressed:
        file.write_bytes(gzip.compress(lines(range(1, 60_001), data={"n": "x" * 40})))
    else:
        file.write_bytes(lines(range(1, 60_001)))
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 120))
    process = cli.start("import", "-i", file, stderr=theirs)
    os.close(theirs)
    seen = b""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        if select.select([ours], [], [], 0.1)[0]:
            try:
                seen += os.read(ours, 65536)
            except OSError:
                break
    process.communicate(timeout=SECONDS)
    os.close(ours)
    assert process.returncode == 0, seen
    text = seen.decode()
    assert re.search(r"imported: +\d+%\|", text)
    assert re.search(r"\d+,000 events, [\d,]+/s", text)
    assert re.search(r"\[\d\d:\d\d<\d\d:\d\d", text)
    # what stands behind the last return to the line's start, on a terminal that makes \n of it \r\n
    assert text.rstrip().split("\r")[-1].startswith("Done. 60000 events imported in ")


def test_v_tells_a_terminal_on_a_line_of_its_own(cli: Cli, file: Path) -> None:
    """What -v says does not go into the middle of the bar; with --progress json it is not said, for it is no event."""
    assert "loading without indexes" in cli("import", "-v", "-i", file).ok().err
    events = cli("import", "-v", "-i", file, "--progress", "json", "--on-conflict", "skip").ok().err
    assert all(json.loads(event) for event in events.splitlines())


# Who may


def test_a_writer_may_not_import(cli: Cli, connection: psycopg.Connection, namespace: str, contents: Read) -> None:
    """Positions are the owner's to choose: a member of the writers' role is refused, and told what it takes."""
    role = f"{namespace}_somebody"
    connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'secret'").format(sql.Identifier(role)))
    connection.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(f"{namespace}_writer"), sql.Identifier(role)))
    theirs = Cli(conninfo.make_conninfo(cli.dsn or "", user=role, password="secret"), namespace)
    before = contents()
    for options in ([], ["--on-conflict", "skip"], ["--force", "--yes"], ["--dry-run"], ["--batch-size", "5"]):
        assert_one_line(theirs("import", *options, stdin=lines([1, 2])), 1, "PERMISSION_DENIED", "owner")
    assert contents() == before
    theirs("write", "a-1", "T").ok()
