"""Messages out of a SQLite database, as the lines of an export."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from itertools import starmap
from typing import Any

from evtool import ndjson, times
from evtool.model import ExportBlock, Selection

_ROWS = 1000
_SELECT = "SELECT id, stream_name, type, position, global_position, data, metadata, time FROM messages WHERE "
_ORDER = " ORDER BY global_position"

# Beyond that many categories one scan with a filter reads less than so many scans merged.
_MERGED_CATEGORIES = 32


def export(connection: sqlite3.Connection, selection: Selection) -> Iterator[ExportBlock]:
    """The lines of the chosen messages, in global order; the caller's transaction is the snapshot."""
    query, values = selected(selection)
    cursor = connection.execute(query, values)
    while rows := cursor.fetchmany(_ROWS):
        lines = "".join(starmap(ndjson.line, rows)).encode()
        yield ExportBlock(lines, len(rows), rows[-1][4])


def selected(selection: Selection) -> tuple[str, list[Any]]:
    """The query whose rows are exported, in an order that an index gives, so that nothing is sorted."""
    bounds = ""
    limits: list[Any] = []
    if selection.since is not None:
        bounds += " AND time >= ?"
        limits.append(times.render(selection.since))
    if selection.until is not None:
        bounds += " AND time < ?"
        limits.append(times.render(selection.until))
    categories = sorted(set(selection.categories))
    if not categories:
        return _SELECT + "true" + bounds + _ORDER, limits
    if len(categories) > _MERGED_CATEGORIES:
        marks = ", ".join("?" * len(categories))
        # the + keeps SQLite from the index, whose order would be by category first
        return _SELECT + "+category IN (" + marks + ")" + bounds + _ORDER, [*categories, *limits]
    # each branch in the order of the index messages_category, merged by SQLite
    branch = _SELECT + "category = ?" + bounds
    values = [value for category in categories for value in (category, *limits)]
    return " UNION ALL ".join([branch] * len(categories)) + _ORDER, values
