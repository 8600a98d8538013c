"""Messages into an LMDB environment, at the positions that they bring.

Each kind of key is put many at a time. That a key was there already is told by their count; which one it was, and so
the line, is found out afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise, starmap
from operator import lt

from evtool import contract, json_values
from evtool.errors import ImportRefused
from evtool.imports import ImportSummary
from evtool.ndjson import Record
from evtool.stores.lmdb import layout
from evtool.stores.lmdb.environment import Transaction
from evtool.stores.lmdb.layout import IDS, MESSAGES, NUMBER, Writer

_ROWS = 1000
_BYTES = 1 << 22
_STREAMS = 20_000
"""Streams that are kept in memory."""

_TEXTS = {
    "POSITION_EXISTS": "global position {gpos} already exists",
    "ID_EXISTS": "a message with the id {id} already exists",
    "STREAM_POSITION_EXISTS": "stream and position ({stream}, {pos}) already exist",
}
_VALUES = {"POSITION_EXISTS": "{gpos}", "ID_EXISTS": "{id}", "STREAM_POSITION_EXISTS": "{stream}, {pos}"}


def import_batch(transaction: Transaction, records: Iterable[Record]) -> ImportSummary:
    """Puts records at their positions, inside the caller's transaction.

    Raises:
        ImportRefused: a record clashes, or holds what no store takes.
    """
    writer = Writer(transaction)
    chunk = _Chunk(transaction)
    before = writer.arrivals
    try:
        greatest = _put(writer, chunk, records)
    except ImportRefused:
        # a line before that one may clash
        chunk.flush()
        raise
    chunk.flush()
    writer.flush()
    return ImportSummary(writer.arrivals - before, greatest or None)


def _put(writer: Writer, chunk: _Chunk, records: Iterable[Record]) -> int:
    """Puts records, the last ones not yet; returns the greatest global position. The hottest loop of all."""
    stream_of, pack, problem = writer.streams.get, layout.pack, json_values.problem
    add_key, add_message, add_id = chunk.keys.append, chunk.messages.append, chunk.ids.append
    add_position, add_to_category, add_entry = chunk.positions.append, chunk.by_category.append, chunk.entries.append
    arrival, greatest, size = writer.arrivals, 0, 0
    for line, record in enumerate(records, 1):
        position, global_position, id_ = record.pos, record.gpos, record.id.lower()
        data, meta = bytes(record.data), bytes(record.meta)
        found = problem(data) or problem(meta)
        if found is not None:
            raise ImportRefused("INVALID_JSON", f"data or meta {found}", line=line)
        if data == b"null":
            data = b""
        entry = layout.NO_CORRELATION
        if meta == b"null":
            meta = b""
        elif b"correlationStreamName" in meta or b"\\u" in meta:
            # the key may be written with an escape
            entry = layout.correlation_entry(contract.correlation_of(meta))
        stream = stream_of(record.stream) or writer.stream(record.stream)
        stream.category.messages += 1
        stream.version = max(stream.version, position)
        greatest = max(greatest, global_position)
        arrival += 1
        key = global_position.to_bytes(NUMBER, "big")
        value = pack(arrival, id_, record.time, stream.name, record.type.encode(), position, data, meta)
        add_key(key)
        add_message(value)
        add_id(IDS + bytes.fromhex(id_.replace("-", "")))
        add_position(stream.positions + position.to_bytes(NUMBER, "big"))
        add_to_category(stream.by_category + key)
        add_entry(stream.hash + entry)
        size += len(value)
        if not line % _ROWS or size > _BYTES:
            chunk.flush()
            size = 0
            if len(writer.streams) > _STREAMS:
                writer.flush()
    writer.arrivals = arrival
    return greatest


class _Chunk:
    """What is put together: keys, and what stands under them.

    Attributes:
        keys: the global positions of messages; what ids and positions lead to.
        messages: under the keys.
        ids: keys.
        positions: keys.
        by_category: keys.
        entries: under those.
    """

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction
        self._last = layout.number(layout.last_position(transaction))
        # one for each kind of key, because a cursor finds a key near its last one sooner
        self._cursors = [transaction.cursor() for _ in range(4)]
        self._lines = 0
        self.keys: list[bytes] = []
        self.messages: list[bytes] = []
        self.ids: list[bytes] = []
        self.positions: list[bytes] = []
        self.by_category: list[bytes] = []
        self.entries: list[bytes] = []

    def flush(self) -> None:
        """Puts them.

        Raises:
            ImportRefused: what a record brings is there already, from the file or from before it.
        """
        count = len(self.keys)
        if not count:
            return
        messages, ids, positions, by_category = self._cursors
        keys = [MESSAGES + key for key in self.keys]
        # in ascending order, pages are filled to their end
        ascending = self.keys[0] > self._last and all(starmap(lt, pairwise(self.keys)))
        put = [
            messages.putmulti(zip(keys, self.messages, strict=True), overwrite=False, append=ascending),
            ids.putmulti(zip(self.ids, self.keys, strict=True), overwrite=False),
            positions.putmulti(zip(self.positions, self.keys, strict=True), overwrite=False),
        ]
        if any(added != count for _, added in put):
            raise self._clash()
        by_category.putmulti(zip(self.by_category, self.entries, strict=True))
        self._last = max(self._last, *self.keys)
        self._lines += count
        for column in (self.keys, self.messages, self.ids, self.positions, self.by_category, self.entries):
            column.clear()

    def _clash(self) -> ImportRefused:
        """Why a record was refused: the first whose value isn't what stands under its key, PostgreSQL's order kept."""
        get = self._transaction.get
        # messages differ in their arrival at the least, and what stands under an id or a position is a global position
        rows = zip(self.keys, self.messages, self.ids, self.positions, strict=True)
        for line, (key, value, id_, position) in enumerate(rows, self._lines + 1):
            code = None
            if get(MESSAGES + key) != value:
                code = "POSITION_EXISTS"
            elif get(id_) != key:
                code = "ID_EXISTS"
            elif get(position) != key:
                code = "STREAM_POSITION_EXISTS"
            if code is not None:
                row = layout.unpack(key, value)
                facts = {"gpos": row[4], "id": row[0], "stream": row[1], "pos": row[3]}
                return ImportRefused(
                    code,
                    _TEXTS[code].format(**facts),
                    line=line,
                    value=_VALUES[code].format(**facts),
                    hint="the file or the namespace has it already; import into an empty namespace",
                )
        return ImportRefused("IMPORT_FAILED", "the records break a rule of the store", line=self._lines + 1)
