"""The same calls against Message DB and against evtool: the same rows, positions and errors.

Message DB is installed from its npm package into a database of its own on the same server.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from psycopg import conninfo, sql

from evtool.stores.postgres import PostgresStore
from evtool.testing import reference
from tests.thoroughness import examples

CACHE = Path(__file__).resolve().parents[2] / ".cache"

SETTINGS = settings(
    max_examples=examples(300),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

CALLS = {
    "write": "SELECT write_message(%s::varchar, %s::varchar, %s::varchar, %s::jsonb, %s::jsonb, %s::bigint)",
    "stream": "SELECT * FROM get_stream_messages(%s::varchar, %s::bigint, %s::bigint, %s::varchar)",
    "category": "SELECT * FROM get_category_messages(%s::varchar, %s::bigint, %s::bigint, %s::varchar, %s::bigint,"
    " %s::bigint, %s::varchar)",
    "last": "SELECT * FROM get_last_stream_message(%s::varchar, %s::varchar)",
    "version": "SELECT stream_version(%s::varchar)",
    "lock": "SELECT acquire_lock(%s::varchar)",
    "condition": "SELECT set_config('message_store.sql_condition', %s, false)",
    "table": "SELECT global_position, position, stream_name, type, data::text, metadata::text, id FROM messages"
    " ORDER BY global_position",
    "stream_summary": "SELECT * FROM stream_summary",
    "type_summary": "SELECT * FROM type_summary",
    "stream_type_summary": "SELECT * FROM stream_type_summary",
    "type_stream_summary": "SELECT * FROM type_stream_summary",
    "category_type_summary": "SELECT * FROM category_type_summary",
    "type_category_summary": "SELECT * FROM type_category_summary",
}
VIEWS = [name for name in CALLS if name.endswith("_summary")]

SMALL = (
    "SELECT category(%(x)s::varchar), id(%(x)s::varchar), cardinal_id(%(x)s::varchar), is_category(%(x)s::varchar),"
    " hash_64(%(x)s::varchar), acquire_lock(%(x)s::varchar), stream_version(%(x)s::varchar), message_store_version()"
)


@dataclass(frozen=True)
class Call:
    """One call: a name of CALLS and its arguments."""

    name: str
    values: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Block:
    """Calls in one transaction, which ends at the first error, and is kept or rolled back."""

    calls: tuple[Call, ...]
    rollback: bool


# Few values, so that calls meet each other; and among them everything that the contract names.
text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=6)
names = st.sampled_from(
    [
        "a-1",
        "a-1",
        "a-2",
        "a-1+2",
        "a-1+3",
        "b-1",
        "a",
        "b",
        "",
        "-",
        "-1",
        "a-",
        "a-+1",
        "a:command-1",
        "é-ü",
        "A-1",
    ]
)
streams = st.one_of(names, names, names, st.none(), text.map(lambda end: f"a-{end}"), text)
categories = st.one_of(st.sampled_from(["a", "a", "a", "b", "", "a:command", "é"]), names, st.none(), text)
types = st.sampled_from(["T", "T", "U", "", None])
versions = st.one_of(st.none(), st.none(), st.integers(-2, 4), st.sampled_from([2**63 - 1, -(2**63)]))
positions = st.one_of(st.none(), st.integers(-2, 12), st.sampled_from([2**63 - 1, -(2**63)]))
sizes = st.one_of(st.none(), st.integers(0, 6), st.sampled_from([-1, -2, 1000, 2**63 - 1, -(2**63)]))
fresh = st.uuids().map(str)
repeated = st.sampled_from([f"00000000-0000-4000-8000-00000000000{digit}" for digit in range(2)])
ids = st.one_of(
    fresh,
    fresh,
    fresh.map(lambda made: "{" + made.upper() + "}"),
    repeated,
    st.sampled_from([None, "", "not a uuid"]),
)
values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), text),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(text, inner, max_size=3)),
    max_leaves=5,
)
documents = st.one_of(
    st.none(),
    values.map(lambda value: json.dumps(value, ensure_ascii=False)),
    st.sampled_from(
        ["{}", "1e400", "1.10", "-0", "9007199254740993", '{"a": 1, "a": 2}', '{"x":"\\u0000"}', "{", "NaN"]
    ),
)
metadata = st.one_of(
    documents,
    names.map(lambda name: json.dumps({"correlationStreamName": name})),
    names.map(lambda name: json.dumps({"correlationStreamName": name})),
)
correlations = st.one_of(st.none(), st.none(), st.sampled_from(["a", "b", "", "a-1"]))
members = st.one_of(st.none(), st.none(), st.integers(-1, 4))
groups = st.one_of(st.none(), st.none(), st.integers(-1, 4), st.sampled_from([32767, 32768, 2**63 - 1]))
conditions = st.one_of(
    st.none(),
    st.none(),
    st.none(),
    st.sampled_from(
        ["true", "false", "NULL", "type = 'T'", "position > 0", "messages.position = 1 OR global_position < 3",
         "data IS NULL", "metadata->>'correlationStreamName' = 'a-1'", "no_such_column = 1", "syntax error", "",
         "type LIKE '%T%'", "1 / 0 = 1", "EXISTS (SELECT FROM messages WHERE type = 'U')", "$3 > 1"]
    ),
)  # fmt: skip


def _is_json(document: str | None) -> bool:
    return document not in {"{", "NaN"} and "\\u0000" not in (document or "")


def _call(name: str, *values: st.SearchStrategy[Any]) -> st.SearchStrategy[Call]:
    return st.tuples(*values).map(lambda drawn: Call(name, drawn))


writes = _call("write", ids, streams, types, documents, metadata, versions)
calls = st.one_of(
    writes,
    writes,
    _call("write", repeated, names, st.just("T"), st.just("{}"), st.none(), st.none()),
    _call("stream", streams, positions, sizes, conditions),
    _call("category", categories, positions, sizes, correlations, members, groups, conditions),
    _call("category", categories, st.just(1), st.just(-1), st.none(), st.integers(0, 2), st.just(3), st.none()),
    _call("last", streams, types),
    _call("version", streams),
    _call("lock", streams),
    _call("condition", st.sampled_from(["on", "off", "", "no"])),
    _call("table"),
    st.sampled_from(VIEWS).map(Call),
)
blocks = st.builds(Block, st.lists(calls, max_size=5).map(tuple), st.booleans())
# a history begins with some messages, so that what follows finds something
start = st.lists(_call("write", fresh, names, types.filter(bool), st.just("{}"), metadata.filter(_is_json), st.none()))
histories = st.tuples(start, st.lists(st.one_of(calls, calls, calls, blocks), min_size=3, max_size=40)).map(
    lambda parts: [*parts[0], *parts[1]]
)


@pytest.fixture(scope="module")
def theirs(make_database: Callable[..., str]) -> Iterator[psycopg.Connection]:
    """A session on Message DB itself."""
    dsn = make_database()
    with psycopg.connect(dsn, autocommit=True) as session:
        reference.install(session, reference.fetch(CACHE))
    with psycopg.connect(conninfo.make_conninfo(dsn), autocommit=True) as session:
        session.execute("SET search_path = message_store, public")
        yield session


@pytest.fixture(scope="module")
def ours(dsn: str, shared_store: PostgresStore) -> Iterator[psycopg.Connection]:
    """A session on a namespace of evtool's."""
    schema = shared_store.create_namespace("test_differential").schema
    with psycopg.connect(dsn, autocommit=True) as session:
        session.execute(sql.SQL("SET search_path = {}").format(sql.Identifier(schema)))
        yield session


