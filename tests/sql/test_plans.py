"""How PostgreSQL runs the reads: by the index made for each, without sorting, and visiting no row in vain."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import psycopg
import pytest
from psycopg import sql

from evtool.stores.postgres import PostgresStore

FILL = """
    INSERT INTO messages (stream_name, position, type, metadata)
    SELECT format('c%s-%s', n % 20, n % 500), n / 500, 'T' || n % 7,
      jsonb_build_object('correlationStreamName', format('o%s-1', n % 3))
    FROM generate_series(0, 19999) AS n
"""

# A statement's plan as the server prints it with debug_print_plan: a tree of nodes, tables and indexes by their oids.
TABLE = re.compile(r":relid (\d+)")
NODE = re.compile(r"\{(SORT|INCREMENTALSORT|SEQSCAN|BITMAPHEAPSCAN|INDEXSCAN|INDEXONLYSCAN)\b")
INDEX = re.compile(r":indexid (\d+)")
DIRECTION = re.compile(r":indexorderdir (-?\d)")


@dataclass
class Plan:
    """What the statements on messages inside a call did.

    Attributes:
        nodes: the scans and sorts of their plans.
        indexes: the indexes that these use, by name.
        backward: whether an index is read from its end.
        visited: how many rows of the table were fetched by an index.
    """

    nodes: set[str] = field(default_factory=set)
    indexes: set[str] = field(default_factory=set)
    backward: bool = False
    visited: int = 0


@pytest.fixture(scope="module")
def filled(dsn: str, shared_store: PostgresStore) -> Iterator[psycopg.Connection]:
    """A session on a namespace with 20,000 messages: 20 categories of 1000, 500 streams of 40, 3 correlations."""
    schema = shared_store.create_namespace("test_plans").schema
    with psycopg.connect(dsn, autocommit=True) as session:
        session.execute(sql.SQL("SET search_path = {}").format(sql.Identifier(schema)))
        session.execute(FILL)
        session.execute("VACUUM ANALYZE messages")
        session.execute("SET client_min_messages = log")
        yield session


@pytest.fixture
def plan(filled: psycopg.Connection) -> Callable[..., Plan]:
    """Runs a query and returns how its inner statements on messages were run."""

    def number(query: str) -> int:
        row = filled.execute(query).fetchone()
        assert row is not None
        return int(row[0])

    def explain(query: str) -> Plan:
        made = Plan()
        messages = str(number("SELECT 'messages'::regclass::oid::int"))
        visited = (
            "SELECT sum(pg_stat_get_xact_tuples_fetched(indexrelid)) FROM pg_index"
            " WHERE indrelid = 'messages'::regclass"
        )
        indexes: set[str] = set()

        def hear(diagnostic: psycopg.errors.Diagnostic) -> None:
            tree = diagnostic.message_detail or ""
            if messages not in TABLE.findall(tree):
                return
            made.nodes.update(NODE.findall(tree))
            indexes.update(INDEX.findall(tree))
            made.backward = made.backward or "-1" in DIRECTION.findall(tree)

        with filled.transaction(force_rollback=True):
            filled.execute("DISCARD PLANS")
            before = number(visited)
            filled.add_notice_handler(hear)
            filled.execute("SET LOCAL debug_print_plan = on")
            filled.execute(query)
            filled.execute("SET LOCAL debug_print_plan = off")
            filled.remove_notice_handler(hear)
            made.visited = number(visited) - before
            for oid in indexes:
                row = filled.execute(f"SELECT relname FROM pg_class WHERE oid = {oid}").fetchone()
                assert row is not None
                made.indexes.add(row[0])
        return made

    return explain


STREAM = {
    "from the start": ("'c3-3'", 40),
    "a page": ("'c3-3', 20, 10", 10),
    "to the end": ("'c3-3', 20, -1", 20),
    "nothing there": ("'none-1'", 0),
}


@pytest.mark.parametrize(("call", "rows"), STREAM.values(), ids=STREAM)
def test_a_stream_is_read_by_its_index(plan: Callable[..., Plan], call: str, rows: int) -> None:
    """messages_stream gives a stream's messages in their order, and just those that are returned."""
    made = plan(f"SELECT * FROM get_stream_messages({call})")
    assert (made.nodes, made.indexes) == ({"INDEXSCAN"}, {"messages_stream"})
    assert made.visited == rows


