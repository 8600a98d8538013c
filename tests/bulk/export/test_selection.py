"""Which records and columns are chosen: the same ones from PostgreSQL and SQLite, and never by SQL of the user's."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

from evtool.bulk.resource import Column, Resource
from evtool.bulk.selecting import Condition
from evtool.errors import InvalidArgument

Export = Callable[..., bytes]

_RESOURCE = Resource(
    name="things",
    table="things",
    columns=(
        Column("id", "bigint"),
        Column("name", "text"),
        Column("likes", "bigint"),
        Column("live", "boolean"),
        Column("created_at", "timestamptz"),
        Column("extra", "json"),
    ),
    key=("id",),
)
_ROWS: list[tuple[Any, ...]] = [
    (1, "a", 1, True, "2025-07-01T00:00:00Z", '{"a":1}'),
    (2, "B", 10, False, "2025-07-01T23:30:00-01:00", None),
    (3, "b", 9, True, "2025-07-02T01:00:00+02:00", "[]"),
    (4, "", None, None, None, None),
    (5, None, -5, False, "2025-07-02T00:00:00Z", "null"),
    (6, "null", 100, True, "2025-07-02T00:00:00.000001Z", "0"),
    (7, "a' OR '1'='1", 0, True, "2024-12-31T23:59:59.999999Z", '""'),
    (8, "é", 2**62, True, "2025-07-01T23:59:59.999999Z", None),
]


@pytest.fixture
def both(
    tables: psycopg.Connection, archive: sqlite3.Connection, export: Export, export_archive: Export
) -> Callable[..., list[int]]:
    """The ids that an export of either database has; they must be the same."""
    tables.execute(
        "CREATE TABLE things (id bigint PRIMARY KEY, name text, likes bigint, live boolean, created_at timestamptz, extra json)"
    )
    archive.execute(
        "CREATE TABLE things (id INTEGER PRIMARY KEY, name TEXT, likes INTEGER, live BOOLEAN, created_at TEXT, extra TEXT)"
    )
    archive.execute("CREATE INDEX things_created_at ON things (created_at)")
    with tables.cursor() as cursor:
        cursor.executemany("INSERT INTO things VALUES (%s, %s, %s, %s, %s, %s)", _ROWS)
    archive.executemany("INSERT INTO things VALUES (?, ?, ?, ?, ?, ?)", _ROWS)

    def run(**options: Any) -> list[int]:
        content = export(_RESOURCE, **options)
        assert export_archive(_RESOURCE, **options) == content
        return [json.loads(line)["id"] for line in content.splitlines()]

    return run


@pytest.mark.parametrize(
    ("where", "ids"),
    [
        (["name=a"], [1]),
        (["name!=a"], [2, 3, 4, 6, 7, 8]),
        (["name="], [4]),
        (["name=null"], [5]),
        (["name!=NULL"], [1, 2, 3, 4, 6, 7, 8]),
        (['name="null"'], [6]),
        (["name>a"], [3, 6, 7, 8]),
        (["name<=B"], [2, 4]),
        (["name=a' OR '1'='1"], [7]),
        (["name=a%"], []),
        (["likes>=10"], [2, 6, 8]),
        (["likes < 0"], [5]),
        (["likes=4611686018427387904"], [8]),
        (["likes>0", "likes<10"], [1, 3]),
        (["live=true"], [1, 3, 6, 7, 8]),
        (["live!=true"], [2, 5]),
        (["live=null"], [4]),
        (["created_at=2025-07-02T00:00:00Z"], [5]),
        (["created_at>=2025-07-02T00:00:00Z"], [2, 5, 6]),
        (["extra=null"], [2, 4, 8]),
        (["extra!=null", "id>3"], [5, 6, 7]),
    ],
)
def test_a_condition_means_the_same_in_both(both: Callable[..., list[int]], where: list[str], ids: list[int]) -> None:
    """Text is compared by its bytes, numbers by value, times as moments, and null meets nothing but =null."""
    assert both(where=where) == ids


def test_since_is_inclusive_and_until_is_not(both: Callable[..., list[int]]) -> None:
    """Bounds are moments, to the microsecond, whatever zone the stored text is in."""
    second = datetime(2025, 7, 2, tzinfo=UTC)
    assert both(since=second) == [2, 5, 6]
    assert both(until=second) == [1, 3, 7, 8]
    assert both(since=datetime(2025, 7, 1, 23, tzinfo=UTC), until=second) == [3, 8]
    assert both(since=datetime.min.replace(tzinfo=UTC), until=datetime.max.replace(tzinfo=UTC)) == [1, 2, 3, 5, 6, 7, 8]


def test_columns_come_in_the_order_in_which_they_are_named(
    both: Callable[..., list[int]], export: Export, export_archive: Export
) -> None:
    """Only the named ones, in that order, and a filter may look at others."""
    for one in (export, export_archive):
        assert one(_RESOURCE, "csv", columns=("likes", "id"), where=["name=a"]) == b"likes,id\r\n1,1\r\n"
        assert one(_RESOURCE, "csv", columns=("name",), where=["name!=null"], order_by=("name desc",)).split(b"\r\n") == [
            b"name", "é".encode(), b"null", b"b", b"a' OR '1'='1", b"a", b"B", b'""', b"",
        ]  # fmt: skip


@pytest.mark.parametrize(
    ("order", "ids"),
    [
        (("name",), [5, 4, 2, 1, 7, 3, 6, 8]),
        (("name desc",), [8, 6, 3, 7, 1, 2, 4, 5]),
        (("live", "likes desc"), [4, 2, 5, 8, 6, 3, 1, 7]),
        (("live:DESC",), [1, 3, 6, 7, 8, 2, 5, 4]),
        ((), [1, 2, 3, 4, 5, 6, 7, 8]),
    ],
)
def test_null_is_less_than_everything_and_the_key_decides_the_rest(
    both: Callable[..., list[int]], order: tuple[str, ...], ids: list[int]
) -> None:
    """The order is total, by bytes, and the same in both databases."""
    assert both(order_by=order) == ids


@pytest.mark.parametrize(
    "options",
    [
        {"where": ["likes=ten"]},
        {"where": ["likes=1;DROP TABLE things"]},
        {"where": ["live=maybe"]},
        {"where": ["nosuch=1"]},
        {"where": ["id)=1 OR (1=1"]},
        {"where": ["created_at=yesterday-ish"]},
        {"where": ["extra={}"]},
        {"columns": ("id", "id")},
        {"columns": ("nosuch",)},
        {"columns": ('id" FROM things; --',)},
        {"order_by": ("id; DROP TABLE things",)},
        {"order_by": ("id", "id desc")},
        {"since": datetime(2025, 1, 1, tzinfo=UTC), "time_field": "likes"},
        {"since": datetime(2025, 1, 1, tzinfo=UTC), "time_field": "nosuch"},
        {"batch": 0},
    ],
)
def test_what_can_not_be_meant_is_refused(
    both: Callable[..., list[int]], export: Export, export_archive: Export, options: dict[str, Any]
) -> None:
    """A field that isn't there, a value that isn't one, or SQL: InvalidArgument from both, and the table is unharmed."""
    for one in (export, export_archive):
        with pytest.raises(InvalidArgument):
            one(_RESOURCE, **options)
    assert len(both()) == len(_ROWS)


@pytest.mark.parametrize("text", ["", "name", "=a", "name~a", " >=3"])
def test_a_condition_needs_a_field_and_an_operator(text: str) -> None:
    """What has none is refused."""
    with pytest.raises(InvalidArgument):
        Condition.parse(text)


def test_nothing_is_greater_than_null() -> None:
    """Null takes = and != only."""
    with pytest.raises(InvalidArgument, match="null"):
        Condition.parse("likes>null")


@pytest.mark.parametrize("text", ["a=b", "a!=b=c", "a>=", "a=null", 'a="null"', "a<1", "a b = c "])
def test_a_condition_says_itself(text: str) -> None:
    """What a manifest has of a condition is a condition again, and the same one."""
    parsed = Condition.parse(text)
    assert Condition.parse(str(parsed)) == parsed