def _run(session: psycopg.Connection, call: Call) -> tuple[Any, bool]:
    """What a call returned, or how it failed; and whether it failed."""
    try:
        cursor = session.execute(CALLS[call.name], call.values)
        rows = cursor.fetchall()
    except psycopg.Error as error:
        # PostgreSQL's own complaints of a condition quote the SQL around it, which is each one's own
        told = None if (error.sqlstate or "").startswith("42") else error.diag.message_primary
        return ("error", error.sqlstate, told), True
    assert cursor.description is not None
    columns = [column.name for column in cursor.description]
    if "time" in columns:
        # each one's own clock
        rows = [row[:-1] for row in rows]
    # the views are ordered by the database's collation there, by bytes here
    return (columns, sorted(rows, key=repr) if call.name in VIEWS else rows), False


def _play(session: psycopg.Connection, history: list[Call | Block]) -> list[Any]:
    """What each call of a history did, beginning with an empty table."""
    session.execute("TRUNCATE messages RESTART IDENTITY")
    session.execute("SELECT set_config('message_store.sql_condition', 'on', false)")
    outcomes: list[Any] = []
    for item in [*history, Call("table")]:
        if isinstance(item, Call):
            outcomes.append((item, _run(session, item)[0]))
            continue
        session.execute("BEGIN")
        failed = False
        for call in item.calls:
            outcome, failed = _run(session, call)
            outcomes.append((call, outcome))
            if failed:
                break
        session.execute("ROLLBACK" if item.rollback or failed else "COMMIT")
    return outcomes


@SETTINGS
@given(history=histories)
def test_a_history_of_calls_has_the_same_outcomes(
    theirs: psycopg.Connection, ours: psycopg.Connection, history: list[Call | Block]
) -> None:
    """Whatever is written and read, in whatever order, every row and every error is Message DB's."""
    expected = _play(theirs, history)
    for _, outcome in expected:
        event(str(outcome[1]) if outcome[0] == "error" else "rows" if outcome[1] else "no rows")
    for (call, mine), (_, wanted) in zip(_play(ours, history), expected, strict=True):
        assert mine == wanted, call


@SETTINGS
@given(name=st.one_of(streams, text, text.map(lambda start: f"{start}-x+y-z")))
def test_the_small_functions_are_the_same(
    theirs: psycopg.Connection, ours: psycopg.Connection, name: str | None
) -> None:
    """Any text has the same category, id, cardinal id and hash as in Message DB."""
    wanted = theirs.execute(SMALL, {"x": name}).fetchall()
    assert ours.execute(SMALL, {"x": name}).fetchall() == wanted


@settings(SETTINGS, max_examples=examples(100))
@given(
    written=st.lists(st.tuples(names, st.integers(0, 3)), max_size=60),
    size=st.integers(1, 5),
    batch=st.integers(1, 7),
)
def test_consumer_groups_deal_alike(
    theirs: psycopg.Connection,
    ours: psycopg.Connection,
    written: list[tuple[str, int]],
    size: int,
    batch: int,
) -> None:
    """Each member of a group reads the same messages as with Message DB, page by page."""

    def pages(session: psycopg.Connection) -> list[Any]:
        session.execute("TRUNCATE messages RESTART IDENTITY")
        for stream_name, end in written:
            call = "SELECT write_message(gen_random_uuid()::varchar, %s::varchar, 'T', '{}')"
            session.execute(call, (f"{stream_name}{end}",))
        read = "SELECT global_position, stream_name, position FROM get_category_messages('a', %s, %s, NULL, %s, %s)"
        seen: list[Any] = []
        for member in range(size):
            position = 1
            while rows := session.execute(read, (position, batch, member, size)).fetchall():
                seen.append((member, rows))
                position = rows[-1][0] + 1
        return seen

    assert pages(ours) == pages(theirs)
