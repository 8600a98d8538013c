"""get_stream_messages: a stream from a position on. Its conditions are tested in test_condition.py."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import psycopg
import pytest
from psycopg import sql

ID = "8f8a5b4a-3f7d-4d0e-9d7f-6f0f7b1c2d3e"


@pytest.fixture
def five(connection: psycopg.Connection, write: Any) -> psycopg.Connection:
    """A session on a namespace where a-1 has five messages, and its neighbours have some too."""
    for _ in range(5):
        write(connection, "a-1")
        write(connection, "a-11")
        write(connection, "a")
    return connection


def _positions(session: psycopg.Connection, call: str, *values: Any) -> list[int]:
    return [row[0] for row in session.execute(f"SELECT position FROM get_stream_messages({call})", values)]


def test_a_message_comes_back_as_the_type_says(connection: psycopg.Connection, write: Any) -> None:
    """The columns are those of the type `message`, in order, with JSON as text."""
    write(connection, "a-1", "Opened", '{"x": [1, 1e400]}', '{"y": "é"}', id=ID)
    cursor = connection.execute("SELECT * FROM get_stream_messages('a-1')")
    assert cursor.description is not None
    names = [column.name for column in cursor.description]
    assert names == ["id", "stream_name", "type", "position", "global_position", "data", "metadata", "time"]
    rows = cursor.fetchall()
    assert len(rows) == 1
    row = dict(zip(names, rows[0], strict=True))
    assert isinstance(row.pop("time"), datetime)
    assert row.pop("data") == '{"x": [1, 1' + "0" * 400 + "]}"
    assert row == {
        "id": ID, "stream_name": "a-1", "type": "Opened", "position": 0, "global_position": 1, "metadata": '{"y": "é"}',
    }  # fmt: skip


def test_null_data_and_metadata_stay_null(connection: psycopg.Connection, write: Any) -> None:
    """No data is NULL, and JSON's null is the text `null`."""
    write(connection, "a-1", data=None)
    write(connection, "a-1", data="null", metadata="null")
    rows = connection.execute("SELECT data, metadata FROM get_stream_messages('a-1')").fetchall()
    assert rows == [(None, None), ("null", "null")]


@pytest.mark.parametrize(
    ("call", "positions"),
    [
        ("'a-1'", [0, 1, 2, 3, 4]),
        ("'a-1', 3", [3, 4]),
        ("'a-1', -5", [0, 1, 2, 3, 4]),
        ("'a-1', 5", []),
        ("'a-1', NULL, 2", [0, 1]),
        ("'a-1', 1, 2", [1, 2]),
        ("'a-1', 1, -1", [1, 2, 3, 4]),
        ("'a-1', 0, 0", []),
        ("'a-1', 0, NULL", [0, 1, 2, 3, 4]),
        ("'a-1', batch_size => 1, \"position\" => 4", [4]),
        ("stream_name => 'a-1', condition => NULL", [0, 1, 2, 3, 4]),
        ("'a-2'", []),
        ("'a-'", []),
    ],
)
def test_position_and_batch_size(five: psycopg.Connection, call: str, positions: list[int]) -> None:
    """Positions from the argument on, in order, as many as asked for; NULL is the default, -1 no limit."""
    assert _positions(five, call) == positions


@pytest.mark.parametrize("batch_size", ["", ", 0, NULL"])
def test_the_default_batch_is_a_thousand(connection: psycopg.Connection, batch_size: str) -> None:
    """Without a batch size, and with NULL, at most 1000 messages come."""
    connection.execute(
        "INSERT INTO messages (position, stream_name, type) SELECT n, 'a-1', 'T' FROM generate_series(0, 1004) AS n"
    )
    assert _positions(connection, f"'a-1'{batch_size}") == list(range(1000))
    assert len(_positions(connection, "'a-1', 0, -1")) == 1005


@pytest.mark.parametrize("batch_size", [-2, -(2**63)])
def test_a_batch_size_below_minus_one_is_refused(
    five: psycopg.Connection, refused: Callable[..., Any], batch_size: int
) -> None:
    """Below -1 is PostgreSQL's own 2201W, as with Message DB."""
    diag = refused(five, "SELECT * FROM get_stream_messages('a-1', 0, %s)", batch_size)
    assert (diag.sqlstate, diag.message_primary) == ("2201W", "LIMIT must not be negative")


@pytest.mark.parametrize(("name", "shown"), [("account", "account"), ("", ""), (None, "<NULL>")])
def test_a_category_is_refused(
    connection: psycopg.Connection, refused: Callable[..., Any], name: str | None, shown: str
) -> None:
    """A name without an id is P0001 with Message DB's text; '' and NULL are such names."""
    diag = refused(connection, "SELECT * FROM get_stream_messages(%s)", name)
    assert (diag.sqlstate, diag.message_primary) == ("P0001", f"Must be a stream name: {shown}")
    assert diag.constraint_name == "stream_name"


def test_the_name_is_checked_before_the_condition(connection: psycopg.Connection, refused: Callable[..., Any]) -> None:
    """A call that is wrong in both is told of the name."""
    diag = refused(connection, "SELECT * FROM get_stream_messages('a', 0, -2, 'true')")
    assert diag.message_primary == "Must be a stream name: a"


def test_a_call_from_another_path_reads_here(five: psycopg.Connection, namespace: str) -> None:
    """A schema-qualified call works whatever the search_path."""
    five.execute("SET search_path = pg_catalog")
    call = sql.SQL("SELECT count(*) FROM {}('a-1')").format(sql.Identifier(namespace, "get_stream_messages"))
    assert five.execute(call).fetchone() == (5,)


def test_reading_changes_nothing_and_may_be_read_only(five: psycopg.Connection) -> None:
    """It reads in a READ ONLY transaction, as on a standby."""
    with five.transaction():
        five.execute("SET TRANSACTION READ ONLY")
        assert _positions(five, "'a-1'") == [0, 1, 2, 3, 4]


def test_positions_count_and_not_global_positions(connection: psycopg.Connection) -> None:
    """The order is the stream's, even where an import gave it other global positions."""
    connection.execute(
        "INSERT INTO messages (global_position, position, stream_name, type)"
        " VALUES (30, 0, 'a-1', 'T'), (20, 1, 'a-1', 'T'), (10, 7, 'a-1', 'T')"
    )
    assert _positions(connection, "'a-1'") == [0, 1, 7]
    assert _positions(connection, "'a-1', 2") == [7]


@pytest.mark.parametrize("setting", ["debug_get", "debug"])
def test_debugging_tells_the_arguments(five: psycopg.Connection, notices: Any, setting: str) -> None:
    """With a debug setting on, a read says in NOTICEs what it was given, defaults filled in."""
    five.execute(sql.SQL("SET message_store.{} = 'on'").format(sql.Identifier(setting)))
    with notices(five) as heard:
        five.execute("SELECT * FROM get_stream_messages('a-1', NULL, NULL)")
    assert heard == [
        "» get_stream_messages",
        "stream_name ($1): a-1",
        "position ($2): 0",
        "batch_size ($3): 1000",
        "condition ($4): <NULL>",
    ]


def test_without_debugging_a_read_is_silent(five: psycopg.Connection, notices: Any) -> None:
    """The setting of writes is not that of reads."""
    five.execute("SET message_store.debug_write = 'on'")
    with notices(five) as heard:
        five.execute("SELECT * FROM get_stream_messages('a-1')")
    assert heard == []
