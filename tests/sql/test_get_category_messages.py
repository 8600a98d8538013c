"""get_category_messages: a category from a global position on.

Consumer groups are tested in test_consumer_groups.py, conditions in test_condition.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from psycopg import sql

TAIL = "(Consumer Group Member: {}, Consumer Group Size: {})"
BOTH = f"Consumer group member and size must be specified {TAIL}"
SIZE = f"Consumer group size must not be less than 1 {TAIL}"
NEGATIVE = f"Consumer group member must not be less than 0 {TAIL}"
GREATER = f"Consumer group member must be less than the group size {TAIL}"
INACTIVE = "Retrieval with SQL condition is not activated"

COLUMNS = "id, stream_name, type, position, global_position, data, metadata, time"


@pytest.fixture
def mixed(connection: psycopg.Connection, write: Any) -> psycopg.Connection:
    """A session on a namespace with the streams of several categories, at global positions 1 to 10."""
    for name in ("s-1", "t-1", "s-2", "s", "sx-1", "-x", "", "s-1", "s:command-1", "s-"):
        write(connection, name)
    return connection


def _globals(session: psycopg.Connection, call: str, *values: Any) -> list[int]:
    return [row[0] for row in session.execute(f"SELECT global_position FROM get_category_messages({call})", values)]


@pytest.mark.parametrize(
    ("category", "positions"),
    [
        ("s", [1, 3, 4, 8, 10]),
        ("t", [2]),
        ("sx", [5]),
        ("", [6, 7]),
        ("s:command", [9]),
        ("none", []),
        (None, []),
    ],
)
def test_a_category_is_its_streams_and_its_own_name(
    mixed: psycopg.Connection, category: str | None, positions: list[int]
) -> None:
    """`s` returns s-* and the stream s; '' only what has no category; NULL nothing; none returns all."""
    assert _globals(mixed, "%s", category) == positions


@pytest.mark.parametrize(
    ("call", "positions"),
    [
        ("'s', 4", [4, 8, 10]),
        ("'s', 5", [8, 10]),
        ("'s', 0", [1, 3, 4, 8, 10]),
        ("'s', NULL, 2", [1, 3]),
        ("'s', 11", []),
        ("'s', 2, 2", [3, 4]),
        ("'s', 1, -1", [1, 3, 4, 8, 10]),
        ("'s', 1, 0", []),
        ("'s', 1, NULL", [1, 3, 4, 8, 10]),
        ("category => 's', batch_size => 1, \"position\" => 8", [8]),
        ("'s', 1, 2, NULL, NULL, NULL, NULL", [1, 3]),
    ],
)
def test_position_and_batch_size(mixed: psycopg.Connection, call: str, positions: list[int]) -> None:
    """Global positions from the argument on, in order, as many as asked for; NULL is the default, -1 no limit."""
    assert _globals(mixed, call) == positions


@pytest.mark.parametrize("batch_size", ["", ", 1, NULL"])
def test_the_default_batch_is_a_thousand(connection: psycopg.Connection, batch_size: str) -> None:
    """Without a batch size, and with NULL, at most 1000 messages come."""
    connection.execute(
        "INSERT INTO messages (position, stream_name, type) SELECT n, 'a-1', 'T' FROM generate_series(0, 1004) AS n"
    )
    assert _globals(connection, f"'a'{batch_size}") == list(range(1, 1001))


def test_a_batch_size_below_minus_one_is_refused(mixed: psycopg.Connection, refused: Callable[..., Any]) -> None:
    """Below -1 is PostgreSQL's own 2201W, as with Message DB."""
    diag = refused(mixed, "SELECT * FROM get_category_messages('s', 1, -2)")
    assert (diag.sqlstate, diag.message_primary) == ("2201W", "LIMIT must not be negative")


def test_it_returns_messages(mixed: psycopg.Connection) -> None:
    """The rows are those that get_stream_messages returns."""
    mine = mixed.execute(f"SELECT {COLUMNS} FROM get_category_messages('t')").fetchall()
    assert mine == mixed.execute("SELECT * FROM get_stream_messages('t-1')").fetchall()


def test_the_order_is_global(connection: psycopg.Connection) -> None:
    """Messages come by global position, whatever their positions and streams."""
    connection.execute(
        "INSERT INTO messages (global_position, position, stream_name, type)"
        " VALUES (30, 0, 'a-1', 'T'), (20, 1, 'a-1', 'T'), (10, 0, 'a-2', 'T')"
    )
    assert _globals(connection, "'a'") == [10, 20, 30]


@pytest.fixture
def correlated(connection: psycopg.Connection, write: Any) -> psycopg.Connection:
    """A session on a namespace whose messages of category s have various correlations."""
    for metadata in (
        '{"correlationStreamName": "order-1"}',
        '{"correlationStreamName": "order"}',
        '{"correlationStreamName": "orders-1"}',
        '{"correlationStreamName": "-1"}',
        '{"correlationStreamName": ""}',
        '{"correlationStreamName": null}',
        "{}",
        "[]",
        None,
    ):
        write(connection, "s-1", metadata=metadata)
    write(connection, "t-1", metadata='{"correlationStreamName": "order-1"}')
    return connection


@pytest.mark.parametrize(
    ("correlation", "positions"),
    [
        ("order", [1, 2]),
        ("orders", [3]),
        ("", [4, 5]),
        ("none", []),
        (None, [1, 2, 3, 4, 5, 6, 7, 8, 9]),
    ],
)
def test_correlation_is_the_category_of_the_metadatas_stream(
    correlated: psycopg.Connection, correlation: str | None, positions: list[int]
) -> None:
    """A correlation keeps the messages whose correlationStreamName is of that category; NULL keeps all."""
    assert _globals(correlated, "'s', correlation => %s", correlation) == positions


