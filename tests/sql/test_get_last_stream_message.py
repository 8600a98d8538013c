"""get_last_stream_message: the end of a stream, or the last of a type in it."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from psycopg import sql


@pytest.fixture
def told(connection: psycopg.Connection, write: Any) -> psycopg.Connection:
    """A session on a namespace where a-1 holds A, B, A, '' and a-2 holds B."""
    for stream_name, type in (
        ("a-1", "A"),
        ("a-1", "B"),
        ("a-1", "A"),
        ("a-1", ""),
        ("a-2", "B"),
        ("a", "A"),
    ):
        write(connection, stream_name, type)
    return connection


@pytest.mark.parametrize(
    ("call", "rows"),
    [
        ("'a-1'", [("a-1", 3, "")]),
        ("'a-1', NULL", [("a-1", 3, "")]),
        ("'a-1', 'A'", [("a-1", 2, "A")]),
        ("'a-1', 'B'", [("a-1", 1, "B")]),
        ("'a-1', ''", [("a-1", 3, "")]),
        ("'a-1', 'C'", []),
        ("type => 'B', stream_name => 'a-2'", [("a-2", 0, "B")]),
        ("'a-2', ''", []),
        ("'a-3'", []),
        ("'a'", [("a", 0, "A")]),
        ("''", []),
        ("NULL", []),
    ],
)
def test_the_last_of_a_stream_or_of_a_type(told: psycopg.Connection, call: str, rows: list[Any]) -> None:
    """At most one row: the greatest position, of the type if one is given; '' is a type, and no name is refused."""
    query = f"SELECT stream_name, position, type FROM get_last_stream_message({call})"
    assert told.execute(query).fetchall() == rows


def test_it_returns_a_message(connection: psycopg.Connection, write: Any) -> None:
    """The row is the one that get_stream_messages returns."""
    write(connection, "a-1", data='{"x": 1.50}', metadata='{"m": []}')
    same = connection.execute("SELECT * FROM get_stream_messages('a-1')").fetchall()
    assert connection.execute("SELECT * FROM get_last_stream_message('a-1')").fetchall() == same
    assert same[0][5:7] == ('{"x": 1.50}', '{"m": []}')


def test_a_call_from_another_path_reads_here(told: psycopg.Connection, namespace: str) -> None:
    """A schema-qualified call works whatever the search_path."""
    told.execute("SET search_path = pg_catalog")
    call = sql.SQL("SELECT position FROM {}('a-1')").format(sql.Identifier(namespace, "get_last_stream_message"))
    assert told.execute(call).fetchall() == [(3,)]


def test_debugging_tells_the_arguments(told: psycopg.Connection, notices: Any) -> None:
    """With message_store.debug_get on, it says in NOTICEs what it was given."""
    told.execute("SET message_store.debug_get = 'on'")
    with notices(told) as heard:
        told.execute("SELECT * FROM get_last_stream_message('a-1')")
    assert heard == ["» get_last_message", "stream_name ($1): a-1", "type ($2): <NULL>"]
