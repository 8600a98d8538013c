"""Messages that the server puts together, many in a row of a COPY: the same lines as one by one, whatever they hold."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator

import psycopg
import pytest
from psycopg import sql

from evtool.model import ExportBlock, Selection
from evtool.progress import EVERY
from evtool.stores.postgres import PostgresStore, exporting, packing, selecting
from evtool.stores.postgres.connection import Connection, Connector
from evtool.stores.postgres.selecting import Slice

COUNT = 12_000
LAST = COUNT + COUNT // 7 + 1

# Gaps, nulls, times that end in zeros and such as don't, text that JSON and COPY escape.
FILL = f"""
    INSERT INTO messages (global_position, stream_name, position, type, time, data, metadata)
    SELECT n + n / 7, format('c%s-%s', n % 16, n / 64), n, 'Type' || n % 3,
      timestamp '2025-01-01 10:00:00.5' + n * interval '1.00001 second',
      CASE WHEN n % 11 <> 0 THEN jsonb_build_object('text', E'"quoted" \\\\ C:\\\\n\\u00fc\\t' || repeat('x', n % 300)) END,
      CASE WHEN n % 5 <> 0 THEN jsonb_build_object('n', n) END
    FROM generate_series(1, {COUNT}) AS n
"""

Slices = Callable[[Selection], "contextlib.AbstractContextManager[tuple[Connection, Slice]]"]


@pytest.fixture
def slices(dsn: str, connection: psycopg.Connection, namespace: str) -> Slices:
    """The slice that an export of a selection would read, out of a table that is large enough to be put together."""
    connection.execute(FILL.encode())
    connection.execute("SELECT setval('messages_global_position_seq', max(global_position)) FROM messages")

    @contextlib.contextmanager
    def chosen(selection: Selection) -> Iterator[tuple[Connection, Slice]]:
        with contextlib.closing(Connector(dsn).open()) as opened, exporting.snapshot(opened):
            yield opened, selecting.choose(opened, namespace, selection, 10 * LAST)

    return chosen


def _lines(blocks: Iterator[ExportBlock]) -> bytes:
    return b"".join(block.lines for block in blocks)


def _both_ways(slices: Slices, selection: Selection) -> tuple[bytes, bytes]:
    """What an export is put together, and row by row."""
    with slices(selection) as (connection, chosen):
        assert chosen.packing is not None
        row_by_row = dataclasses.replace(chosen, packing=None)
        return _lines(exporting.lines(connection, chosen)), _lines(exporting.lines(connection, row_by_row))


SELECTIONS = {
    "everything": Selection(),
    "a type of three": Selection(types=("Type1",)),
    "positions": Selection(from_position=500, to_position=9_000),
    "from a position on": Selection(from_position=777),
    "categories in one scan": Selection(tuple(f"c{n}" for n in range(4, 40))),
}


@pytest.mark.parametrize("name", SELECTIONS)
def test_the_lines_are_those_of_single_rows(slices: Slices, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Nulls, times with fewer digits, escaped text, gaps, the bounds of a range: each line comes once, and the same."""
    monkeypatch.setattr(selecting, "_FEW", 100)
    packed, single = _both_ways(slices, SELECTIONS[name])
    assert packed == single
    assert single.count(b"\n") > COUNT / 4


@pytest.mark.parametrize(
    "odd",
    ["a\x02b", "\x02", "a\x01b\x02\x02", "a\nb", 'a"b', "a\\b", "null", "a\x02\x02\x02\x02\x02\x02\x02\x02b"],
)
def test_names_with_control_characters_are_not_mistaken(
    slices: Slices, connection: psycopg.Connection, odd: str
) -> None:
    """What separates fields may stand in a name: everything from there on comes row by row, in its place and once."""
    connection.execute("UPDATE messages SET type = %s WHERE global_position = 5000", [odd])
    connection.execute("UPDATE messages SET stream_name = %s WHERE global_position = 7000", [f"c1-{odd}"])
    packed, single = _both_ways(slices, Selection())
    assert packed == single
    assert packed.count(b"\n") == COUNT


