"""What an export holds, and the file that it makes."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import conninfo

from evtool.errors import StoreError
from evtool.exporting import export_file
from evtool.imports import ImportSummary
from evtool.model import NewMessage, Selection
from evtool.stores.postgres import PostgresStore
from tests.cli.running import SECONDS, Cli, assert_one_line
from tests.transfer.lines import line, lines

Import = Callable[[bytes], ImportSummary]
Export = Callable[..., bytes]

NAMES = [
    "",
    "-",
    "-1",
    "a-",
    "a",
    "null",
    "null-1",
    " ",
    " a-1 ",
    "a-\x01",
    "\x01",
    "\x01\x01-1",
    "\x01a\x01-\x01",
    "a\x02b-1",
    "\x02",
    "\x01\x02\x01-\x02",
    "a\nb-1",
    "\n",
    "a\r\nb-1",
    "\r",
    "a\t-1",
    "a\\-1",
    "\\.",
    "a\n\\.\nb-1",
    "\\N",
    'a"b-1',
    '"',
    "a'b-1",
    "{}-1",
    "%s%(x)s%%-1",
    "a,b-1",
    "\x7f\x80\x9f-1",
    "\x1f\x03\x08\x0c-1",
    "日本-😀",
    "\u2028\u2029\ufeff-1",
    "e\u0301-1",
    "a-b-c+d+e",
    "x" * 2000 + "-1",
]


def test_every_name_survives(import_lines: Import, export: Export) -> None:
    """Streams and types of any characters but NUL: empty, control characters, quotes, backslashes, Unicode."""
    given = b"".join(line(number, stream=name, type=NAMES[-number], pos=number) for number, name in enumerate(NAMES, 1))
    import_lines(given)
    records = [json.loads(text) for text in export().split(b"\n")[:-1]]
    assert [record["stream"] for record in records] == NAMES
    assert records == [json.loads(text) for text in given.split(b"\n")[:-1]]


@pytest.mark.parametrize("odd", [0, 1, 999, 1000, 1500])
def test_an_odd_name_leaves_its_neighbours_alone(import_lines: Import, export: Export, odd: int) -> None:
    """A name that has to be quoted, anywhere among ordinary ones, changes no other line."""
    names = [f"plain-{number}" if number != odd else "a\x01\n\x02-1" for number in range(1600)]
    import_lines(b"".join(line(number, stream=name, pos=0) for number, name in enumerate(names, 1)))
    assert [json.loads(text)["stream"] for text in export().splitlines()] == names


def test_a_null_of_json_is_a_null_in_the_file(store: PostgresStore, export: Export) -> None:
    """Whether the table has NULL or JSON's null, the file has null; the string stays a string."""
    store.write_messages("a-1", [NewMessage("T", data) for data in ("null", None, '"null"', "[null]")])
    assert [json.loads(text)["data"] for text in export().splitlines()] == [None, None, "null", [None]]


def test_a_time_that_can_not_be_written_is_named(
    connection: psycopg.Connection, import_lines: Import, export: Export
) -> None:
    """Infinity, years before Christ and beyond 9999 are refused with the position, and not written wrongly."""
    import_lines(lines([1, 2, 3]))
    for time in ("infinity", "-infinity", "0044-03-15 10:00:00.123 BC", "10000-01-01 00:00:00.12345", "12345-01-01"):
        connection.execute("UPDATE messages SET time = %s::timestamp WHERE global_position = 2", (time,))
        with pytest.raises(StoreError, match="global position 2 "):
            export()
    connection.execute("UPDATE messages SET time = '2025-01-01' WHERE global_position = 2")
    assert json.loads(export().splitlines()[1])["time"] == "2025-01-01T00:00:00.000000Z"


def test_settings_of_the_role_change_no_byte(
    import_lines: Import, export: Export, dsn: str, store: PostgresStore
) -> None:
    """DateStyle, TimeZone and the like are the session's, and the file is the same."""
    import_lines(lines([1, 2, 3]))
    options = "-c datestyle=German -c timezone=Asia/Tokyo -c extra_float_digits=0 -c bytea_output=escape"
    with PostgresStore(conninfo.make_conninfo(dsn, options=options), store.namespace) as odd:
        selection = Selection(since=datetime(2025, 7, 15, 10, tzinfo=UTC))
        assert b"".join(block.lines for block in odd.export(selection)) == export()


