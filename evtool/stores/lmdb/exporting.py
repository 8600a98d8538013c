"""Messages out of an LMDB environment, as the lines of an export."""

from __future__ import annotations

import bisect
import heapq
import re
from collections.abc import Iterator, Sequence
from typing import Any

from evtool import names, ndjson, times
from evtool.errors import StoreError
from evtool.model import MAX_POSITION, ExportBlock, Selection
from evtool.stores.lmdb import layout, messages, recording
from evtool.stores.lmdb.environment import Transaction
from evtool.stores.lmdb.layout import BY_CATEGORY, MESSAGES, POSITIONS
from evtool.stores.lmdb.namespaces import Database

_ROWS = 1000
_BYTES = 1 << 22
"""Of a block: with long messages it has fewer."""
# A line of its parts, as `messages.parts` has them.
_LINE = b'{"id":"%b","stream":"%b","type":"%b","pos":%d,"gpos":%d,"data":%b,"meta":%b,"time":"%b"}\n'
_PARTS = 8
_STREAM, _TYPE, _GLOBAL_POSITION = 1, 2, 4
_PLAIN = re.compile(rb'[^\x00-\x1f"\\]*')

_LOOKED_AT = 20_000
"""Messages that one read transaction looks at."""

# Beyond that many categories one scan with a filter reads less than so many scans merged.
_MERGED_CATEGORIES = 32
# As many positions as are held in memory to be looked up one by one.
_FEW = 50_000


def begin(database: Database, selection: Selection, watermark: int | None) -> Iterator[ExportBlock]:
    """Chooses messages, and reads the first of them in the same transaction; the others as they are asked for.

    Each further block is read in a transaction of its own: a long one would keep the map from growing, and the pages
    that writers replace from being used again. It is one snapshot nevertheless, because messages are never changed:
    those that arrived after the choice was made are left out, and where all are replaced at once, the export ends.

    Returns:
        the lines of the chosen messages, in global order.

    Raises:
        NamespaceNotFound, NotMigrated, Moved: the environment is gone, or its messages have moved; so may a later
            block, of messages that were chosen.
        StoreError: from a later block: an import with `replace` has removed the messages meanwhile.
    """
    with database.reading() as transaction:
        choice = Choice(transaction, selection, watermark)
        parts, position = choice.read(transaction, choice.first)
    return _blocks(database, choice, parts, position)


def _blocks(database: Database, choice: Choice, parts: list[Any], position: int) -> Iterator[ExportBlock]:
    while True:
        if parts:
            count = len(parts) // _PARTS
            yield ExportBlock(_lines(parts), count, parts[_GLOBAL_POSITION - _PARTS])
        if not position:
            return
        with database.reading() as transaction:
            parts, position = choice.read(transaction, position)


