"""What export writes, import takes: any table, in every format, comes back as it was."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import sql
from psycopg.types.json import Jsonb
from psycopg.types.range import Range

from evtool.bulk.catalog import from_catalog
from evtool.bulk.importing import import_files
from evtool.bulk.opening import Source
from evtool.stores.postgres.connection import Connector
from tests.thoroughness import examples

Export = Callable[..., bytes]

_TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=10) | st.sampled_from(
    [
        "",
        "null",
        "NULL",
        r"\N",
        r"\.",
        "\v",
        "\x01\x7f",
        '"',
        "a,b",
        "a\r\nb",
        "\n",
        "\r",
        "\t",
        " ",
        "😀",
        "\u2028",
        "%s",
        "[]",
        "{}",
    ]
)
_MOMENTS = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30))  # noqa: DTZ001 - given a zone below
_JSON = st.recursive(
    st.booleans() | st.integers(-(2**70), 2**70) | _TEXTS,
    lambda below: st.lists(below | st.none(), max_size=3) | st.dictionaries(_TEXTS, below | st.none(), max_size=3),
    max_leaves=4,
)
_GRIDS = st.integers(1, 2).flatmap(
    lambda width: st.lists(st.lists(st.none() | st.integers(-9, 9), min_size=width, max_size=width), max_size=2)
)
_ROW = st.tuples(
    st.none() | _TEXTS,
    st.none() | st.decimals(-(10**20), 10**20, places=6),
    st.none() | st.floats(allow_nan=False, allow_infinity=False),
    st.none() | st.integers(-(2**63), 2**63 - 1),
    st.none() | st.booleans(),
    st.none() | _MOMENTS.map(lambda moment: moment.replace(tzinfo=UTC)),
    st.none() | _MOMENTS,
    st.none() | st.dates(),
    st.none() | st.lists(st.none() | _TEXTS, max_size=3),
    st.none() | st.lists(st.none() | st.integers(-(2**31), 2**31 - 1), max_size=3),
    # JSON's own null and no value are one in a file of JSON
    st.none() | st.tuples(_JSON, st.sampled_from([None, 2])).map(lambda made: json.dumps(made[0], indent=made[1])),
    st.none() | _JSON.map(json.dumps),
    st.none() | st.lists(st.none() | _JSON.map(Jsonb), max_size=3),
    st.none() | _GRIDS,
    st.none() | st.tuples(_MOMENTS, _MOMENTS).map(lambda pair: Range(*sorted(one.replace(tzinfo=UTC) for one in pair))),
    st.none() | st.binary(max_size=5),
    st.none() | st.uuids(),
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
    "numbers": "int[]",
    "j": "json",
    "100%": "jsonb",
    "documents": "jsonb[]",
    "grid": "int[]",
    "span": "tstzrange",
    'by"te': "bytea",
    "u": "uuid",
}


@pytest.mark.parametrize("form", ["ndjson", "json", "csv"])
@settings(
    max_examples=examples(15),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(rows=st.lists(_ROW, min_size=1, max_size=8))
def test_an_import_takes_what_an_export_wrote(
    tables: psycopg.Connection,
    export: Export,
    bulk_dsn: str,
    schema: str,
    tmp_path: Path,
    form: str,
    rows: list[tuple[Any, ...]],
) -> None:
    """No record is refused and every value is as it was: texts, null or empty, digits, microseconds, arrays, JSON as spelt."""
    for name in ("any", "back"):
        columns = sql.SQL(", ").join(
            sql.SQL("{} {}").format(sql.Identifier(column), sql.SQL(type_name))
            for column, type_name in _COLUMNS.items()
        )
        table = sql.Identifier(name)
        tables.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(table))
        tables.execute(sql.SQL("CREATE TABLE {} (id int PRIMARY KEY, {})").format(table, columns))
    with tables.cursor() as cursor:
        cursor.executemany(
            sql.SQL('INSERT INTO "any" VALUES ({})').format(
                sql.SQL(", ").join([sql.Placeholder()] * (len(_COLUMNS) + 1))
            ),
            [(number, *row) for number, row in enumerate(rows)],
        )
    path = tmp_path / f"table.{form}"
    path.write_bytes(export("any", form))
    with Connector(bulk_dsn).open() as connection:
        resource = from_catalog(connection, "back", schema=schema)
    (report,) = import_files(bulk_dsn, [Source(resource, (str(path),))])
    assert (report.total, report.rejected, report.inserted) == (len(rows), 0, len(rows)), report.by_code
    # jsonb and json have no equality of spelling but their text
    texts = sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(name)) for name in ("id", *_COLUMNS))
    stored = '"j"' if form == "json" else "replace(replace(j::text, E'\\n', ' '), E'\\r', ' ')::text"
    if form == "ndjson":
        texts = sql.SQL(texts.as_string().replace('"j"::text', stored))
    both = [
        tables.execute(sql.SQL("SELECT {} FROM {} ORDER BY id").format(texts, sql.Identifier(name))).fetchall()
        for name in ("any", "back")
    ]
    assert both[0] == both[1]
