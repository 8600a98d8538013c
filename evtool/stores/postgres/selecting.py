"""Which rows an export reads and along which index: in global order, never sorted, and not more than need be.

Two indexes have the global order: the primary key, and messages_category category by category. The others only find
rows: messages_stream, the third column of messages_category for the correlation, and messages_time, which knows for
every 32 pages of the table what times and types they hold. What these find is taken in two steps. First only the
positions, by a bitmap of the pages in question, and at most so many that they fit into a query. If that was all, the
rows are fetched by those positions. If there are more, the rows are a good part of the table, and are filtered out of
one of the two orders, between the smallest and the greatest position that the times allow.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from psycopg import sql

from evtool import names
from evtool.model import Selection
from evtool.stores.postgres import packing
from evtool.stores.postgres.connection import Connection
from evtool.stores.postgres.packing import Packing

COLUMNS = sql.SQL("id, stream_name, type, position, global_position, data, metadata, time")

# As many positions as are looked up one by one: they fit into a query of half a megabyte.
_FEW = 50_000

# Beyond that many categories one scan with a filter reads less than so many scans merged.
_MERGED_CATEGORIES = 32

# Only a bitmap takes what several indexes know together, and reads a page once. Workers that read pages in parallel
# find others first each time, and the first are counted.
_BY_BITMAP = "SET LOCAL enable_seqscan = off; SET LOCAL enable_indexscan = off; SET LOCAL enable_indexonlyscan = off"
# Without statistics, as right after an import, the planner would rather sort the table on disk than follow the index
# that has the order. Compiling a merge of 32 scans takes longer than most slices.
IN_ORDER = (
    "SET LOCAL enable_seqscan = off; SET LOCAL enable_indexscan = on; SET LOCAL enable_bitmapscan = off;"
    " SET LOCAL enable_sort = off; SET LOCAL jit = off"
)


@dataclass(frozen=True, slots=True)
class Slice:
    """The rows of an export.

    Attributes:
        table: the namespace's.
        conditions: all must hold.
        categories: conditions of which one must hold, each a category's; () where the order is the primary key's.
        positions: of all the rows, in order, where they are few; None where they were not looked up.
        first: the smallest position that there may be; 0 where it isn't known.
        last: the greatest.
        packing: how the server puts rows together; None where it doesn't.
    """

    table: sql.Identifier
    conditions: tuple[sql.Composable, ...]
    categories: tuple[sql.Composable, ...]
    positions: Sequence[int] | None
    first: int
    last: int
    packing: Packing | None = None

    def between(self, first: int, last: int) -> Slice:
        """What of it is between two global positions, both inclusive. Its rows must not have been looked up."""
        return replace(self, first=first, last=last)

    def query(self) -> sql.Composed:
        """The rows, in an order that an index gives."""
        if self.positions is not None:
            found = sql.SQL("global_position = ANY ({}::bigint[])").format(_array(self.positions))
            return self._ordered(found)
        between = sql.SQL("global_position BETWEEN {} AND {}").format(sql.Literal(self.first), sql.Literal(self.last))
        if not self.categories:
            return self._ordered(between, *self.conditions)
        branches = [self._ordered(category, between, *self.conditions) for category in self.categories]
        if len(branches) == 1:
            return branches[0]
        # each branch in the order of the index messages_category, merged by the server (MergeAppend)
        union = sql.SQL(" UNION ALL ").join(sql.SQL("({})").format(branch) for branch in branches)
        return sql.SQL("{} ORDER BY global_position").format(union)

    def packed(self) -> sql.Composed | None:
        """The rows, put together as `packing` has it; None where they aren't."""
        return None if self.packing is None else self.packing.query(self.first, self.last)

    def _ordered(self, *conditions: sql.Composable) -> sql.Composed:
        return sql.SQL("SELECT {} FROM {} WHERE {} ORDER BY global_position").format(
            COLUMNS, self.table, sql.SQL(" AND ").join(conditions)
        )


