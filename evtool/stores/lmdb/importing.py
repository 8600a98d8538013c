"""Messages into an LMDB environment, at the positions that they bring.

Some that come to a namespace with rows are put in one transaction, each kind of key many at a time. That a key was
there already is told by their count; which one it was, and so the line, is found out afterwards.

Many that come to an empty namespace, or replace what is there, are put into a new environment, see building.py:
messages as they come, what leads to them at the end, sorted, which fills pages one after the other instead of changing
all of them again and again.
"""

from __future__ import annotations

import logging
import struct
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from itertools import chain, islice, pairwise, starmap
from operator import itemgetter, lt

from evtool import clashes
from evtool.chunks import Chunk, chunks
from evtool.clashes import ID_EXISTS, POSITION_EXISTS, STREAM_POSITION_EXISTS, Stored
from evtool.errors import ImportRefused
from evtool.imports import ImportPlan, ImportRecord, ImportSummary, OnConflict
from evtool.model import MAX_POSITION
from evtool.ndjson import Record
from evtool.stores.lmdb import layout, messages, recording
from evtool.stores.lmdb.building import Building
from evtool.stores.lmdb.environment import Transaction
from evtool.stores.lmdb.handle import set_successor
from evtool.stores.lmdb.layout import IDS, MESSAGES, NUMBER, Stream, Writer
from evtool.stores.lmdb.sorting import Sorter

_log = logging.getLogger(__name__)

_STREAMS = 20_000
"""Streams that are kept in memory."""
_FEW = 2
"""Chunks that are not worth a new environment, which takes some milliseconds."""
_COMMIT_BYTES = 1 << 24
"""What is put between two commits into a new environment."""
_PAGE = 1 << 12

_ID_BYTES = 16
_KEY = 1 + _ID_BYTES
"""Bytes of a key of an id, a position or a category."""

# What cuts many values or pairs out of bytes in which they stand one after the other.
_NUMBER_CUT = struct.Struct(f"{NUMBER}s")
_ID_CUT = struct.Struct(f"{_ID_BYTES}s")
_PAIR_CUT = struct.Struct(f"{_KEY}s{NUMBER}s")


def import_batch(
    transaction: Transaction, records: Iterable[Record], plan: ImportPlan, build: Callable[[], Building]
) -> ImportSummary:
    """Puts records at their positions, with the caller's transaction, and puts that on record.

    Args:
        transaction: of the namespace's environment. It may be left with nothing but the name of a successor.
        records: checked.
        plan: how; of a dry run the caller undoes the transaction.
        build: begins a new environment beside it.

    Raises:
        ImportRefused: a record clashes, or holds what no store takes.
    """
    parts = chunks(records, plan.first_line)
    begun = list(islice(parts, _FEW))
    parts = chain(begun, parts)
    empty = not layout.last_position(transaction)
    if not plan.replace and not (empty and len(begun) == _FEW):
        few = "there are few messages" if empty else "the namespace has messages"
        _log.info("loading in one transaction: %s", few)
        return _Batch(transaction, plan).put_all(parts)
    why = "everything in the namespace is replaced" if plan.replace else "the namespace is empty"
    _log.info("loading into a new environment beside the old: %s", why)
    building = build()
    finished = False
    try:
        recording.copy(transaction, building.transaction)
        layout.copy_counters(transaction, building.transaction)
        with closing(_Aside(building, plan)) as batch:
            summary = batch.put_all(parts)
        if not plan.dry_run:
            set_successor(transaction, building.finish())
            finished = True
    finally:
        if not finished:
            building.discard()
    return summary


class _Entries:
    """What is put for the records of a chunk: keys, and what stands under them, a column for each kind.

    Attributes:
        keys: the global positions of messages; what ids and positions lead to.
        messages: under the keys.
        ids: keys.
        positions: keys.
        by_category: keys.
        entries: under those.
    """

    __slots__ = ("by_category", "entries", "ids", "keys", "messages", "positions")

    def __init__(self, chunk: Chunk, streams: list[Stream], arrivals: Iterable[int]) -> None:
        """Makes them."""
        self.keys = _numbers(chunk.global_positions)
        self.messages = messages.pack_all(
            arrivals, chunk.ids, chunk.times, streams, chunk.types, chunk.positions, chunk.data, chunk.meta
        )
        ids = bytes.fromhex("".join(chunk.ids).replace("-", ""))
        self.ids = [IDS + id_ for (id_,) in _ID_CUT.iter_unpack(ids)]
        positions = _numbers(chunk.positions)
        self.positions = [stream.positions + key for stream, key in zip(streams, positions, strict=True)]
        self.by_category = [stream.by_category + key for stream, key in zip(streams, self.keys, strict=True)]
        correlations = chunk.correlations()
        # categories, of which there are few
        known = {name: layout.correlation_entry(name) for name in set(correlations)}
        self.entries = [stream.hash + known[name] for stream, name in zip(streams, correlations, strict=True)]


