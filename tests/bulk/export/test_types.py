"""Types that are neither numbers nor texts: composites, enums, domains, and those that PostgreSQL makes other JSON of."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable

import psycopg
import pytest

Export = Callable[..., bytes]

# Each with its definition, a value in SQL, and what stands in the file: in JSON, and its text in CSV.
_VALUES = [
    ("pair", "ROW(1, 'a \"b\"')::pair", '(1,"a ""b""")'),
    ("pair", "ROW(NULL, NULL)::pair", "(,)"),
    ("pair", "NULL", None),
    ("mood", "'so \"so\"'", 'so "so"'),
    ("character(4)", "'a'", "a   "),
    ("slug", "'x\ny'", "x\ny"),
    ("whole", "7", 7),
    ("odds", "'NaN'", "NaN"),
    ("instant", "'2025-07-15 10:00:00.5+02'", "2025-07-15T08:00:00.500000Z"),
    ("flag", "false", False),
    ("int2vector", "'1 2'", "1 2"),
    ("int4range", "'[1,5)'", "[1,5)"),
    ("oid", "4294967295", 4294967295),
    ("interval", "'1 day 2 hours'", "1 day 02:00:00"),
    ("bytea", r"'\x00ff'", r"\x00ff"),
    ("bit varying", "B'0101'", "0101"),
    ("shouted", "ROW('a')::shouted", "(a)"),
    ("inet", "'10.0.0.1'", "10.0.0.1"),
    ("double precision", "'-Infinity'", "-Infinity"),
]
_TYPES = """
    CREATE TYPE pair AS (a int, b text);
    CREATE TYPE mood AS ENUM ('so "so"');
    CREATE DOMAIN slug AS text;
    CREATE DOMAIN whole AS integer;
    CREATE DOMAIN odds AS numeric;
    CREATE DOMAIN instant AS timestamptz;
    CREATE DOMAIN flag AS boolean;
    CREATE TYPE shouted AS (t text);
    CREATE FUNCTION shout(shouted) RETURNS json IMMUTABLE LANGUAGE sql AS $$ SELECT '{"loud": true}'::json $$;
    CREATE CAST (shouted AS json) WITH FUNCTION shout(shouted);
"""


@pytest.mark.parametrize("required", [False, True], ids=["nullable", "not null"])
def test_every_type_is_spelt_as_the_database_spells_it(
    tables: psycopg.Connection, export: Export, *, required: bool
) -> None:
    """What has no kind of its own is its text, whatever to_json would make of it; domains are what lies below them."""
    tables.execute(_TYPES)
    values = [one for one in _VALUES if one[2] is not None or not required]
    columns = ", ".join(
        f"c{number} {type_} {'NOT NULL' if required else ''}" for number, (type_, _, _) in enumerate(values)
    )
    tables.execute(f"CREATE TABLE t (id int PRIMARY KEY, {columns})")
    tables.execute(f"INSERT INTO t VALUES (1, {', '.join(value for _, value, _ in values)})")
    expected = {"id": 1, **{f"c{number}": meant for number, (_, _, meant) in enumerate(values)}}
    assert json.loads(export("t")) == expected
    assert json.loads(export("t", "json")) == [expected]
    fields = list(csv.reader(io.StringIO(export("t", "csv").decode(), newline="")))[1]
    spelt = {None: "", False: "false"}
    assert fields == [str(spelt.get(one, one)) for one in expected.values()]


def test_a_table_of_the_greatest_width(tables: psycopg.Connection, export: Export) -> None:
    """As many columns as a table can have, more than a function of PostgreSQL takes arguments."""
    count = 1600
    tables.execute(f"CREATE TABLE wide ({', '.join(f'c{number} int' for number in range(count))})")
    tables.execute("INSERT INTO wide (c0, c1599) VALUES (1, 2)")
    expected = {f"c{number}": {0: 1, count - 1: 2}.get(number) for number in range(count)}
    assert json.loads(export("wide", columns=tuple(expected))) == expected
    assert json.loads(export("wide", "json")) == [expected]


@pytest.mark.parametrize("batch", [1, 2, 1000])
def test_times_beyond_iso_8601_among_others(tables: psycopg.Connection, export: Export, batch: int) -> None:
    """Null, infinity and years before Christ are not taken for one another, in CSV as in JSON, whatever the batch."""
    spelt = {
        "NULL": None,
        "'infinity'": "infinity",
        "'-infinity'": "-infinity",
        "'0044-03-15 12:00:00+00 BC'": "0044-03-15 12:00:00+00 BC",
        "'0001-01-01 00:00:00+00'": "0001-01-01T00:00:00.000000Z",
        "'9999-12-31 23:59:59.999999+00'": "9999-12-31T23:59:59.999999Z",
        "'10000-01-01 00:00:00+00'": "10000-01-01 00:00:00+00",
        "'2025-07-15 10:00:00.12+00'": "2025-07-15T10:00:00.120000Z",
    }
    tables.execute("CREATE TABLE t (id serial PRIMARY KEY, m timestamptz, l timestamp)")
    for value in spelt:
        tables.execute(f"INSERT INTO t (m, l) VALUES ({value}, {value})")
    local = [one and one.removesuffix("Z").replace("+00", "") for one in spelt.values()]
    rows = [json.loads(line) for line in export("t", batch=batch).splitlines()]
    assert [row["m"] for row in rows] == list(spelt.values())
    assert [row["l"] for row in rows] == local
    lines = export("t", "csv", batch=batch).decode().split("\r\n")[1:-1]
    assert [line.split(",")[1] for line in lines] == [one or "" for one in spelt.values()]
    assert [line.split(",")[2] for line in lines] == [one or "" for one in local]
