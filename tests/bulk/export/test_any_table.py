"""Any table of values comes out, and is read back by others: Python's json and csv, and PostgreSQL's own CSV reader."""

from __future__ import annotations

import csv
import io
import json
import math
import sqlite3
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import sql
from psycopg.types.json import Json

from evtool.bulk.exporting import export_file
from evtool.bulk.resource import Column, Resource
from evtool.bulk.writers import Format
from tests.thoroughness import examples

Export = Callable[..., bytes]

_TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12) | st.sampled_from(
    [
        "",
        "null",
        "NULL",
        r"\N",
        r"\.",
        r"\\",
        "\v",
        "\b\f",
        "\x01\x7f",
        '"',
        '""',
        "a,b",
        "a\r\nb",
        "\n",
        "\r",
        "\t",
        " ",
        "é",
        "😀",
        "\u2028",
        "%s",
        "it's",
    ]
)
_MOMENTS = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30))  # noqa: DTZ001 - given a zone below
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | _TEXTS,
    lambda below: st.lists(below, max_size=3) | st.dictionaries(_TEXTS, below, max_size=3),
    max_leaves=5,
)
_ROW = st.tuples(
    st.none() | _TEXTS,
    st.none()
    | st.decimals(-(10**30), 10**30, allow_nan=False).filter(lambda n: n.as_tuple().exponent > -99)
    | st.sampled_from([Decimal("NaN"), Decimal("Infinity"), Decimal("1.500"), Decimal("1e50")]),
    st.none() | st.floats(),
    st.none() | st.integers(-(2**63), 2**63 - 1),
    st.none() | st.booleans(),
    st.none() | _MOMENTS.map(lambda moment: moment.replace(tzinfo=UTC)),
    st.none() | _MOMENTS,
    st.none() | st.dates(),
    st.none() | st.lists(st.none() | _TEXTS, max_size=3),
    st.none() | _JSON.map(json.dumps),
    st.none() | _JSON,
    st.none() | st.binary(max_size=5),
)
_COLUMNS = {
    "a text": "text",
    "n": "numeric",
    "f": "double precision",
    "i": "bigint",
    "b": "boolean",
    "m": "timestamptz",
    "l": "timestamp",
    "d": "date",
    "array": "text[]",
    "j": "json",
    "100%": "jsonb",
    'by"te': "bytea",
}
_SETTINGS = settings(
    max_examples=examples(30),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def _fill(tables: psycopg.Connection, rows: list[tuple[Any, ...]]) -> None:
    tables.execute('DROP TABLE IF EXISTS "any"')
    columns = sql.SQL(", ").join(
        sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(type_name)) for name, type_name in _COLUMNS.items()
    )
    tables.execute(sql.SQL('CREATE TABLE "any" (id int PRIMARY KEY, {})').format(columns))
    with tables.cursor() as cursor:
        cursor.executemany(
            sql.SQL('INSERT INTO "any" VALUES ({})').format(
                sql.SQL(", ").join([sql.Placeholder()] * (len(_COLUMNS) + 1))
            ),
            [
                (number, *row[:10], Json(row[10]) if row[10] is not None else None, row[11])
                for number, row in enumerate(rows)
            ],
        )


def _expected(row: tuple[Any, ...]) -> list[Any]:
    """What JSON has for a row, its numbers as text."""
    text, number, real, integer, boolean, moment, local, day, array, stored, value, data = row
    return [
        text,
        number if number is None else _number(number),
        real if real is None else _number(real),
        None if integer is None else str(integer),
        boolean,
        None if moment is None else moment.isoformat(timespec="microseconds").replace("+00:00", "Z"),
        None if local is None else local.isoformat(timespec="microseconds"),
        None if day is None else day.isoformat(),
        array,
        None if stored is None else _loads(stored),
        None if value is None else _loads(json.dumps(value)),
        None if data is None else "\\x" + data.hex(),
    ]


