"""Each query has its index, and none sorts: EXPLAIN QUERY PLAN of what the store really runs."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from evtool.model import NewMessage, Selection
from evtool.stores.sqlite import SQLiteStore, importing
from evtool.testing.contract.helping import file_of, record

SINCE = datetime(2025, 7, 1, tzinfo=UTC)
MANY = tuple(f"c{number}" for number in range(40))

CALLS: dict[str, Callable[[SQLiteStore], object]] = {
    "stream": lambda store: store.get_stream_messages("a-1", 3, 10),
    "category": lambda store: store.get_category_messages("a", 3, 10),
    "correlation": lambda store: store.get_category_messages("a", 3, 10, "b"),
    "group": lambda store: store.get_category_messages("a", 3, 10, None, 1, 3),
    "correlation and group": lambda store: store.get_category_messages("a", 3, 10, "b", 1, 3),
    "all": lambda store: store.get_all_messages(3, 10),
    "last": lambda store: store.get_last_stream_message("a-1"),
    "last of a type": lambda store: store.get_last_stream_message("a-1", "Rare"),
    "version": lambda store: store.stream_version("a-1"),
    "streams": lambda store: store.list_streams(),
    "streams by prefix": lambda store: store.list_streams("a-", "a-1", 10),
    "categories": lambda store: store.list_categories(),
    "write": lambda store: store.write_message(None, "a-1", "Happened", {}, None, 100),
    "batch": lambda store: store.write_messages("b-9", [NewMessage("Happened")] * 3),
    "import": lambda store: store.import_batch([record(90_000, "imported-1")]),
    "export": file_of,
    "export since": lambda store: file_of(store, Selection(since=SINCE)),
    "export of a category": lambda store: file_of(store, Selection(("a",))),
    "export of categories": lambda store: file_of(store, Selection(("a", "b", "c"))),
    "export of categories since": lambda store: file_of(store, Selection(("a", "b"), SINCE, SINCE)),
    "export of many categories": lambda store: file_of(store, Selection(MANY)),
    "export of positions": lambda store: file_of(store, Selection(from_position=7, to_position=99)),
    "export of types": lambda store: file_of(store, Selection(types=("Happened", "Other"))),
    "export of streams": lambda store: file_of(store, Selection(streams=("a-0", "b-1", "none"))),
    "export of streams of categories": lambda store: file_of(store, Selection(("a", "b"), streams=("a-0", "b-1"))),
    "export of a correlation": lambda store: file_of(store, Selection(correlation="o")),
    "export of a correlation of categories": lambda store: file_of(store, Selection(("a", "b"), correlation="o")),
    "export of everything at once": lambda store: file_of(
        store, Selection(("a",), SINCE, SINCE, ("a-0",), ("Happened",), "o", 7, 99)
    ),
}

_CATEGORY = "messages_category (category=? AND global_position>? AND global_position<?)"
INDEXES = {
    "stream": {"messages_stream (stream_name=? AND position>?)"},
    "category": {"messages_category (category=? AND global_position>?)"},
    "correlation": {"messages_category (category=? AND global_position>?)"},
    "group": {"messages_category (category=? AND global_position>?)"},
    "correlation and group": {"messages_category (category=? AND global_position>?)"},
    "all": {"INTEGER PRIMARY KEY (rowid>?)"},
    "last": {"messages_stream (stream_name=?)"},
    "last of a type": {"messages_stream (stream_name=?)"},
    "version": {"messages_stream (stream_name=?)"},
    "export": {"INTEGER PRIMARY KEY (rowid>? AND rowid<?)"},
    "export of positions": {"INTEGER PRIMARY KEY (rowid>? AND rowid<?)"},
    "export of a category": {_CATEGORY},
    "export of categories": {_CATEGORY},
    "export of categories since": {_CATEGORY},
    "export of streams": {"messages_stream (stream_name=?)", "INTEGER PRIMARY KEY (rowid=?)"},
    "export of streams of categories": {"messages_stream (stream_name=?)", "INTEGER PRIMARY KEY (rowid=?)"},
    "export of a correlation": {"INTEGER PRIMARY KEY (rowid=?)"},
    "export of a correlation of categories": {_CATEGORY},
    "export of everything at once": {"messages_stream (stream_name=?)", "INTEGER PRIMARY KEY (rowid=?)"},
}


@pytest.fixture
def filled(store: SQLiteStore) -> SQLiteStore:
    """A store with some messages, so that its statistics could mislead the planner."""
    store.import_batch(
        record(n, f"{'abcd'[n % 4]}-{n % 50}", n, meta={"correlationStreamName": f"{'op'[n % 2]}-1"})
        for n in range(1, 2000)
    )
    store.import_batch([record(5000, "a-1", 100)])
    return store


def plans(store: SQLiteStore, call: Callable[[SQLiteStore], object]) -> list[str]:
    """The steps of the plans of all statements that a call runs in the namespace's database."""
    ran: list[str] = []
    with store._open().reading() as connection:
        connection.set_trace_callback(ran.append)
    call(store)
    with store._open().reading() as connection:
        connection.set_trace_callback(None)
        statements = [text for text in ran if text.strip().startswith(("SELECT", "WITH", "INSERT"))]
        assert statements, "nothing was traced"
        return [
            row[3]
            for text in statements
            # whether there is any message is told by the first
            if text != importing._ANY
            for row in connection.execute(f"EXPLAIN QUERY PLAN {text}")
        ]


@pytest.mark.parametrize("name", CALLS)
def test_nothing_is_sorted(filled: SQLiteStore, name: str) -> None:
    """No call builds a temporary tree to sort, group or merge in."""
    steps = plans(filled, CALLS[name])
    assert not [step for step in steps if "TEMP B-TREE" in step], steps


@pytest.mark.parametrize("name", CALLS)
def test_nothing_scans_but_what_has_no_other_way(filled: SQLiteStore, name: str) -> None:
    """Only a list of categories reads all of an index, and an export by correlation, which reads no row in vain."""
    scans = [step for step in plans(filled, CALLS[name]) if step.startswith("SCAN") and "messages" in step]
    whole = {
        "categories": ["SCAN messages USING COVERING INDEX messages_stream"],
        "export of a correlation": ["SCAN messages USING COVERING INDEX messages_category"],
    }
    assert scans == whole.get(name, []), scans


@pytest.mark.parametrize("name", INDEXES)
def test_each_query_has_its_index(filled: SQLiteStore, name: str) -> None:
    """The index that was made for a query is the one that it uses, with all columns that help."""
    searches = [step for step in plans(filled, CALLS[name]) if step.startswith("SEARCH")]
    assert searches
    for step in searches:
        assert any(step.endswith(index) for index in INDEXES[name]), step


def test_a_list_of_streams_costs_what_it_lists(filled: SQLiteStore) -> None:
    """A page of streams takes steps for its streams, however many there are besides, before it or behind it."""

    def steps(*arguments: object) -> int:
        count = 0

        def tick() -> int:
            nonlocal count
            count += 1
            return 0

        with filled._open().reading() as connection:
            connection.set_progress_handler(tick, 1)
        filled.list_streams(*arguments)  # type: ignore[arg-type]
        with filled._open().reading() as connection:
            connection.set_progress_handler(None, 1)
        return count

    few = [steps("b-1"), steps("a-", "a-28", 3), steps("", None, 3), steps("none")]
    filled.import_batch(record(10_000 + n, f"{'abcd'[n % 4]}-x{n}", 0) for n in range(2000))
    assert [steps("b-1"), steps("a-", "a-28", 3), steps("", None, 3), steps("none")] == few