def _numbers(values: list[int]) -> list[bytes]:
    packed = struct.pack(f">{len(values)}Q", *values)
    return [key for (key,) in _NUMBER_CUT.iter_unpack(packed)]


class _Batch:
    """What is being imported, and how far it came: in one transaction, into an environment that has messages."""

    def __init__(self, transaction: Transaction, plan: ImportPlan) -> None:
        self._transaction = transaction
        self._plan = plan
        self._skip = plan.on_conflict is OnConflict.SKIP
        self._writer = Writer(transaction)
        # of the line before the first
        self._arrival = self._writer.arrivals - plan.first_line + 1
        self._last = layout.last_position(transaction)
        self._ascending = True
        self._imported = 0
        self._skipped = 0
        self._smallest: int | None = None
        self._greatest: int | None = None

    def put_all(self, parts: Iterator[Chunk]) -> ImportSummary:
        """Puts all records, and the record of it."""
        for chunk in parts:
            part = chunk.missing(self._there(chunk)) if self._skip else chunk
            if part.records:
                self._put(part, self._entries(part))
            if part.fault is not None:
                raise self._repeated() or part.fault
            self._imported += len(part.records)
            self._skipped += len(chunk.records) - len(part.records)
            if part.records:
                self._smallest = min(self._smallest or MAX_POSITION, *part.global_positions)
                self._greatest = max(self._greatest or 0, *part.global_positions)
            if len(self._writer.streams) > _STREAMS:
                self._writer.flush()
        self._finish()
        return ImportSummary(self._imported, self._greatest, self._skipped)

    def _put(self, chunk: Chunk, entries: _Entries) -> None:
        """Puts a chunk.

        Raises:
            ImportRefused: what a record brings is there already, from the file or from before it.
        """
        count = len(entries.keys)
        put = [
            self._put_messages(entries),
            self._many(zip(entries.ids, entries.keys, strict=True)),
            self._many(zip(entries.positions, entries.keys, strict=True)),
        ]
        if put != [count] * len(put):
            raise self._clash(chunk, entries)
        self._transaction.cursor().putmulti(zip(entries.by_category, entries.entries, strict=True))

    def _put_messages(self, entries: _Entries) -> int:
        """Puts messages; returns how many weren't there."""
        keys = entries.keys
        last = layout.number(self._last)
        # in ascending order, pages are filled to their end
        self._ascending = keys[0] > last and all(starmap(lt, pairwise(keys)))
        pairs = zip([MESSAGES + key for key in keys], entries.messages, strict=True)
        _, added = self._transaction.cursor().putmulti(pairs, overwrite=False, append=self._ascending)
        self._last = max(self._last, layout.unnumber(max(keys)))
        return added

    def _many(self, pairs: Iterable[tuple[bytes, bytes]]) -> int:
        """Puts what leads to messages; returns how many weren't there. In order, neighbours meet on the same page."""
        # of equal keys the first stays, and it is to be the first line's, wherever that leads
        _, added = self._transaction.cursor().putmulti(sorted(pairs, key=itemgetter(0)), overwrite=False)
        return added

    def _finish(self) -> None:
        """Writes what is left to be written, and the record."""
        plan = self._plan
        self._writer.flush()
        record = ImportRecord(
            recording.last(self._transaction) + 1,
            datetime.now(UTC),
            plan.source,
            plan.fingerprint,
            plan.options,
            plan.first_line - 1 + self._imported + self._skipped,
            self._imported,
            self._skipped,
            self._smallest,
            self._greatest,
            plan.replace,
            plan.complete,
        )
        recording.add(self._transaction, record)

    def _entries(self, chunk: Chunk) -> _Entries:
        """What is put for a chunk; streams and categories learn of it."""
        writer = self._writer
        known = writer.streams.get
        streams = [known(name) or writer.stream(name) for name in chunk.streams]
        for category, count in Counter([stream.category for stream in streams]).items():
            category.messages += count
        for stream, position in zip(streams, chunk.positions, strict=True):
            stream.version = max(stream.version, position)
        # by their lines, so that these can be told from messages; what is skipped leaves gaps, which harm nobody
        arrivals = [self._arrival + line for line in chunk.lines]
        writer.arrivals = arrivals[-1]
        return _Entries(chunk, streams, arrivals)

    def _there(self, chunk: Chunk) -> dict[int, Stored]:
        """The messages at a chunk's global positions."""
        found = (self._stored(key) for key in _numbers(chunk.global_positions))
        return {one.gpos: one for one in found if one is not None}

    def _stored(self, key: bytes | None) -> Stored | None:
        value: bytes | None = None if key is None else self._transaction.get(MESSAGES + key)
        return None if key is None or value is None else Stored(*messages.unpack(key, value))

    def _line(self, key: bytes) -> int:
        """The line of a message that this import has put."""
        value = layout.find_message(self._transaction, key)
        line: int = layout.unnumber(messages.arrival_of(value)) - self._arrival
        return line

    def _clash(self, chunk: Chunk, entries: _Entries) -> ImportRefused:
        """Why a record was refused: the first whose value isn't what stands under its key, PostgreSQL's order kept."""
        get = self._transaction.get
        # messages differ in their arrival at the least, and what stands under an id or a position is a global position
        rows = zip(entries.keys, entries.messages, entries.ids, entries.positions, strict=True)
        for number, (key, value, id_, position) in enumerate(rows):
            if get(MESSAGES + key) != value:
                code, other = POSITION_EXISTS, key
            elif get(id_) != key:
                code, other = ID_EXISTS, get(id_) or key
            elif get(position) != key:
                code, other = STREAM_POSITION_EXISTS, get(position) or key
            else:
                continue
            return self._refusal(code, Stored.of(chunk.records[number]), chunk.lines[number], self._stored(other))
        return ImportRefused("IMPORT_FAILED", "the records break a rule of the store", line=chunk.lines[0])

    def _refusal(self, code: str, one: Stored, line: int, other: Stored | None) -> ImportRefused:
        differs = clashes.differing(one, other) if self._skip and other is not None else None
        return clashes.refusal(code, one, line, differs)

    def _repeated(self) -> ImportRefused | None:
        """The first line that clashes among those that were put without a look; here each was looked at."""
        return None


