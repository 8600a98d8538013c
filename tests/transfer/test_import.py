"""What an import takes, and what it leaves behind."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from evtool.importing import import_file
from evtool.imports import ImportSummary
from evtool.stores.postgres import PostgresStore
from tests.cli.running import Cli
from tests.transfer.conftest import Contents
from tests.transfer.lines import line, lines

Import = Callable[[bytes], ImportSummary]
Export = Callable[..., bytes]

_TWO = lines([1, 2])


@pytest.mark.parametrize(
    "content",
    [b"", b"\n", b"\n\n \n\r\n", b"\xef\xbb\xbf", b"\xef\xbb\xbf\n", gzip.compress(b"")],
    ids=["empty", "a blank line", "blank lines", "a BOM", "a BOM and a blank line", "gzip"],
)
def test_nothing_is_imported_from_nothing(
    store: PostgresStore, contents: Callable[[], Contents], tmp_path: Path, content: bytes
) -> None:
    """A file without messages succeeds, and draws no position."""
    before = contents()
    (tmp_path / "empty").write_bytes(content)
    assert import_file(store, str(tmp_path / "empty")) == ImportSummary(0, None)
    assert contents() == before


@pytest.mark.parametrize(
    "content",
    [
        _TWO,
        _TWO[:-1],
        _TWO.replace(b"\n", b"\r\n"),
        b"\xef\xbb\xbf" + _TWO,
        _TWO + b"\n\n  \n",
        _TWO.replace(b":", b" : ").replace(b"10 : 00 : 00", b"10:00:00").replace(b",", b"\t,\r "),
        b"".join(json.dumps(dict(reversed(json.loads(text).items()))).encode() + b"\n" for text in _TWO.splitlines()),
        _TWO.replace(b'"stream"', b'"str\\u0065am"').replace(b"account", b"\\u0061ccount"),
        gzip.compress(_TWO),
        gzip.compress(line(1)) + gzip.compress(b"", mtime=0) + gzip.compress(line(2)),
        gzip.compress(_TWO) + b"\0" * 64,
    ],
    ids=[
        "as is",
        "no last newline",
        "CRLF",
        "BOM",
        "blank end",
        "spaces",
        "order",
        "escapes",
        "gzip",
        "members",
        "padded",
    ],
)
def test_a_file_may_look_different(store: PostgresStore, export: Export, tmp_path: Path, content: bytes) -> None:
    """Line ends, spaces, the order of fields, compression: the messages are the same."""
    (tmp_path / "file").write_bytes(content)
    assert import_file(store, str(tmp_path / "file")) == ImportSummary(2, 2)
    assert [json.loads(text) for text in export().splitlines()] == [json.loads(text) for text in _TWO.splitlines()]


@pytest.mark.parametrize(
    "value",
    [
        b"9007199254740993",
        b"12345678901234567890123",
        b"-0.10",
        b"1.00",
        b"0.1234567890123456789012345",
        b'"\\\\u0000"',
        b'"\\\\\\\\u0000 \\\\\\\\\\\\ud800"',
        b'{"\\\\u0000":"\\\\ud800"}',
        b'"\\ud83d\\ude00 \\u00e9"',
        '"日本 😀 \u2028 \x7f \u0080"'.encode(),
        b'"\\u0001\\u0002\\u0003\\n\\r\\t\\"\\\\"',
        b'""',
        b"true",
        b"false",
        b"0",
        b"[]",
        b"{}",
        b'[null,[[]],{"a":{"":null}}]',
        b'{"gpos":1,"id":"x","gpos ":2}',
        b'"null"',
        b"[" * 500 + b"]" * 500,
    ],
    ids=lambda value: value[:40].decode(errors="replace").encode("ascii", "backslashreplace").decode(),
)
def test_every_value_of_json_survives(import_lines: Import, export: Export, value: bytes) -> None:
    """In data and in metadata; numbers keep each of their digits."""
    import_lines(line(1, data=value, meta=value) + line(2, data=b" " + value + b"\r\t "))
    first, second = export().splitlines()
    exact: dict[str, Any] = {"parse_int": str, "parse_float": str}
    given = json.loads(value, **exact)
    assert json.loads(first, **exact)["data"] == given
    assert json.loads(first, **exact)["meta"] == given
    assert json.loads(second, **exact)["data"] == given
    assert "\\u" not in json.loads(first)["data"] if value == b'"\\ud83d\\ude00 \\u00e9"' else True


def test_a_number_beyond_every_float_survives(import_lines: Import, export: Export) -> None:
    """1e400 is what it is, written out as PostgreSQL's numeric has it."""
    import_lines(line(1, data=b"1e400") + line(2, data=b"[-1E+2, 1.5e-7]"))
    first, second = export().splitlines()
    assert json.loads(first)["data"] == 10**400
    assert json.loads(second, parse_float=str, parse_int=str)["data"] == ["-100", "0.00000015"]


def test_null_stays_null(import_lines: Import, export: Export, connection: psycopg.Connection) -> None:
    """No data and no metadata are SQL's NULL in the table and null in the file."""
    import_lines(line(1, data=None, meta=None) + line(2, data={}, meta={}))
    assert connection.execute("SELECT data IS NULL, metadata IS NULL FROM messages ORDER BY 1 DESC").fetchall() == [
        (True, True),
        (False, False),
    ]
    assert [json.loads(text)["data"] for text in export().splitlines()] == [None, {}]


