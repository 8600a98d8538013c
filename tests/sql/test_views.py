"""The six views: how many messages of each stream, type and category, and their share."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import psycopg
import pytest
from psycopg import sql

WRITTEN = [("a-1", "A"), ("a-1", "A"), ("a-1", "B"), ("a-2", "A"), ("b-1", "A"), ("b-1", "C"), ("", "A")]


def _share(count: int) -> Decimal:
    return (Decimal(count) / 7 * 100).quantize(Decimal("0.01"))


def _counted(*rows: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    return [(*row, _share(row[-1])) for row in rows]


VIEWS = {
    "stream_summary": (["stream_name"], _counted(("", 1), ("a-1", 3), ("a-2", 1), ("b-1", 2))),
    "type_summary": (["type"], _counted(("A", 5), ("B", 1), ("C", 1))),
    "stream_type_summary": (
        ["stream_name", "type"],
        _counted(("", "A", 1), ("a-1", "A", 2), ("a-1", "B", 1), ("a-2", "A", 1), ("b-1", "A", 1), ("b-1", "C", 1)),
    ),
    "type_stream_summary": (
        ["type", "stream_name"],
        _counted(("A", "", 1), ("A", "a-1", 2), ("A", "a-2", 1), ("A", "b-1", 1), ("B", "a-1", 1), ("C", "b-1", 1)),
    ),
    "category_type_summary": (
        ["category", "type"],
        _counted(("", "A", 1), ("a", "A", 3), ("a", "B", 1), ("b", "A", 1), ("b", "C", 1)),
    ),
    "type_category_summary": (
        ["type", "category"],
        _counted(("A", "", 1), ("A", "a", 3), ("A", "b", 1), ("B", "a", 1), ("C", "b", 1)),
    ),
}


@pytest.mark.parametrize("view", VIEWS)
def test_it_counts_and_shares_by_its_keys(connection: psycopg.Connection, write: Any, view: str) -> None:
    """The keys of the name in order, the count, the percentage of all to two decimals, ordered by the keys."""
    for stream_name, type in WRITTEN:
        write(connection, stream_name, type)
    keys, rows = VIEWS[view]
    cursor = connection.execute(sql.SQL("SELECT * FROM {}").format(sql.Identifier(view)))
    assert cursor.description is not None
    assert [column.name for column in cursor.description] == [*keys, "message_count", "percent"]
    assert [column.type_display for column in cursor.description[-2:]] == ["int8", "numeric"]
    assert cursor.fetchall() == rows


@pytest.mark.parametrize("view", VIEWS)
def test_it_is_empty_where_nothing_was_written(connection: psycopg.Connection, view: str) -> None:
    """An empty namespace has no rows, and nothing is divided by zero."""
    assert connection.execute(sql.SQL("SELECT * FROM {}").format(sql.Identifier(view))).fetchall() == []


def test_there_are_just_these_views(connection: psycopg.Connection, namespace: str) -> None:
    """A namespace has the six views of Message DB."""
    rows = connection.execute("SELECT viewname FROM pg_views WHERE schemaname = %s", (namespace,)).fetchall()
    assert {row[0] for row in rows} == set(VIEWS)