def _number(value: Decimal | float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return repr(value)


def _loads(text: str | bytes) -> Any:
    return json.loads(text, parse_int=str, parse_float=str)


def _assert_record(got: dict[str, Any], number: int, row: tuple[Any, ...]) -> None:
    assert list(got) == ["id", *_COLUMNS]
    values = [*got.values()][1:]
    expected = _expected(row)
    assert got["id"] == str(number)
    for at, name in enumerate(_COLUMNS):
        if name == "n" and row[1] is not None and row[1].is_finite():
            assert Decimal(values[at]) == row[1]
        elif name == "f" and row[2] is not None and math.isfinite(row[2]):
            assert float(values[at]) == row[2]
        else:
            assert values[at] == expected[at], name


@_SETTINGS
@given(rows=st.lists(_ROW, max_size=8))
def test_json_holds_what_the_table_holds(
    tables: psycopg.Connection, export: Export, rows: list[tuple[Any, ...]]
) -> None:
    """Python's parser finds every value, null, empty text, digit and microsecond, in both forms of JSON."""
    _fill(tables, rows)
    lines = export("any").decode().split("\n")
    assert lines.pop() == ""
    whole = export("any", "json")
    assert len(lines) == len(rows)
    for number, (row, line, record) in enumerate(zip(rows, lines, _loads(whole), strict=True)):
        _assert_record(_loads(line), number, row)
        _assert_record(record, number, row)


@_SETTINGS
@given(rows=st.lists(_ROW, max_size=8))
def test_postgresql_reads_the_csv_back(tables: psycopg.Connection, export: Export, rows: list[tuple[Any, ...]]) -> None:
    """COPY FROM, a reader that isn't ours, finds the same rows in a CSV, null told from empty text."""
    _fill(tables, rows)
    content = export("any", "csv", columns=("id", *(name for name in _COLUMNS if name != "array")))
    tables.execute("DROP TABLE IF EXISTS back")
    tables.execute('CREATE TABLE back AS SELECT * FROM "any" LIMIT 0')
    tables.execute('ALTER TABLE back DROP COLUMN "array"')
    tables.execute("SET timezone = 'UTC'")
    # PostgreSQL takes CRLF as its own line break, but not inside of quotes; there it must be as it was
    with tables.cursor() as cursor, cursor.copy("COPY back FROM STDIN (FORMAT csv, HEADER match)") as copy:
        copy.write(content)
    difference = """
        SELECT count(*) FROM (
            (SELECT {0} FROM back EXCEPT ALL SELECT {0} FROM "any") UNION ALL
            (SELECT {0} FROM "any" EXCEPT ALL SELECT {0} FROM back)) AS d
    """
    texts = sql.SQL(", ").join(
        sql.SQL("{}::text").format(sql.Identifier(name)) for name in ("id", *_COLUMNS) if name != "array"
    )
    assert tables.execute(sql.SQL(difference).format(texts)).fetchone() == (0,)


@_SETTINGS
@given(rows=st.lists(st.lists(st.none() | _TEXTS, min_size=3, max_size=3), max_size=10))
def test_python_reads_the_csv_back(tables: psycopg.Connection, export: Export, rows: list[list[str | None]]) -> None:
    """Python's csv module finds the same texts, in strict mode."""
    tables.execute("DROP TABLE IF EXISTS t; CREATE TABLE t (id int PRIMARY KEY, a text, b text, c text)")
    with tables.cursor() as cursor:
        cursor.executemany("INSERT INTO t VALUES (%s, %s, %s, %s)", [(n, *row) for n, row in enumerate(rows)])
    text = io.StringIO(export("t", "csv").decode(), newline="")
    got = list(csv.reader(text, strict=True))
    assert got == [["id", "a", "b", "c"], *([str(n), *(one or "" for one in row)] for n, row in enumerate(rows))]


_SHARED = Resource(
    name="shared",
    table="shared",
    columns=(
        Column("id", "text"),
        Column("t", "text"),
        Column("n", "bigint"),
        Column("r", "double precision"),
        Column("b", "boolean"),
        Column("m", "timestamptz"),
        Column("l", "timestamp"),
        Column("j", "json"),
    ),
    key=("id",),
    order=("t desc", "m"),
)
_SHARED_ROW = st.tuples(
    st.none() | _TEXTS,
    st.none() | st.integers(-(2**63), 2**63 - 1),
    # SQLite stores NaN as null, and -0 as 0
    st.none() | st.floats(allow_nan=False).map(lambda value: value + 0.0),
    st.none() | st.booleans(),
    st.none() | _MOMENTS.map(lambda moment: moment.replace(tzinfo=UTC)),
    st.none() | _MOMENTS,
    st.none() | st.tuples(_JSON, st.sampled_from([None, 0, 2])).map(lambda made: json.dumps(made[0], indent=made[1])),
)


@pytest.mark.thorough
@_SETTINGS
@given(
    rows=st.lists(_SHARED_ROW, max_size=10),
    batch=st.integers(1, 5),
    between=st.sampled_from(" T"),
    zone=st.sampled_from(["+00:00", "Z", " +0000 UTC"]),
)
def test_postgresql_and_sqlite_give_equal_files(
    tables: psycopg.Connection,
    archive: sqlite3.Connection,
    export: Export,
    export_archive: Export,
    rows: list[tuple[Any, ...]],
    batch: int,
    between: str,
    zone: str,
) -> None:
    """Equal content gives equal bytes in every format, whichever database it comes from and however many at once."""
    tables.execute("DROP TABLE IF EXISTS shared")
    tables.execute(
        "CREATE TABLE shared (id text PRIMARY KEY, t text, n bigint, r float8, b bool, m timestamptz, l timestamp, j json)"
    )
    archive.execute("DROP TABLE IF EXISTS shared")
    archive.execute(
        "CREATE TABLE shared (id TEXT PRIMARY KEY, t TEXT, n INTEGER, r REAL, b BOOLEAN, m TEXT, l TEXT, j TEXT)"
    )
    with tables.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO shared VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
            [(f"{n:03}", *row) for n, row in enumerate(rows)],
        )
    for number, row in enumerate(rows):
        text, integer, real, boolean, moment, local, stored = row
        archive.execute(
            "INSERT INTO shared VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                f"{number:03}",
                text,
                integer,
                real,
                boolean,
                None if moment is None else _spelt(moment, between) + zone,
                None if local is None else _spelt(local, between),
                stored,
            ),
        )
    for form in ("ndjson", "json", "csv"):
        ours = export_archive(_SHARED, form, batch=batch)
        assert export(_SHARED, form, batch=batch) == ours
        assert export_archive(_SHARED, form) == ours