def test_a_line_of_ten_megabytes_is_a_message(import_lines: Import, export: Export) -> None:
    """No line is too long for what a message may be."""
    text = random.Random(7).randbytes(5_000_000).hex()
    import_lines(line(1) + line(2, data={"text": text}) + line(3))
    assert json.loads(export().splitlines()[1])["data"] == {"text": text}


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("2025-07-15T10:00:00Z", "2025-07-15T10:00:00.000000Z"),
        ("2025-07-15T10:00:00.1Z", "2025-07-15T10:00:00.100000Z"),
        ("2025-07-15T10:00:00.120Z", "2025-07-15T10:00:00.120000Z"),
        ("2025-07-15T10:00:00.123456Z", "2025-07-15T10:00:00.123456Z"),
        ("2025-07-15T10:00:00.000001Z", "2025-07-15T10:00:00.000001Z"),
        ("2025-07-15t10:00:00.999999z", "2025-07-15T10:00:00.999999Z"),
        ("2025-07-15 10:00:00Z", "2025-07-15T10:00:00.000000Z"),
        ("2025-07-15T10:00:00.5+02:00", "2025-07-15T08:00:00.500000Z"),
        ("2025-01-01T00:30:00+01:00", "2024-12-31T23:30:00.000000Z"),
        ("2025-07-15T10:00:00.000000-00:00", "2025-07-15T10:00:00.000000Z"),
        ("2024-02-29T23:59:59.999999Z", "2024-02-29T23:59:59.999999Z"),
        ("0001-01-01T00:00:00.000000Z", "0001-01-01T00:00:00.000000Z"),
        ("9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z"),
    ],
)
def test_times_are_kept_to_the_microsecond(import_lines: Import, export: Export, given: str, kept: str) -> None:
    """Every spelling of RFC 3339 becomes one: UTC, six digits, Z."""
    import_lines(line(1, time=given))
    assert json.loads(export())["time"] == kept


def test_ids_come_back_in_lower_case(import_lines: Import, export: Export) -> None:
    """PostgreSQL writes a UUID one way."""
    import_lines(line(1, id="ABCDEF01-0000-4000-8000-00000000000F"))
    assert json.loads(export())["id"] == "abcdef01-0000-4000-8000-00000000000f"


def test_positions_reach_to_the_end_of_bigint(import_lines: Import, export: Export) -> None:
    """The first and the last position there can be, in any order in the file; export puts them in global order.

    The greatest bigint is left free, for else there would be none for the next message.
    """
    last = 2**63 - 2
    summary = import_lines(line(last, pos=last + 1) + line(1, pos=0) + line(77, pos=3))
    assert summary == ImportSummary(3, last)
    assert [json.loads(text)["gpos"] for text in export().splitlines()] == [1, 77, last]


def test_the_sequence_moves_above_the_imported_and_never_back(
    import_lines: Import, store: PostgresStore, contents: Callable[[], Contents]
) -> None:
    """What is written afterwards has a position above all that were imported, whatever came first."""
    import_lines(line(500))
    assert store.write_message(None, "written-1", "T", {}) == 0
    assert contents()[0][-1][0] == 501
    import_lines(line(100, stream="late-1"))
    store.write_message(None, "written-1", "T", {})
    assert contents()[0][-1][0] == 502
    import_lines(line(503, stream="next-1"))
    store.write_message(None, "written-1", "T", {})
    assert [row[0] for row in contents()[0]] == [100, 500, 501, 502, 503, 504]


def test_a_slice_is_imported_beside_what_is_there(import_lines: Import, export: Export) -> None:
    """Two slices of one source fill each other's gaps."""
    import_lines(lines(range(1, 100, 2)))
    import_lines(lines(range(2, 100, 2)))
    assert export() == b"".join(
        text.replace(b'{"amount":', b'{"amount": ') for text in lines(range(1, 100)).splitlines(keepends=True)
    )


@pytest.mark.parametrize("filled", [False, True], ids=["empty", "filled"])
def test_an_import_keeps_writers_out_until_it_ends(cli: Cli, namespace: str, dsn: str, filled: bool) -> None:
    """A writer that comes in the middle waits, and then lands above the imported positions."""
    if filled:
        cli("import", stdin=line(4000, stream="earlier-1")).ok()
    importing = cli.start("import")
    assert importing.stdin is not None
    importing.stdin.write(lines(range(1, 3000)))
    importing.stdin.flush()
    with psycopg.connect(dsn, autocommit=True) as watching:
        _wait_for_lock(watching, namespace, "mode = 'ShareRowExclusiveLock' AND granted")
        writing = cli.start("write", "written-1", "T")
        _wait_for_lock(watching, namespace, "NOT granted")
    importing.stdin.write(line(5000))
    _, error = importing.communicate()
    assert importing.returncode == 0, error
    out, error = writing.communicate()
    assert (writing.returncode, out) == (0, b"0\n"), error
    assert json.loads(cli("read", "written-1").ok().out)["gpos"] == 5001


def _wait_for_lock(connection: psycopg.Connection, namespace: str, such: str) -> None:
    """Until there is such a lock on the table; the server is asked again and again, for up to 30 s."""
    connection.execute("SET statement_timeout = '30s'")
    connection.execute(
        f"""DO $$ BEGIN
          WHILE NOT EXISTS (
            SELECT FROM pg_locks WHERE relation = '{namespace}.messages'::regclass AND {such}
          ) LOOP PERFORM pg_sleep(0.005); END LOOP;
        END $$"""
    )
