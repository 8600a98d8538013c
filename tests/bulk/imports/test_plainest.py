"""The plainest spellings, which the client recognises so that the server needs not look: no second set of rules."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from psycopg import sql

from evtool.bulk import installing
from evtool.bulk.casting import ColumnType, cast
from evtool.stores.postgres.connection import Connector
from tests.bulk.imports.conftest import Shop
from tests.sql.test_bulk_spellings import LENIENT, REFUSED, TAKEN

ID = "0b1e6d3c-7f1a-4a57-9d35-9f6f0c2b1a11"
USUAL = {
    "uuid": ("as_uuid", [ID, ID.upper()]),
    "boolean": ("as_boolean", ["true", "false"]),
    "bigint": ("as_bigint", ["0", "-7", "999999999999999999", "-999999999999999999"]),
    "integer": ("as_integer", ["0", "-7", "999999999", "-999999999"]),
    "smallint": ("as_smallint", ["0", "-7", "9999", "-9999"]),
    "numeric": ("as_numeric", ["0", "-0", "1.50", "-0.5", "9" * 100 + "." + "9" * 99]),
    "date": ("as_date", ["2024-02-28", "0001-01-01", "9999-12-28"]),
    "timestamp with time zone": ("as_timestamptz", ["2024-02-28T23:59:59Z", "2024-02-28 00:00:00.123456789Z"]),
    "timestamp without time zone": ("as_timestamp", ["2024-02-28T23:59:59", "2024-02-28 00:00:00.123456789"]),
}


def _days() -> list[str]:
    days = [
        f"{year}-{month:02}-{day:02}"
        for year in ("0000", "0001", "1900", "2024")
        for month in range(14)
        for day in range(33)
    ]
    clocks = [f"{hour:02}:{minute:02}:{minute:02}" for hour in (0, 23, 24, 25) for minute in (0, 59, 60)]
    return [
        *days,
        *(f"{day}T00:00:00Z" for day in days),
        *(f"2024-01-01T{clock}{end}" for clock in clocks for end in ("", "Z", ".5Z")),
    ]


@pytest.mark.parametrize("type_", USUAL)
def test_what_is_plain_is_what_the_function_takes(make_database: Callable[..., str], type_: str) -> None:
    """Each text that the client calls plain is a value to the function of its type, and the one that the cast makes of it."""
    function, usual = USUAL[type_]
    plainest = cast(ColumnType(type_, type_, False), "unused").plainest
    assert plainest is not None
    every = {*LENIENT, *_days(), *usual}
    for values in (*TAKEN.values(), *REFUSED.values()):
        every |= {*values, *(f"{value}\n" for value in values), *(f" {value}" for value in values)}
    plain = [value for value in every if re.fullmatch(plainest, value.encode())]
    assert {*usual} <= {*plain}
    with Connector(make_database()).open() as connection:
        installing.install(connection)
        connection.execute("SET timezone = 'UTC'; SET datestyle = 'ISO, YMD'")
        query = sql.SQL("SELECT {}(%s) IS NOT NULL, {}(%s) = %s::{}").format(
            sql.Identifier("evtool_bulk", function), sql.Identifier("evtool_bulk", function), sql.SQL(type_)
        )
        for value in plain:
            assert connection.execute(query, (value, value, value)).fetchone() == (True, True), value


def test_a_row_is_plain_only_as_a_whole(shop: Shop) -> None:
    """Rows beside each other of which one is plain, and others not in one of their columns, are all read right."""
    columns = "id uuid PRIMARY KEY, n integer, flag boolean, at timestamptz, note text"
    rows = [
        f"{ID[:-1]}1,1,true,2024-01-02T03:04:05Z,plain",
        f"{ID[:-1]}2,2,,2024-01-02T03:04:05Z,",
        f"{ID[:-1]}3,3,true,2024-01-31T03:04:05+01:00,a day that not each month has",
        f"{ID[:-1]}4,4000000000,true,2024-01-02T03:04:05Z,too great",
        f"{ID[:-1]}5,5,yes,2024-01-02T03:04:05Z,lenient",
        f'{ID[:-1]}6,6,false,2024-01-02T03:04:05Z,"a\ttab, a \\ and\na line"',
        f"{ID[:-1]}7,7,false,2024-02-30T03:04:05Z,no day",
        rf"{ID[:-1]}8,8,\N,2024-01-02T03:04:05Z,no null",
    ]
    imported = shop.load(shop.table(columns), "\n".join(["id,n,flag,at,note", *rows]).encode(), "file.csv")
    assert imported.codes == {5: ["invalid_n"], 6: ["invalid_flag"], 9: ["invalid_at"], 10: ["invalid_flag"]}
    assert shop.values("SELECT n || ' ' || extract(epoch FROM at) || ' ' || coalesce(note, '-') FROM things ORDER BY n") == [
        "1 1704164645.000000 plain", "2 1704164645.000000 -", "3 1706666645.000000 a day that not each month has",
        "6 1704164645.000000 a\ttab, a \\ and\na line",
    ]  # fmt: skip
