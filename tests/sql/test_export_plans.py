"""How PostgreSQL reads an export out of a million messages: along an index, nothing sorted, and no more than need be."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg import sql

from evtool.model import Selection
from evtool.stores.postgres import PostgresStore, exporting, selecting
from evtool.stores.postgres.connection import Connector

COUNT = 1_000_000
START = datetime(2025, 1, 1, tzinfo=UTC)
RARE = 5_000
"""Of so many messages one is of a rare type, in a rare correlation or in a rare category."""

FILL = f"""
    INSERT INTO messages (global_position, stream_name, position, type, time, data, metadata)
    SELECT n, format('%s-%s', CASE WHEN n % {RARE} = 7 THEN 'rare' ELSE 'c' || n % 16 END, n / 64 % 20000),
      n, CASE WHEN n % {RARE} = 9 THEN 'Rare' ELSE 'Type' || n % 12 END,
      timestamp '2025-01-01' + n * interval '1 second', '{{"text": "as long as a short message is"}}',
      jsonb_build_object('correlationStreamName', CASE WHEN n % {RARE} = 11 THEN 'rare-1' ELSE 'o' || n % 3 END)
    FROM generate_series(1, {COUNT}) AS n
"""

Explain = Callable[[Selection], "Plans"]


class Plans:
    """How the statements of an export were run.

    Attributes:
        nodes: the kinds of steps.
        indexes: which indexes were read.
        rows: how many rows of the table were looked at, in all statements.
        query: the statement that returns the rows.
    """

    def __init__(self) -> None:
        self.nodes: set[str] = set()
        self.indexes: set[str] = set()
        self.rows = 0
        self.query = ""

    def add(self, node: dict[str, Any]) -> None:
        """Takes in a plan."""
        self.nodes.add(node["Node Type"])
        self.indexes |= {node["Index Name"]} if "Index Name" in node else set()
        if node.get("Relation Name") == "messages":
            removed = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
            self.rows += (node["Actual Rows"] + removed) * node["Actual Loops"]
        for below in node.get("Plans", ()):
            self.add(below)


@pytest.fixture(scope="module")
def schema(dsn: str, shared_store: PostgresStore) -> Iterator[str]:
    """A namespace with a million messages, as vacuum leaves it."""
    name = shared_store.create_namespace("test_export_plans").schema
    with psycopg.connect(dsn, autocommit=True) as session:
        session.execute(sql.SQL("SET search_path = {}").format(sql.Identifier(name)))
        # quicker than row by row into five indexes, and the same in the end
        made = session.execute(
            "SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index"
            " WHERE indrelid = 'messages'::regclass AND NOT indisprimary"
        ).fetchall()
        for index, _ in made:
            session.execute(f"DROP INDEX {index}".encode())
        session.execute(FILL.encode())
        for _, statement in made:
            session.execute(statement.encode())
        session.execute("VACUUM ANALYZE messages")
    yield name
    shared_store.delete_namespace("test_export_plans")


@pytest.fixture
def explain(dsn: str, schema: str) -> Iterator[Explain]:
    """Runs what an export runs, each statement with EXPLAIN ANALYZE besides, and returns what the server did."""
    connection = Connector(dsn).open()

    class Explaining:
        """The connection, which explains what asks for messages."""

        def __init__(self, plans: Plans) -> None:
            self._plans = plans

        def execute(self, query: Any) -> Any:
            """Runs a statement, and looks at its plan."""
            text = query if isinstance(query, str) else query.as_string(connection)
            if text.lstrip().startswith("SELECT"):
                self.explain(text)
            return connection.execute(query)

        def explain(self, text: str) -> None:
            row = connection.execute(f"EXPLAIN (ANALYZE, TIMING off, FORMAT json) {text}".encode()).fetchone()
            assert row is not None
            self._plans.add((row[0] if isinstance(row[0], list) else json.loads(row[0]))[0]["Plan"])

    def ask(selection: Selection) -> Plans:
        plans = Plans()
        with exporting.snapshot(connection):
            explaining: Any = Explaining(plans)
            chosen = selecting.choose(explaining, schema, selection, COUNT)
            plans.query = (chosen.packed() or chosen.query()).as_string(connection)
            explaining.explain(plans.query)
        return plans

    yield ask
    connection.close()


HOUR = {"since": START + timedelta(days=5), "until": START + timedelta(days=5, hours=1)}
STREAMS = ("c3-77", "c5-1234", "none-1")

SELECTIVE = {
    "one category": (Selection(("rare",)), {"messages_category"}, 200),
    "two categories": (Selection(("rare", "none")), {"messages_category"}, 200),
    "forty categories": (
        Selection(("rare", *(f"none{n}" for n in range(40)))),
        {"messages_category", "messages_pkey"},
        500,
    ),
    "streams": (Selection(streams=STREAMS), {"messages_stream", "messages_pkey"}, 100),
    "a type": (Selection(types=("Rare",)), {"messages_time", "messages_pkey"}, 700_000),
    "types": (Selection(types=("Rare", "None")), {"messages_time", "messages_pkey"}, 700_000),
    "a correlation": (Selection(correlation="rare"), {"messages_category", "messages_pkey"}, 500),
    "times": (Selection(**HOUR), {"messages_time", "messages_pkey"}, 20_000),
    "since": (Selection(since=START + timedelta(days=11, hours=13)), {"messages_time", "messages_pkey"}, 20_000),
    "until": (Selection(until=START + timedelta(hours=1)), {"messages_time", "messages_pkey"}, 20_000),
    "positions": (Selection(from_position=500_000, to_position=501_000), {"messages_pkey"}, 1_001),
    "a position on": (Selection(from_position=999_000), {"messages_pkey"}, 1_001),
    "up to a position": (Selection(to_position=1_000), {"messages_pkey"}, 1_001),
    "a category and times": (Selection(("c3",), **HOUR), None, 20_000),
    "a type and times": (Selection(types=("Rare",), **HOUR), None, 20_000),
    "a stream and a type": (Selection(streams=STREAMS, types=("Type3",)), None, 200),
    "a stream and a category": (Selection(("c3",), streams=STREAMS), None, 200),
    "a correlation and a category": (Selection(("c3",), correlation="rare"), None, 500),
    "a type and positions": (Selection(types=("Type3",), from_position=500_000, to_position=501_000), None, 2_100),
    "everything": (
        Selection(("c3",), **HOUR, streams=STREAMS, types=("Type3",), correlation="o1", from_position=5),
        None,
        20_000,
    ),
}


@pytest.mark.thorough
@pytest.mark.parametrize("name", SELECTIVE)
def test_a_selective_filter_is_served_by_an_index(explain: Explain, name: str) -> None:
    """Nothing is sorted and nothing scanned; the index that was made for a filter is read, and little of the table."""
    selection, indexes, rows = SELECTIVE[name]
    plans = explain(selection)
    assert not {node for node in plans.nodes if "Sort" in node or "Seq Scan" in node}, plans.nodes
    assert indexes is None or plans.indexes == indexes
    assert plans.rows <= rows


WIDE = {
    "everything": Selection(),
    "two large categories": Selection(("c3", "c5")),
    "sixteen categories": Selection(tuple(f"c{n}" for n in range(16))),
    "forty categories": Selection(tuple(f"c{n}" for n in range(40))),
    "a frequent type": Selection(types=("Type3",)),
    "a frequent correlation": Selection(correlation="o1"),
    "half of the time": Selection(since=START + timedelta(days=6)),
    "a large category since": Selection(("c3",), since=START + timedelta(days=1)),
}


@pytest.mark.thorough
@pytest.mark.parametrize("name", WIDE)
def test_a_large_part_is_neither_sorted_nor_read_again_and_again(explain: Explain, name: str) -> None:
    """What is too much to be looked up one by one comes in the order of an index, too; it is read when it is sought, when
    its bounds are, and when it is sent, and not once for each category."""
    plans = explain(WIDE[name])
    assert "Seq Scan" not in plans.nodes
    assert not {node for node in plans.nodes if "Sort" in node}, plans.nodes
    assert "ORDER BY global_position" in plans.query
    assert plans.rows <= 3 * COUNT


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["everything", "half of the time"])
def test_what_the_server_puts_together_is_read_once(explain: Explain, name: str) -> None:
    """A row for many positions costs a look into the primary key, not a second one at the messages."""
    plans = explain(WIDE[name])
    assert "string_agg" in plans.query
    assert plans.nodes >= {"Sample Scan", "Nested Loop", "ProjectSet"}
    assert plans.indexes <= {"messages_pkey", "messages_time"}


@pytest.mark.thorough
def test_a_table_that_was_never_analyzed_is_not_sorted_either(
    dsn: str, connection: psycopg.Connection, namespace: str
) -> None:
    """Right after an import there are no statistics, and the planner guesses."""
    connection.execute("ALTER TABLE messages SET (autovacuum_enabled = off)")
    connection.execute(FILL.replace(str(COUNT), "20000").encode())
    opened = Connector(dsn).open()
    try:
        for selection, _, _ in SELECTIVE.values():
            with exporting.snapshot(opened):
                query = selecting.choose(opened, namespace, selection, COUNT).query()
                text = "\n".join(row[0] for row in opened.execute(sql.SQL("EXPLAIN {}").format(query)))
            assert "Sort" not in text.replace("Sort Key: messages.global_position", "")
            assert "Seq Scan" not in text
    finally:
        opened.close()