class _Aside(_Batch):
    """The same for an environment that is new, in many commits."""

    def __init__(self, building: Building, plan: ImportPlan) -> None:
        super().__init__(building.transaction, plan)
        self._building = building
        self._uncommitted = 0
        self._ids = Sorter(building.path)
        self._positions = Sorter(building.path)
        self._by_category = Sorter(building.path)

    def close(self) -> None:
        """Removes what was put aside to be sorted."""
        for sorter in (self._ids, self._positions, self._by_category):
            sorter.close()

    def _put(self, chunk: Chunk, entries: _Entries) -> None:
        count = len(entries.keys)
        if self._put_messages(entries) != count:
            # by its messages alone, which is all that was put
            get = self._transaction.get
            clash = next(n for n in range(count) if get(MESSAGES + entries.keys[n]) != entries.messages[n])
            one = Stored.of(chunk.records[clash])
            fault = self._refusal(POSITION_EXISTS, one, chunk.lines[clash], self._stored(entries.keys[clash]))
            self._sort(entries, clash)
            raise self._repeated() or fault
        self._sort(entries, count)
        # out of order, each may change a page of its own
        self._uncommitted += sum(map(len, entries.messages)) + (0 if self._ascending else count * _PAGE)
        if self._uncommitted > _COMMIT_BYTES:
            self._commit()

    def _sort(self, entries: _Entries, count: int) -> None:
        """Remembers what leads to the first messages of a chunk."""
        some = slice(count)
        self._ids.add(list(map(bytes.__add__, entries.ids[some], entries.keys[some])))
        self._positions.add(list(map(bytes.__add__, entries.positions[some], entries.keys[some])))
        self._by_category.add(list(map(bytes.__add__, entries.by_category[some], entries.entries[some])))

    def _commit(self) -> None:
        self._building.commit()
        self._uncommitted = 0
        self._transaction = self._building.transaction
        self._writer.use(self._transaction)

    def _finish(self) -> None:
        for sorter in (self._by_category, self._positions, self._ids):
            for part in sorter.sorted():
                _, added = self._transaction.cursor().putmulti(_pairs(part), overwrite=False)
                if added != len(part):
                    found = self._repeated()
                    assert found is not None
                    raise found
                self._uncommitted += len(part) * 2 * len(part[0])
                if self._uncommitted > _COMMIT_BYTES:
                    self._commit()
        super()._finish()

    def _repeated(self) -> ImportRefused | None:
        found: list[tuple[int, str, bytes, bytes]] = []
        for code, sorter in ((ID_EXISTS, self._ids), (STREAM_POSITION_EXISTS, self._positions)):
            for key, other in _same_keys(sorter.sorted()):
                first, second = sorted([(self._line(key), key), (self._line(other), other)])
                found = [min([*found, (second[0], code, second[1], first[1])])]
        if not found:
            return None
        line, code, key, other = found[0]
        one = self._stored(key)
        assert one is not None
        return self._refusal(code, one, line, self._stored(other))


def _pairs(entries: list[bytes]) -> Iterable[tuple[bytes, bytes]]:
    """What stands under which key."""
    together = b"".join(entries)
    if len(together) == len(entries) * _PAIR_CUT.size and set(map(len, entries)) == {_PAIR_CUT.size}:
        pairs: Iterable[tuple[bytes, bytes]] = _PAIR_CUT.iter_unpack(together)
        return pairs
    return [(entry[:_KEY], entry[_KEY:]) for entry in entries]


def _same_keys(parts: Iterator[list[bytes]]) -> Iterator[tuple[bytes, bytes]]:
    """What stands under the same key, two at a time."""
    last = b""
    for part in parts:
        for before, entry in pairwise([last, *part]):
            if before[:_KEY] == entry[:_KEY]:
                yield before[_KEY:], entry[_KEY:]
        last = part[-1]