def _spelt(moment: datetime, between: str) -> str:
    return moment.replace(tzinfo=None).isoformat(between, timespec="auto")


@pytest.mark.thorough(but=["*-1", "*-7"])
@pytest.mark.parametrize("batch", [1, 2, 7, 1000, 100_000])
@pytest.mark.parametrize("form", ["ndjson", "json", "csv"])
def test_the_batch_changes_no_byte(
    tables: psycopg.Connection,
    archive: sqlite3.Connection,
    export: Export,
    export_archive: Export,
    batch: int,
    form: str,
) -> None:
    """Whatever is taken at once, the file is the same, for few records, none, and as many as a batch."""
    for count in (0, 1, 7, 2500):
        rows = [(number, f"text {number % 9}", None if number % 5 else "") for number in range(count)]
        tables.execute("DROP TABLE IF EXISTS t; CREATE TABLE t (id int PRIMARY KEY, a text, b text)")
        with tables.cursor() as cursor, cursor.copy("COPY t FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
        archive.execute("DROP TABLE IF EXISTS t")
        archive.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, b TEXT)")
        archive.execute("CREATE INDEX t_a ON t (a DESC, id)")
        archive.execute("BEGIN")
        archive.executemany("INSERT INTO t VALUES (?, ?, ?)", rows)
        archive.execute("COMMIT")
        whole = export("t", form, order_by=("a desc",))
        assert export("t", form, order_by=("a desc",), batch=batch) == whole
        assert export_archive("t", form, order_by=("a desc",), batch=batch) == whole
        # and without an index that gives the order
        assert export_archive("t", form, order_by=("b", "a desc"), batch=batch) == export(
            "t", form, order_by=("b", "a desc")
        )