def choose(connection: Connection, schema: str, selection: Selection, watermark: int) -> Slice:
    """Finds out how the rows of a selection are read best.

    Args:
        connection: in a transaction that is the snapshot of the export; its settings are changed until its end.
        schema: where the namespace lives.
        selection: which messages.
        watermark: the greatest position wanted.
    """
    table = sql.Identifier(schema, "messages")
    last = watermark if selection.to_position is None else min(watermark, selection.to_position)
    first = selection.from_position
    category = sql.SQL("{}(stream_name)").format(sql.Identifier(schema, "category"))
    categories = sorted(set(selection.categories))
    narrowing = _narrowing(schema, selection)
    by_name = _in(category, categories)
    positions: list[int] | None = None
    if narrowing or len(categories) > _MERGED_CATEGORIES:
        conditions = [*narrowing, *by_name, _between(first, last, selection)]
        connection.execute(_BY_BITMAP)
        positions = _positions(connection, table, conditions)
        if positions is None and (selection.since is not None or selection.until is not None):
            first, last = _bounds(connection, table, conditions)
    if not categories and selection.streams:
        # so many messages of these streams are a good part of their categories
        categories = sorted({names.category(stream) for stream in selection.streams})
    connection.execute(IN_ORDER)
    filtered = Slice(table, (*narrowing, *_in(category, categories)), (), positions, first or 0, last)
    if positions is not None:
        return filtered
    if not 0 < len(categories) <= _MERGED_CATEGORIES:
        return _packed(connection, filtered)
    branches = tuple(_equal(category, one) for one in categories)
    merged = Slice(table, tuple(narrowing), branches, None, first or 0, last)
    # categories that have a good part of the table between them are read faster as one scan of it
    return merged if _cost(connection, merged) <= _cost(connection, filtered) else _packed(connection, filtered)


def _packed(connection: Connection, chosen: Slice) -> Slice:
    """The slice, put together by the server where that pays."""
    found = packing.choose(connection, chosen.table, chosen.conditions, chosen.first, chosen.last)
    return chosen if found is None else replace(chosen, packing=found[0], first=found[1])


def _narrowing(schema: str, selection: Selection) -> list[sql.Composable]:
    """The conditions for which there is an index that doesn't have the order."""
    conditions: list[sql.Composable] = [
        *_in(sql.SQL("stream_name"), sorted(set(selection.streams))),
        *_in(sql.SQL("type"), sorted(set(selection.types))),
    ]
    if selection.correlation is not None:
        correlation = sql.SQL("{}(metadata->>'correlationStreamName')").format(sql.Identifier(schema, "category"))
        conditions.append(_equal(correlation, selection.correlation))
    if selection.since is not None:
        conditions.append(sql.SQL("time >= {}").format(_utc(selection.since)))
    if selection.until is not None:
        conditions.append(sql.SQL("time < {}").format(_utc(selection.until)))
    return conditions


def _between(first: int | None, last: int, selection: Selection) -> sql.Composed:
    if first is None and selection.to_position is None:
        # hidden from the primary key, whose bitmap would be that of the whole table
        return sql.SQL("global_position + 0 <= {}").format(sql.Literal(last))
    return sql.SQL("global_position BETWEEN {} AND {}").format(sql.Literal(first or 0), sql.Literal(last))


def _positions(connection: Connection, table: sql.Identifier, conditions: Sequence[sql.Composable]) -> list[int] | None:
    """The positions of all rows that meet the conditions, in order; None where they are too many."""
    found = sql.SQL("SELECT global_position FROM {} WHERE {} LIMIT {}").format(
        table, sql.SQL(" AND ").join(conditions), sql.Literal(_FEW + 1)
    )
    # as one text, which is read faster than so many rows
    query = sql.SQL("SELECT string_agg(global_position::text, ',') FROM ({}) AS found").format(found)
    row = connection.execute(query).fetchone()
    if row is None or row[0] is None:
        return []
    positions = sorted(map(int, row[0].split(",")))
    return None if len(positions) > _FEW else positions


def _bounds(connection: Connection, table: sql.Identifier, conditions: Sequence[sql.Composable]) -> tuple[int, int]:
    """The smallest and the greatest position of the rows that meet the conditions, of which there are some."""
    # + 0 keeps the planner from walking the primary key from either end until a row matches
    query = sql.SQL("SELECT min(global_position + 0), max(global_position + 0) FROM {} WHERE {}").format(
        table, sql.SQL(" AND ").join(conditions)
    )
    row = connection.execute(query).fetchone()
    assert row is not None
    return row[0], row[1]


def _cost(connection: Connection, chosen: Slice) -> float:
    """What the planner thinks that a slice costs."""
    row = connection.execute(sql.SQL("EXPLAIN (FORMAT json) {}").format(chosen.query())).fetchone()
    assert row is not None
    return float((row[0] if isinstance(row[0], list) else json.loads(row[0]))[0]["Plan"]["Total Cost"])


def _in(column: sql.Composable, values: Sequence[str]) -> list[sql.Composable]:
    """The condition that a column has one of some values; none where there are no values."""
    if not values:
        return []
    if len(values) == 1:
        return [_equal(column, values[0])]
    return [sql.SQL("{} = ANY ({}::text[])").format(column, sql.Literal(list(values)))]


def _equal(column: sql.Composable, value: str) -> sql.Composed:
    return sql.SQL("{} = {}").format(column, sql.Literal(value))


def _array(positions: Sequence[int]) -> sql.Literal:
    return sql.Literal("{" + ",".join(map(str, positions)) + "}")


def _utc(moment: datetime) -> sql.Literal:
    return sql.Literal(moment.astimezone(UTC).replace(tzinfo=None))
