"""Messages out of an LMDB environment, as the lines of an export."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from itertools import starmap

from evtool import ndjson, times
from evtool.model import ExportBlock, Selection
from evtool.stores.lmdb import layout
from evtool.stores.lmdb.environment import Transaction
from evtool.stores.lmdb.layout import BY_CATEGORY, MESSAGES, Row
from evtool.stores.lmdb.namespaces import Database

_ROWS = 1000
_BYTES = 1 << 22
"""Of a block: with long messages it has fewer."""
_LOOKED_AT = 20_000
"""Messages that one read transaction looks at."""

# Beyond that many categories one scan with a filter reads less than so many scans merged.
_MERGED_CATEGORIES = 32


def export(database: Database, choice: Choice) -> Iterator[ExportBlock]:
    """The lines of the chosen messages, in global order.

    Each block is read in a transaction of its own: a long one would keep the map from growing, and the pages that
    writers replace from being used again. It is one snapshot nevertheless, because messages are never changed nor
    removed: those that arrived after the choice was made are left out.
    """
    position = 1
    while position:
        with database.reading() as transaction:
            rows, position = choice.read(transaction, position)
        if rows:
            yield ExportBlock("".join(starmap(ndjson.line, rows)).encode(), len(rows), rows[-1][4])


class Choice:
    """The messages to export, as of the transaction that it was made in."""

    def __init__(self, transaction: Transaction, selection: Selection) -> None:
        self._arrivals = layout.arrivals(transaction)
        self._since = None if selection.since is None else times.render(selection.since).encode()
        self._until = None if selection.until is None else times.render(selection.until).encode()
        names = sorted(set(selection.categories))
        self._some = bool(names)
        self._names = {name.encode() for name in names} if len(names) > _MERGED_CATEGORIES else None
        found = [layout.find_category(transaction, name) for name in names]
        self._categories = [number for number in found if number is not None]

    def read(self, transaction: Transaction, position: int) -> tuple[list[Row], int]:
        """Some messages from a global position on, and the position to go on from; 0 at the end."""
        rows: list[Row] = []
        size = 0
        filtered = self._since is not None or self._until is not None or self._names is not None
        for looked_at, (key, value) in enumerate(self._all(transaction, position)):
            if size > _BYTES or len(rows) == _ROWS or looked_at == _LOOKED_AT:
                return rows, layout.unnumber(key)
            if layout.arrival_of(value) <= self._arrivals and (not filtered or self._has(value)):
                rows.append(layout.unpack(key, value))
                size += len(value)
        return rows, 0

    def _all(self, transaction: Transaction, position: int) -> Iterator[tuple[bytes, bytes]]:
        """Messages in global order, of the categories if they are few."""
        if not self._some or self._names is not None:
            yield from layout.entries(transaction, MESSAGES, position)
            return
        found = (layout.entries(transaction, BY_CATEGORY + number, position) for number in self._categories)
        for key, _ in heapq.merge(*found):
            yield key, layout.find_message(transaction, key)

    def _has(self, value: bytes) -> bool:
        time = layout.time_of(value)
        if (self._since is not None and time < self._since) or (self._until is not None and time >= self._until):
            return False
        return self._names is None or layout.stream_of(value).split(b"-", 1)[0] in self._names