def test_large_messages_are_sent_on_their_own(slices: Slices, connection: psycopg.Connection) -> None:
    """A few large ones, stored as they are, compressed or out of line: they come in their places, and the server never
    holds more of them than one."""
    connection.execute("ALTER TABLE messages ALTER data SET STORAGE EXTENDED")
    large = {
        100: "jsonb_build_object('a', repeat('z', 2000000))",
        101: "jsonb_build_object('a', repeat('z', 3000))",
        4000: "jsonb_build_object('a', (SELECT string_agg(md5(i::text), '') FROM generate_series(1, 60000) AS i))",
        13000: "jsonb_build_object('a', repeat('ü', 100000))",
    }
    for position, value in large.items():
        # in both columns, for either may be the large one
        column = "metadata" if position == 101 else "data"
        connection.execute(f"UPDATE messages SET {column} = {value} WHERE global_position = {position}".encode())
    packed, single = _both_ways(slices, Selection())
    assert packed == single
    with slices(Selection()) as (opened, chosen):
        query = chosen.packed()
        assert query is not None
        sizes = opened.execute(sql.SQL("SELECT messages, length(lines) FROM ({}) AS sent").format(query)).fetchall()
    assert sum(messages for messages, _ in sizes) == COUNT
    assert max(length for messages, length in sizes if messages > 1) < 200_000
    assert sum(length > 80_000 for _, length in sizes) == 3


def test_what_compresses_well_is_not_held_together(slices: Slices, connection: psycopg.Connection) -> None:
    """A message takes little room in the table and much in memory: a few are sent alone, many keep all from being packed."""
    text = "UPDATE messages SET data = jsonb_build_object('a', repeat('x', 40000)) WHERE position % {} = 0"
    connection.execute(text.format(2000).encode())
    with slices(Selection()) as (opened, chosen):
        query = chosen.packed()
        assert query is not None
        sizes = opened.execute(sql.SQL("SELECT messages, length(lines) FROM ({}) AS sent").format(query)).fetchall()
    assert max(length for messages, length in sizes if messages > 1) < 100_000
    connection.execute(text.format(20).encode())
    with slices(Selection()) as (_, chosen):
        assert chosen.packing is None


def test_where_many_are_large_nothing_is_put_together(slices: Slices, connection: psycopg.Connection) -> None:
    """It would cost a second look at each, and save little."""
    connection.execute(
        "UPDATE messages SET metadata = jsonb_build_object('a', (SELECT string_agg(md5((i * position)::text), '')"
        " FROM generate_series(1, 100) AS i)) WHERE position % 99 = 0"
    )
    with slices(Selection()) as (_, chosen):
        assert chosen.packing is None


def test_where_positions_are_far_between_nothing_is_put_together(
    slices: Slices, connection: psycopg.Connection
) -> None:
    """A slice of production, of which one message in a thousand was brought home."""
    connection.execute("TRUNCATE messages")
    connection.execute(FILL.replace("n + n / 7", "n * 1000").encode())
    with slices(Selection()) as (_, chosen):
        assert chosen.packing is None


def test_messages_at_the_very_last_positions_come_too(slices: Slices, connection: psycopg.Connection) -> None:
    """The last position that there is has none behind it that a range could end before."""
    highest = 2**63 - 1
    connection.execute("UPDATE messages SET global_position = %s - global_position", [highest])
    with slices(Selection()) as (opened, chosen):
        # whose watermark all messages are above now
        assert chosen.packing is None
        whole = dataclasses.replace(chosen, first=highest - LAST, last=highest)
        found = packing.choose(opened, whole.table, (), whole.first, highest)
        assert found is not None
        packed = dataclasses.replace(whole, packing=found[0], first=found[1])
        assert _lines(exporting.lines(opened, packed)) == _lines(
            exporting.lines(opened, dataclasses.replace(whole, packing=None))
        )


def test_a_block_ends_at_every_thousandth(slices: Slices, store: PostgresStore) -> None:
    """That is where progress is told."""
    with slices(Selection()) as (_, chosen):
        assert chosen.packing is not None
    ends, count = set(), 0
    for block in store.export(Selection()):
        count += block.count
        ends.add(count)
        assert block.lines.count(b"\n") == block.count
    assert {*range(EVERY, COUNT, EVERY), COUNT} <= ends


@pytest.mark.parametrize("odd", [False, True])
def test_several_connections_bring_the_same(
    slices: Slices, store: PostgresStore, connection: psycopg.Connection, odd: bool
) -> None:
    """Each reads its ranges put together, and goes on row by row where it has to."""
    if odd:
        connection.execute("UPDATE messages SET type = E'a\\x02b' WHERE global_position = 11000")
    with slices(Selection()) as (opened, chosen):
        single = _lines(exporting.lines(opened, dataclasses.replace(chosen, packing=None)))
    assert _lines(store.export(Selection(), jobs=3)) == single


def test_an_export_that_is_left_gives_the_connection_back(slices: Slices, store: PostgresStore) -> None:
    """Who takes only the first lines leaves no COPY behind that still runs."""
    with slices(Selection()) as (opened, chosen):
        blocks = exporting.lines(opened, chosen)
        next(blocks)
        blocks.close()  # type: ignore[attr-defined]
        assert opened.execute("SELECT count(*) FROM pg_catalog.pg_class").fetchone() is not None
    blocks = store.export(Selection())
    next(blocks)
    blocks.close()  # type: ignore[attr-defined]