CATEGORY = {
    "from the start": ("'c3', 1", 1000),
    "a page": ("'c3', 15000, 10", 10),
    "to the end": ("'c3', 10001, -1", 500),
    "a correlation": ("'c3', 10001, 10, 'o1'", 10),
    "nothing there": ("'none'", 0),
}


@pytest.mark.parametrize(("call", "rows"), CATEGORY.values(), ids=CATEGORY)
def test_a_category_is_read_by_its_index(plan: Callable[..., Plan], call: str, rows: int) -> None:
    """messages_category gives a category's messages in global order, and answers the correlation by itself."""
    made = plan(f"SELECT * FROM get_category_messages({call})")
    assert (made.nodes, made.indexes) == ({"INDEXSCAN"}, {"messages_category"})
    assert made.visited == rows


@pytest.mark.parametrize("call", ["'c3', 1, 10, NULL, 2, 8", "'c3', 10001, 10, 'o1', 2, 8"])
def test_a_group_is_read_by_the_index(plan: Callable[..., Plan], call: str) -> None:
    """A consumer group reads the category in order, and stops when its page is full."""
    made = plan(f"SELECT * FROM get_category_messages({call})")
    assert (made.nodes, made.indexes) == ({"INDEXSCAN"}, {"messages_category"})
    assert 10 <= made.visited < 500


@pytest.mark.parametrize(
    ("call", "index"),
    [
        ("get_stream_messages('c3-3', 0, 10, 'type = ''T1''')", "messages_stream"),
        ("get_category_messages('c3', 1, 10, condition => 'type = ''T1''')", "messages_category"),
        ("get_category_messages('c3', 1, 10, 'o1', 2, 8, 'type = ''T1''')", "messages_category"),
    ],
)
def test_a_condition_keeps_the_index(
    filled: psycopg.Connection, plan: Callable[..., Plan], call: str, index: str
) -> None:
    """With a condition, the same index gives the rows that it filters, in order."""
    filled.execute("SET message_store.sql_condition = 'on'")
    made = plan(f"SELECT * FROM {call}")
    assert (made.nodes, made.indexes) == ({"INDEXSCAN"}, {index})
    assert made.visited <= 1000


@pytest.mark.parametrize(("type", "rows"), [("", 1), (", 'T3'", 7)])
def test_the_last_message_is_found_from_the_streams_end(plan: Callable[..., Plan], type: str, rows: int) -> None:
    """messages_stream is read backwards, as far as the wanted type."""
    made = plan(f"SELECT * FROM get_last_stream_message('c3-3'{type})")
    assert (made.nodes, made.indexes, made.backward) == ({"INDEXSCAN"}, {"messages_stream"}, True)
    assert made.visited <= rows


def test_the_version_is_the_indexs_last_entry(plan: Callable[..., Plan]) -> None:
    """stream_version doesn't count: it reads one entry of the index, and at most that row of the table."""
    made = plan("SELECT stream_version('c3-3')")
    assert (made.nodes, made.indexes, made.backward) == ({"INDEXONLYSCAN"}, {"messages_stream"}, True)
    assert made.visited <= 1


@pytest.mark.parametrize(
    "call",
    [
        "write_message(gen_random_uuid()::varchar, 'c3-3', 'T', '{}')",
        "write_messages(ARRAY[gen_random_uuid()::varchar], 'c3-3', ARRAY['T'], ARRAY['{}'::jsonb])",
    ],
)
def test_a_write_finds_the_version_by_the_index(plan: Callable[..., Plan], call: str) -> None:
    """However long the stream, a write reads the last entry of messages_stream."""
    made = plan(f"SELECT {call}")
    assert made.nodes & {"INDEXSCAN", "INDEXONLYSCAN"}
    assert not made.nodes & {"SEQSCAN", "BITMAPHEAPSCAN"}
    assert (made.indexes, made.backward) == ({"messages_stream"}, True)
    assert made.visited <= 1


def test_all_messages_are_read_by_the_primary_key(plan: Callable[..., Plan]) -> None:
    """A page of all messages is a range of the primary key; its other end tells whether the sequence is right."""
    made = plan("SELECT * FROM get_all_messages(10000, 10)")
    assert (made.nodes - {"INDEXONLYSCAN"}, made.indexes) == ({"INDEXSCAN"}, {"messages_pkey"})
    assert made.visited <= 11