@pytest.mark.parametrize("count", [1, 2, 31, 32, 33, 200])
def test_any_number_of_categories(import_lines: Import, export: Export, count: int) -> None:
    """Each message once and in global order, with few categories and with many, named twice or not there."""
    given = b"".join(line(number, stream=f"c{number % 250}-1", pos=number) for number in range(1, 1001))
    import_lines(given)
    wanted = tuple(f"c{number}" for number in range(count))
    expected = [n for n in range(1, 1001) if n % 250 < count]
    for categories in (wanted, wanted + wanted, (*wanted, "nosuch"), tuple(reversed(wanted))):
        assert [json.loads(text)["gpos"] for text in export(categories=categories).splitlines()] == expected


def test_odd_categories_are_matched_exactly(import_lines: Import, export: Export) -> None:
    """A category is compared, not interpreted."""
    names = ["a", "A", "a b", "a'b", 'a"b', "a%", "a_", "a\\", "", "ä", "a+1"]
    import_lines(b"".join(line(number, stream=f"{name}-1") for number, name in enumerate(names, 1)))
    for number, name in enumerate(names, 1):
        assert [json.loads(text)["gpos"] for text in export(categories=(name,)).splitlines()] == [number]


@pytest.mark.parametrize(
    "options",
    [
        ["--categories", "nosuch"],
        ["--since", "2100-01-01"],
        ["--until", "1999-01-01"],
        ["--since", "2025-07-15", "--until", "2025-07-15"],
    ],
    ids=" ".join,
)
def test_a_slice_without_messages_is_an_empty_file(cli: Cli, tmp_path: Path, options: list[str]) -> None:
    """No output, exit code 0; a file is there and is empty, compressed or not; importing it succeeds."""
    cli("import", stdin=lines([1, 2])).ok()
    done = cli("export", *options).ok()
    assert done.out == ""
    assert done.err.startswith("Done. 0 events exported in ")
    for name in ("empty", "empty.gz"):
        cli("export", *options, "-o", tmp_path / name).ok()
        assert cli("import", "-i", tmp_path / name).ok().err.startswith("Done. 0 events")
    assert (tmp_path / "empty").read_bytes() == b""
    assert gzip.decompress((tmp_path / "empty.gz").read_bytes()) == b""


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (["--categories", "a-1"], "a-1"),
        (["--since", "yesterday"], "2025-07-01"),
        (["--since", "2024-02-30"], "2024-02-30"),
        (["--until", "2025-07-15T10:00:00+99:00"], "2025-07-01"),
        (["--since", "2025-01-02", "--until", "2025-01-01"], "since"),
    ],
)
def test_a_slice_that_can_not_be_is_wrong_usage(cli: Cli, options: list[str], part: str) -> None:
    """Exit code 2, with what is right."""
    assert_one_line(cli("export", *options), 2, part)


def test_bounds_are_utc_unless_they_say_otherwise(cli: Cli) -> None:
    """A date is midnight in UTC; an offset is obeyed."""
    cli("import", stdin=line(1, time="2025-07-14T23:59:59.999999Z") + line(2, time="2025-07-15T00:00:00Z")).ok()

    def positions(*options: str) -> list[int]:
        return [json.loads(text)["gpos"] for text in cli("export", *options, TZ="Asia/Tokyo").ok().out.splitlines()]

    assert positions("--since", "2025-07-15") == [2]
    assert positions("--until", "2025-07-15") == [1]
    assert positions("--since", "2025-07-15T00:00") == [2]
    assert positions("--since", "2025-07-15T02:00:00+02:00") == [2]
    assert positions("--since", "2025-07-15T00:00:00-01:00") == []


def test_an_export_waits_for_a_writer_and_includes_it(
    store: PostgresStore, connection: psycopg.Connection, export: Export
) -> None:
    """A position that was drawn before is not missed, though it commits afterwards: the export waits for it."""
    with psycopg.connect(connection.info.dsn, password=connection.info.password) as writer:
        writer.execute(f"SELECT {store.namespace}.write_message(gen_random_uuid()::varchar, 'slow-1', 'T', '1')")
        store.write_message(None, "quick-1", "T", 2)
        with pytest.raises(psycopg.errors.LockNotAvailable):
            connection.execute("SELECT watermark('10 ms')")
        exporting = Cli(conninfo.make_conninfo(connection.info.dsn, password=connection.info.password), store.namespace)
        process = exporting.start("export")
        # it has come so far that it waits; only then the writer commits
        _wait_until_asleep(connection)
        assert process.poll() is None
        writer.commit()
    out, error = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, error
    assert [json.loads(text)["stream"] for text in out.splitlines()] == ["slow-1", "quick-1"]
    assert out == export()