def _lines(parts: list[Any]) -> bytes:
    """The lines that messages' parts make."""
    names = b"".join(parts[_STREAM::_PARTS] + parts[_TYPE::_PARTS])
    if not _PLAIN.fullmatch(names):
        for column in (_STREAM, _TYPE):
            names_of = parts[column::_PARTS]
            parts[column::_PARTS] = [ndjson.quoted(name.decode())[1:-1].encode() for name in names_of]
    return _LINE * (len(parts) // _PARTS) % tuple(parts)


class Choice:
    """The messages to export, as of the transaction that it was made in.

    Attributes:
        first: the first position to read from.
    """

    def __init__(self, transaction: Transaction, selection: Selection, watermark: int | None) -> None:
        self._arrivals = layout.arrivals(transaction)
        self._imports = recording.last(transaction)
        # 0 is the position of no message, and says the end
        self.first = max(selection.from_position or 0, 1)
        last = min(MAX_POSITION if bound is None else bound for bound in (watermark, selection.to_position))
        self._last = layout.number(last)
        self._since = None if selection.since is None else times.render(selection.since).encode()
        self._until = None if selection.until is None else times.render(selection.until).encode()
        self._types = {name.encode() for name in selection.types}
        self._streams = {name.encode() for name in selection.streams}
        self._correlation = None if selection.correlation is None else layout.correlation_entry(selection.correlation)
        chosen = {name.encode() for name in selection.categories}
        self._positions = self._few(transaction, sorted(set(selection.streams)))
        if self._streams and self._positions is None and not chosen:
            # so many messages of these streams are a good part of their categories
            chosen = {names.category(name).encode() for name in selection.streams}
        self._names = chosen
        # only the entries of categories tell of correlations
        self._merged = self._correlation is not None or 0 < len(chosen) <= _MERGED_CATEGORIES
        self._categories: list[bytes] = []
        if self._merged and self._positions is None:
            wanted = [name.decode() for name in sorted(chosen)] or layout.category_names(transaction)
            found = [layout.find_category(transaction, name) for name in wanted]
            self._categories = [number for number in found if number is not None]

    def read(self, transaction: Transaction, position: int) -> tuple[list[Any], int]:
        """Parts of some messages from a global position on, in a row, and the position to go on from; 0 at the end."""
        self._check(transaction)
        parts: list[Any] = []
        size = 0
        for looked_at, (key, value) in enumerate(self._all(transaction, position)):
            if key > self._last:
                break
            if size > _BYTES or len(parts) == _PARTS * _ROWS or looked_at == _LOOKED_AT:
                return parts, layout.unnumber(key)
            if value is not None and messages.arrival_of(value) <= self._arrivals and self._has(value):
                parts += messages.parts(key, value)
                size += len(value)
        return parts, 0

    def _all(self, transaction: Transaction, position: int) -> Iterator[tuple[bytes, bytes | None]]:
        """Messages in global order, by the index that knows most; None for one that the index leaves out."""
        if self._positions is not None:
            for key in self._positions[bisect.bisect_left(self._positions, layout.number(position)) :]:
                value = layout.find_message(transaction, key)
                yield key, value if self._is_correlated(transaction, key, value) else None
        elif self._merged:
            found = (layout.entries(transaction, BY_CATEGORY + number, position) for number in self._categories)
            for key, entry in heapq.merge(*found):
                correlated = self._correlation is None or layout.is_correlated(entry, self._correlation)
                yield key, layout.find_message(transaction, key) if correlated else None
        else:
            yield from layout.entries(transaction, MESSAGES, position)

    def _is_correlated(self, transaction: Transaction, key: bytes, value: bytes) -> bool:
        if self._correlation is None:
            return True
        number = layout.find_category(transaction, names.category(messages.stream_of(value).decode()))
        assert number is not None
        entry = transaction.get(BY_CATEGORY + number + key)
        return entry is not None and layout.is_correlated(entry, self._correlation)

    def _few(self, transaction: Transaction, streams: Sequence[str]) -> list[bytes] | None:
        """The global positions of the messages of some streams, in order, where they are few."""
        if not streams:
            return None
        positions: list[bytes] = []
        for name in streams:
            found = layout.find_stream(transaction, name)
            if found is None:
                continue
            for _, position in layout.entries(transaction, POSITIONS + found[0]):
                if len(positions) == _FEW:
                    return None
                positions.append(position)
        return sorted(positions)

    def _has(self, value: bytes) -> bool:
        """Whether a message is wanted, by what it says itself."""
        if self._since is not None or self._until is not None:
            time = messages.time_of(value)
            if (self._since is not None and time < self._since) or (self._until is not None and time >= self._until):
                return False
        if self._types and messages.type_of(value) not in self._types:
            return False
        if not self._streams and not self._names:
            return True
        stream = messages.stream_of(value)
        if self._streams and stream not in self._streams:
            return False
        return not self._names or stream.split(b"-", 1)[0] in self._names

    def _check(self, transaction: Transaction) -> None:
        if any(record.replaced for record in recording.records(transaction, self._imports, None)):
            raise StoreError("all messages of the namespace were replaced during the export", hint="export it again")