def test_the_pretty_form_is_that_of_python(tables: psycopg.Connection, export: Export) -> None:
    """The array is what json.dumps writes with an indent of two, and an empty one is []."""
    tables.execute("CREATE TABLE t (id int PRIMARY KEY, a text, b boolean)")
    assert export("t", "json") == b"[]\n"
    assert export("t", "ndjson") == b""
    assert export("t", "csv") == b"id,a,b\r\n"
    assert export("t", "csv", bom=True) == b"\xef\xbb\xbfid,a,b\r\n"
    tables.execute("INSERT INTO t VALUES (1, 'é \"\n', true), (2, NULL, false)")
    records = [{"id": 1, "a": 'é "\n', "b": True}, {"id": 2, "a": None, "b": False}]
    assert export("t", "json").decode() == json.dumps(records, indent=2, ensure_ascii=False) + "\n"
    assert export("t", "csv") == 'id,a,b\r\n1,"é ""\n",true\r\n2,,false\r\n'.encode()


def test_json_is_emitted_as_stored(
    tables: psycopg.Connection, archive: sqlite3.Connection, export: Export, export_archive: Export
) -> None:
    """Spaces, order, duplicate keys, escapes and digits stay; only NDJSON makes spaces of line breaks between tokens."""
    stored = '{ "b":1,\n\t"a" : 1.50e+1, "b": "\\u00e9\\/\\\\n\\n" ,"":[ ]\r\n}'
    tables.execute("CREATE TABLE t (id int PRIMARY KEY, j json)")
    tables.execute("INSERT INTO t VALUES (1, %s)", (stored,))
    archive.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, j JSON)")
    archive.execute("INSERT INTO t VALUES (1, ?)", (stored,))
    for one in (export, export_archive):
        assert stored.encode() in one("t", "json")
        assert stored.replace("\n", " ").replace("\r", " ").encode() in one("t")
        assert next(csv.reader(io.StringIO(one("t", "csv").decode().split("\r\n", 1)[1], newline="")))[1] == stored


def test_what_iso_8601_can_not_say_stays(tables: psycopg.Connection, export: Export) -> None:
    """Infinity and years before Christ or beyond 9999 are written as PostgreSQL does, among others that are not."""
    times = [
        "infinity",
        "-infinity",
        "0044-03-15 10:00:00.5+00 BC",
        "12345-01-01 00:00:00.12345+00",
        "2025-01-01 00:00:00.5+00",
    ]
    tables.execute("CREATE TABLE t (id int PRIMARY KEY, m timestamptz)")
    for number, text in enumerate(times):
        tables.execute("INSERT INTO t VALUES (%s, %s::timestamptz)", (number, text))
    got = [json.loads(line)["m"] for line in export("t").splitlines()]
    assert got == [*times[:4], "2025-01-01T00:00:00.500000Z"]


def test_settings_of_the_session_change_no_byte(
    tables: psycopg.Connection, bulk_dsn: str, schema: str, tmp_path: Path
) -> None:
    """DateStyle, TimeZone and the like are the role's, and the file is the same."""
    tables.execute(
        "CREATE TABLE t AS SELECT 1 AS id, now() AS m, now()::timestamp AS l, now()::date AS d, 0.1::float8 AS f,"
        " '\\x00ff'::bytea AS b, interval '1 day 2 hours 3.5 seconds' AS i, array[now()] AS a"
    )
    files = []
    for options in (
        "",
        "-c datestyle=German -c timezone=Asia/Tokyo -c extra_float_digits=0 -c bytea_output=escape -c intervalstyle=iso_8601",
    ):
        path = tmp_path / f"{len(files)}"
        dsn = psycopg.conninfo.make_conninfo(bulk_dsn, options=options) if options else bulk_dsn
        export_file(dsn, "t", str(path), format=Format.JSON, schema=schema)
        files.append(path.read_bytes())
    assert files[0] == files[1]


def test_dates_and_moments_are_told_apart() -> None:
    """The strategies above reach the edges that the law is about."""
    assert date.min < date(1, 1, 2) < datetime(9999, 12, 30, tzinfo=UTC).date() + timedelta(days=1)