def _wait_until_asleep(connection: psycopg.Connection) -> None:
    connection.execute("SET statement_timeout = '30s'")
    connection.execute(
        """DO $$ BEGIN
          WHILE NOT EXISTS (SELECT FROM pg_stat_activity WHERE query LIKE '%watermark()%' AND wait_event = 'PgSleep')
          LOOP PERFORM pg_sleep(0.005); PERFORM pg_stat_clear_snapshot(); END LOOP;
        END $$"""
    )


def test_an_export_is_one_snapshot(store: PostgresStore, import_lines: Import, export: Export) -> None:
    """What is written or deleted after it began is not in it, though most of it is read later."""
    import_lines(lines(range(1, 20_001)))
    before = export()
    blocks: Iterator[Any] = store.export(Selection())
    first = next(blocks)
    store.write_message(None, "account-1", "Late", {})
    with psycopg.connect(store._dsn, autocommit=True) as other:
        other.execute(f"DELETE FROM {store.namespace}.messages WHERE global_position > 10000")
    assert first.lines + b"".join(block.lines for block in blocks) == before
    assert export().count(b"\n") == 10_000


def test_an_export_sorts_nothing_on_disk(
    store: PostgresStore, import_lines: Import, connection: psycopg.Connection, dsn: str
) -> None:
    """The order comes from an index, even where the planner knows nothing of the table yet."""
    connection.execute("ALTER TABLE messages SET (autovacuum_enabled = off)")
    import_lines(lines(range(1, 20_001)) + line(20_001, stream="other-1", pos=0))
    count = "SELECT temp_files FROM pg_stat_database WHERE datname = current_database()"
    before = connection.execute(count).fetchone()
    assert before is not None
    small = conninfo.make_conninfo(dsn, options="-c work_mem=64kB")
    with PostgresStore(small, store.namespace) as narrow:
        for categories in ((), ("account",), ("account", "other"), tuple(f"{n}" for n in range(40))):
            for _ in narrow.export(Selection(categories)):
                pass
    # the proof that the server would have told: a query that does sort
    with psycopg.connect(small) as sorting:
        sorting.execute(f"SELECT data::text FROM {store.namespace}.messages ORDER BY data::text").fetchall()
    connection.execute("SET statement_timeout = '30s'")
    while (after := connection.execute(count).fetchone()) == before:
        connection.execute("SELECT pg_sleep(0.005)")
    assert after == (before[0] + 1,)


def test_an_export_that_is_not_read_to_its_end_lets_go(
    store: PostgresStore, import_lines: Import, connection: psycopg.Connection
) -> None:
    """Closing the iterator ends the query and the connection."""
    import_lines(lines(range(1, 20_001)))
    blocks = store.export(Selection())
    next(blocks)
    blocks.close()  # type: ignore[attr-defined]
    connection.execute("SET lock_timeout = '10s'")
    # it waits until no query reads the table
    connection.execute("TRUNCATE messages")


def test_a_failing_export_leaves_an_older_file_as_it_was(
    cli: Cli, connection: psycopg.Connection, tmp_path: Path
) -> None:
    """The new file takes the old one's place when it is whole, or not at all; nothing else stays in the folder."""
    cli("import", stdin=lines(range(1, 5001))).ok()
    file = tmp_path / "out.ndjson"
    file.write_text("older\n")
    connection.execute("UPDATE messages SET time = 'infinity' WHERE global_position = 4999")
    assert_one_line(cli("export", "-o", file), 1, "global position 4999")
    assert_one_line(cli("export", "-o", file, "--gzip"), 1, "global position 4999")
    assert_one_line(cli("export", "-o", tmp_path / "new"), 1, "global position 4999")
    assert [path.name for path in tmp_path.iterdir()] == ["out.ndjson"]
    assert file.read_text() == "older\n"
    connection.execute("UPDATE messages SET time = '2025-01-01' WHERE global_position = 4999")
    cli("export", "-o", file).ok()
    assert file.read_bytes().count(b"\n") == 5000


def test_a_compressed_export_that_fails_has_no_end(cli: Cli, connection: psycopg.Connection) -> None:
    """Whoever reads half an archive from a pipe must be able to tell."""
    cli("import", stdin=lines(range(1, 5001))).ok()
    connection.execute("UPDATE messages SET time = 'infinity' WHERE global_position = 4999")
    done = cli("export", "--gzip")
    assert done.code == 1
    with pytest.raises(EOFError):
        gzip.decompress(done.stdout)


