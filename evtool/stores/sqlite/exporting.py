"""Messages out of a SQLite database, as the lines of an export.

The table is in global order, and so is each category in messages_category. Rows that another index finds, by stream or
by correlation, are looked up by their positions where they are few, and filtered out of one of the two where not.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any

from evtool import names, ndjson, times
from evtool.errors import StoreError
from evtool.model import MAX_POSITION, ExportBlock, Selection

_ROWS = 1000
_STEP = 50
"""Rows that are fetched before their size is looked at."""
_BYTES = 1 << 22
"""Of a block, about: with long messages it has fewer rows."""

# A line, with its newline and with its names as they are, and the names, to tell whether that was right. SQLite puts a
# line together in half of the time that Python takes.
_SELECT = """
    SELECT
      CAST(
        printf(
          '{"id":"%s","stream":"%s","type":"%s","pos":%d,"gpos":%d,"data":%s,"meta":%s,"time":"%s"}
',
          id, stream_name, type, position, global_position, ifnull(data, 'null'), ifnull(metadata, 'null'), time
        )
        AS BLOB
      ),
      stream_name, type, global_position
    FROM messages WHERE
"""
_PLAIN = re.compile(r'[^\x00-\x1f"\\]*')
_ORDER = " ORDER BY global_position"
_POSITIONS = "SELECT global_position FROM messages INDEXED BY {index} WHERE {conditions} LIMIT ?"

# Beyond that many categories one scan with a filter reads less than so many scans merged.
_MERGED_CATEGORIES = 32
# As many positions as are looked up one by one, and as many as go into a query: SQLite may be built for 999 values.
_FEW = 50_000
_LOOKED_UP = 500

_Query = tuple[str, list[Any]]


def export(connection: sqlite3.Connection, selection: Selection, watermark: int | None) -> Iterator[ExportBlock]:
    """The lines of the chosen messages up to a watermark, in global order; the caller's transaction is the snapshot."""
    for query, values in queries(connection, selection, watermark):
        cursor = connection.execute(query, values)
        while block := _block(cursor):
            yield block


def _block(cursor: sqlite3.Cursor) -> ExportBlock | None:
    """The next lines; None at the end.

    Raises:
        StoreError: a message is such that no file could hold it.
    """
    parts: list[bytes] = []
    count = held = last = 0
    # few at a time, which stay in the processor's cache
    while count < _ROWS and held < _BYTES and (rows := cursor.fetchmany(_STEP)):
        lines, streams, types, positions = zip(*rows, strict=True)
        if not _PLAIN.fullmatch("".join(streams + types)):
            lines = tuple(map(_quoted, lines, streams, types))
        parts.append(b"".join(lines))
        held += len(parts[-1])
        count += len(rows)
        last = positions[-1]
    if not parts:
        return None
    block = b"".join(parts)
    try:
        block.decode()
    except UnicodeDecodeError as error:
        raise StoreError(
            f"a message up to the global position {last} holds bytes that are not UTF-8: no other store could hold it",
            hint="it was written around evtool: correct it in the table",
        ) from error
    return ExportBlock(block, count, last)


def _quoted(line: bytes, stream: str, type_: str) -> bytes:
    """A line whose stream's name and type are written as JSON has it."""
    head, middle, tail = line.partition(b'"stream":')
    written = f'"{stream}","type":"{type_}"'.encode()
    right = f'{ndjson.quoted(stream)},"type":{ndjson.quoted(type_)}'.encode()
    return head + middle + right + tail.removeprefix(written)


def queries(connection: sqlite3.Connection, selection: Selection, watermark: int | None) -> Iterator[_Query]:
    """The queries whose rows, one after the other, are exported, in an order that an index gives."""
    last = min(MAX_POSITION if bound is None else bound for bound in (watermark, selection.to_position))
    first = selection.from_position or 0
    categories = sorted(set(selection.categories))
    positions = _positions(connection, selection, categories, first, last)
    if positions is not None:
        for start in range(0, len(positions), _LOOKED_UP):
            some = positions[start : start + _LOOKED_UP]
            yield f"{_SELECT}global_position IN ({_marks(some)}){_ORDER}", some
        return
    if not categories and selection.streams:
        # so many messages of these streams are a good part of their categories
        categories = sorted({names.category(stream) for stream in selection.streams})
    conditions, values = _conditions(selection)
    conditions = ["global_position BETWEEN ? AND ?", *conditions]
    values = [first, last, *values]
    if len(categories) > _MERGED_CATEGORIES:
        # the + keeps SQLite from the index, whose order would be by category first
        conditions.append(f"+category IN ({_marks(categories)})")
        values += categories
        categories = []
    if not categories:
        yield _SELECT + " AND ".join(conditions) + _ORDER, values
        return
    # each branch in the order of the index messages_category, merged by SQLite
    branch = _SELECT + " AND ".join(["category = ?", *conditions])
    merged = [value for category in categories for value in (category, *values)]
    yield " UNION ALL ".join([branch] * len(categories)) + _ORDER, merged


def _positions(
    connection: sqlite3.Connection, selection: Selection, categories: Sequence[str], first: int, last: int
) -> list[int] | None:
    """The positions of all chosen messages, in order; None where they are many, or no other index tells of them."""
    conditions, values = _conditions(selection)
    if selection.streams:
        index = "messages_stream"
    elif selection.correlation is not None and not categories:
        index = "messages_category"
    else:
        return None
    if categories:
        conditions.append(f"+category IN ({_marks(categories)})")
        values += categories
    # hidden from the planner, for whom the range of positions would be worth more than the index
    conditions.append("+global_position BETWEEN ? AND ?")
    query = _POSITIONS.format(index=index, conditions=" AND ".join(conditions))
    found = [position for (position,) in connection.execute(query, [*values, first, last, _FEW + 1])]
    return None if len(found) > _FEW else sorted(found)


def _conditions(selection: Selection) -> tuple[list[str], list[Any]]:
    """What must hold besides the category and the position."""
    conditions: list[str] = []
    values: list[Any] = []
    for column, chosen in (("stream_name", selection.streams), ("type", selection.types)):
        if chosen:
            some = sorted(set(chosen))
            conditions.append(f"{column} IN ({_marks(some)})")
            values += some
    if selection.correlation is not None:
        conditions.append("correlation = ?")
        values.append(selection.correlation)
    if selection.since is not None:
        conditions.append("time >= ?")
        values.append(times.render(selection.since))
    if selection.until is not None:
        conditions.append("time < ?")
        values.append(times.render(selection.until))
    return conditions, values


def _marks(values: Sequence[Any]) -> str:
    return ", ".join("?" * len(values))