def test_a_page_of_a_correlation_is_full(correlated: psycopg.Connection) -> None:
    """What the correlation leaves out doesn't count for the batch size."""
    assert _globals(correlated, "'s', 2, 1, 'order'") == [2]
    assert _globals(correlated, "'s', 2, 1, 'orders'") == [3]


def test_correlation_and_group_together(correlated: psycopg.Connection, one: Callable[..., Any]) -> None:
    """With both, a message must pass both."""
    member = one(correlated, "SELECT mod(@hash_64(cardinal_id('s-1')), 2)")
    assert _globals(correlated, "'s', 1, 1000, 'order', %s, 2", member) == [1, 2]
    assert _globals(correlated, "'s', 1, 1000, 'order', %s, 2", 1 - member) == []


@pytest.mark.parametrize(
    ("call", "text"),
    [
        ("'a-1'", "Must be a category: a-1"),
        ("'-'", "Must be a category: -"),
        ("'s', correlation => 'order-1'", "Correlation must be a category (Correlation: order-1)"),
        ("'s', consumer_group_member => 0", BOTH.format(0, "<NULL>")),
        ("'s', consumer_group_size => 1", BOTH.format("<NULL>", 1)),
        ("'s', consumer_group_member => 0, consumer_group_size => 0", SIZE.format(0, 0)),
        ("'s', consumer_group_member => 3, consumer_group_size => -7", SIZE.format(3, -7)),
        ("'s', consumer_group_member => -1, consumer_group_size => 2", NEGATIVE.format(-1, 2)),
        ("'s', consumer_group_member => 2, consumer_group_size => 2", GREATER.format(2, 2)),
        ("'s', consumer_group_member => 3, consumer_group_size => 2", GREATER.format(3, 2)),
        ("'s', condition => 'true'", INACTIVE),
        # each check comes before all that follow it
        ("'a-1', 1, -2, 'o-1', 0, NULL, 'true'", "Must be a category: a-1"),
        ("'s', 1, -2, 'o-1', 0, NULL, 'true'", "Correlation must be a category (Correlation: o-1)"),
        ("'s', 1, -2, 'o', -1, NULL, 'true'", BOTH.format(-1, "<NULL>")),
        ("'s', 1, -2, 'o', NULL, 0, 'true'", BOTH.format("<NULL>", 0)),
        ("'s', 1, -2, 'o', -1, 0, 'true'", SIZE.format(-1, 0)),
        ("'s', 1, -2, 'o', -1, 40000, 'true'", NEGATIVE.format(-1, 40000)),
        ("'s', 1, -2, 'o', 40000, 40000, 'true'", GREATER.format(40000, 40000)),
        ("'s', 1, -2, 'o', 1, 40000, 'true'", INACTIVE),
        # and NULL is a category, but doesn't hide what follows
        ("NULL, 1, 1, 'o-1'", "Correlation must be a category (Correlation: o-1)"),
    ],
)
def test_errors_are_message_dbs_in_its_order(
    connection: psycopg.Connection, refused: Callable[..., Any], call: str, text: str
) -> None:
    """P0001 with exactly these texts, checked in this order: category, correlation, group, condition."""
    diag = refused(connection, f"SELECT * FROM get_category_messages({call})")
    assert (diag.sqlstate, diag.message_primary) == ("P0001", text)
    assert (diag.message_detail, diag.message_hint) == (None, None)


def test_each_error_has_its_mark(connection: psycopg.Connection, refused: Callable[..., Any]) -> None:
    """Evtool's client tells them apart by the field CONSTRAINT, which psql doesn't print."""
    marks = {
        "'a-1'": "category",
        "'s', correlation => 'o-1'": "correlation",
        "'s', consumer_group_size => 1": "consumer_group",
        "'s', consumer_group_member => -1, consumer_group_size => 1": "consumer_group",
        "'s', condition => 'true'": "sql_condition",
    }
    for call, mark in marks.items():
        assert refused(connection, f"SELECT * FROM get_category_messages({call})").constraint_name == mark


def test_a_call_from_another_path_reads_here(mixed: psycopg.Connection, namespace: str) -> None:
    """A schema-qualified call works whatever the search_path, in every shape."""
    mixed.execute("SET search_path = pg_catalog")
    for shape in ("'s'", "'s', 1, 9, 'o'", "'s', 1, 9, NULL, 0, 1", "'s', 1, 9, 'o', 0, 1"):
        call = sql.SQL("SELECT * FROM {}.get_category_messages({})").format(
            sql.Identifier(namespace),
            sql.SQL(shape),
        )
        mixed.execute(call)


def test_debugging_tells_the_arguments(mixed: psycopg.Connection, notices: Any) -> None:
    """With message_store.debug_get on, a read says in NOTICEs what it was given, defaults filled in."""
    mixed.execute("SET message_store.debug_get = 'on'")
    with notices(mixed) as heard:
        mixed.execute("SELECT * FROM get_category_messages('s', NULL, NULL, 'o', 0, 1)")
    assert heard == [
        "» get_category_messages",
        "category ($1): s",
        "position ($2): 1",
        "batch_size ($3): 1000",
        "correlation ($4): o",
        "consumer_group_member ($5): 0",
        "consumer_group_size ($6): 1",
        "condition: <NULL>",
    ]