@pytest.mark.parametrize(
    ("path", "part"),
    [("nosuch/out.ndjson", "No such file"), ("", "directory"), ("file/out.ndjson", "Not a directory")],
)
def test_an_output_that_can_not_be_is_one_line(cli: Cli, tmp_path: Path, path: str, part: str) -> None:
    """The path, the reason, what to do; and nothing is left behind."""
    (tmp_path / "file").touch()
    assert_one_line(cli("export", "-o", tmp_path / path), 1, "FILE", str(tmp_path), part)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.thorough(but=[""])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_disk_is_one_line(cli: Cli, unbuffered: str) -> None:
    """On standard output and in a file; compressed and not; the hint says what to do; also under PYTHONUNBUFFERED."""
    cli("import", stdin=lines(range(1, 5001))).ok()
    with open("/dev/full", "wb") as full:
        for command in (["export"], ["export", "--gzip"], ["read", "--all"], ["export", "-o", "/dev/full"]):
            process = cli.start(*command, stdout=full, env=cli.environment(PYTHONUNBUFFERED=unbuffered))
            _, error = process.communicate(timeout=SECONDS)
            assert process.returncode == 1
            (text,) = error.decode().splitlines()
            assert "No space left on device" in text
            assert text.startswith("evtool: FILE: ")


def test_a_full_disk_leaves_no_half_file(cli: Cli, tmp_path: Path) -> None:
    """A limit on the size of files stands in for a small disk: nothing stays of the file that doesn't fit."""
    cli("import", stdin=lines(range(1, 5001))).ok()
    limited = ["sh", "-c", 'ulimit -f 64; exec "$@"', "sh", *cli.command("export", "-o", tmp_path / "out.ndjson")]
    done = subprocess.run(
        limited,
        env=cli.environment(),
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: signal.signal(signal.SIGXFSZ, signal.SIG_IGN),
    )
    assert done.returncode == 1
    assert "File too large" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_link_stays_a_link(cli: Cli, tmp_path: Path) -> None:
    """-o on a symbolic link writes what it points to."""
    cli("import", stdin=lines([1, 2])).ok()
    (tmp_path / "real").write_text("older\n")
    (tmp_path / "link").symlink_to("real")
    cli("export", "-o", tmp_path / "link").ok()
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes().count(b"\n") == 2


def test_a_pipe_is_written_as_it_is(cli: Cli, tmp_path: Path) -> None:
    """-o on a named pipe or on /dev/stdout has no temporary file beside it."""
    cli("import", stdin=lines([1, 2])).ok()
    assert cli("export", "-o", "/dev/stdout").ok().stdout.count(b"\n") == 2
    with (tmp_path / "redirected").open("wb") as file:
        process = cli.start("export", "-o", "/dev/stdout", stdout=file)
        process.communicate(timeout=SECONDS)
    assert (tmp_path / "redirected").read_bytes().count(b"\n") == 2
    assert Path("/dev/stdout").is_symlink()
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    process = cli.start("export", "-o", pipe)
    assert pipe.read_bytes().count(b"\n") == 2
    process.communicate(timeout=SECONDS)
    assert process.returncode == 0
    assert pipe.is_fifo()


def test_a_reader_that_has_seen_enough_ends_an_export_quietly(cli: Cli) -> None:
    """`evtool export | head -1`, compressed or not: no complaint on stderr."""
    cli("import", stdin=lines(range(1, 20_001))).ok()
    for options in ([], ["--gzip"], ["--progress", "json"]):
        process = cli.start("export", *options)
        assert process.stdout
        assert process.stderr
        assert process.stdout.read(1)
        process.stdout.close()
        complaints = [text for text in process.stderr.read().splitlines() if not text.startswith(b'{"exported"')]
        process.stderr.close()
        assert process.stdin
        process.stdin.close()
        assert complaints == []
        assert process.wait(SECONDS) in {0, 1}


def test_the_library_says_what_it_did(store: PostgresStore, import_lines: Import, tmp_path: Path) -> None:
    """export_file returns how many messages and the last position, and tells of every thousand."""
    import_lines(lines(range(1, 2501)))
    told: list[tuple[int, int | None]] = []
    path = str(tmp_path / "out")
    summary = export_file(store, path, progress=lambda moment: told.append((moment.count, moment.position)))
    assert (summary.exported, summary.last_position) == (2500, 2500)
    assert told == [(1000, 1000), (2000, 2000)]
