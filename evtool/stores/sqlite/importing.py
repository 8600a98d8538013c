"""Messages into a SQLite database, at the positions that they bring.

An empty namespace is loaded without its indexes, which are built afterwards in the same transaction: sorted and at
once, instead of row by row at random places. That is half again as fast. Which line a duplicate stands in is then found
by counting, for as long as the lines come in ascending order, as exports do; from the first that doesn't on, the
indexes are there.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import pairwise, starmap
from operator import length_hint, lt
from typing import Any

from evtool import clashes, times
from evtool.chunks import Chunk, chunks, texts
from evtool.clashes import ID_EXISTS, POSITION_EXISTS, STREAM_POSITION_EXISTS, Stored
from evtool.errors import ImportRefused
from evtool.imports import ImportPlan, ImportSummary, OnConflict
from evtool.model import MAX_POSITION
from evtool.ndjson import Record

_log = logging.getLogger(__name__)

INSERT = """
    INSERT INTO messages (global_position, position, time, stream_name, type, data, metadata, id, correlation)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_COLUMNS = 9
# Rows that one statement inserts, from many to few: what SQLite and Python do once for a statement is a third of all
# that a row takes. With 999 values every build of SQLite is content.
_INSERTS = {size: INSERT + f", ({', '.join('?' * _COLUMNS)})" * (size - 1) for size in (100, 10)}
_ANY = "SELECT 1 FROM messages LIMIT 1"
LAST_USED = """
    SELECT max(
      coalesce((SELECT max(global_position) FROM messages), 0),
      coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'messages'), 0)
    )
"""
"""The greatest global position that there ever was, be it of a message that was replaced."""

# in the table in which SQLite keeps the last numbers of `imports`
_FORGET_LAST_USED = "DELETE FROM sqlite_sequence WHERE name = 'messages'"
_KEEP_LAST_USED = "INSERT INTO sqlite_sequence (name, seq) VALUES ('messages', ?)"
_DELETE = "DELETE FROM messages"
_DROP_INDEXES = ("DROP INDEX messages_id", "DROP INDEX messages_stream", "DROP INDEX messages_category")
_INDEXES = "SELECT sql FROM sqlite_master WHERE type = 'index' AND tbl_name = 'messages' AND sql IS NOT NULL"
_RECORD = """
    INSERT INTO imports (imported_at, source, fingerprint, options, last_line, imported, skipped, first_position,
      last_position, replaced, complete)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""

# Which constraint a record clashes with, in the order in which PostgreSQL looks.
_STORED = "SELECT id, stream_name, type, position, global_position, data, metadata, time FROM messages WHERE "
_CLASHES = {
    POSITION_EXISTS: _STORED + "global_position = :gpos",
    ID_EXISTS: _STORED + "id = :id",
    STREAM_POSITION_EXISTS: _STORED + "stream_name = :stream AND position = :pos",
}

# The first message, in the order of the lines, whose key an earlier one has.
_FIRST_REPEATED = {
    ID_EXISTS: "id",
    STREAM_POSITION_EXISTS: "stream_name, position",
}
_REPEATED = """
    SELECT (SELECT count(*) FROM messages o WHERE o.global_position <= m.global_position), id, stream_name, type,
      position, global_position, data, metadata, time
    FROM messages m
    WHERE global_position = (
      SELECT min(global_position) FROM (
        SELECT global_position, row_number() OVER (PARTITION BY {key} ORDER BY global_position) AS number FROM messages
      ) WHERE number > 1
    )
"""


def import_batch(connection: sqlite3.Connection, records: Iterable[Record], plan: ImportPlan) -> ImportSummary:
    """Inserts records at their positions, inside the caller's transaction, and puts that on record.

    Raises:
        ImportRefused: a record clashes, or holds what no store takes.
    """
    if not plan.dry_run:
        return _import_batch(connection, records, plan)
    connection.execute("SAVEPOINT dry_run")
    try:
        return _import_batch(connection, records, plan)
    finally:
        connection.execute("ROLLBACK TO dry_run")


def _import_batch(connection: sqlite3.Connection, records: Iterable[Record], plan: ImportPlan) -> ImportSummary:
    batch = _Batch(connection, plan)
    if plan.replace:
        _log.info("loading without indexes: everything in the namespace is replaced")
        last_used = connection.execute(LAST_USED).fetchone()
        connection.execute(_FORGET_LAST_USED)
        connection.execute(_KEEP_LAST_USED, last_used)
        # without indexes the table is emptied at once
        batch.drop_indexes()
        connection.execute(_DELETE)
    elif connection.execute(_ANY).fetchone() is None:
        _log.info("loading without indexes: the namespace is empty")
        batch.drop_indexes()
    else:
        _log.info("loading into the indexes: the namespace has messages")
    for chunk in chunks(records, plan.first_line):
        if batch.has_no_indexes and not batch.ascends(chunk):
            _log.info("building the indexes now: from here on, lines are not in global order")
            batch.build_indexes()
        batch.put(chunk)
    batch.build_indexes()
    batch.record()
    return batch.summary()


class _Batch:
    """What is being imported, and how far it came."""

    def __init__(self, connection: sqlite3.Connection, plan: ImportPlan) -> None:
        self._connection = connection
        self._plan = plan
        self._skip = plan.on_conflict is OnConflict.SKIP
        # what builds the indexes that were dropped
        self._dropped: list[str] = []
        self._imported = 0
        self._skipped = 0
        self._smallest: int | None = None
        self._greatest: int | None = None

    def drop_indexes(self) -> None:
        """Drops the indexes of a table that is empty, or about to be."""
        self._dropped = [statement for (statement,) in self._connection.execute(_INDEXES)]
        for drop in _DROP_INDEXES:
            self._connection.execute(drop)

    @property
    def has_no_indexes(self) -> bool:
        """Whether they are still to be built."""
        return bool(self._dropped)

    def ascends(self, chunk: Chunk) -> bool:
        """Whether the global positions of a chunk go on above those before it, each above the last."""
        positions = chunk.global_positions
        if not positions:
            return True
        return positions[0] > (self._greatest or 0) and all(starmap(lt, pairwise(positions)))

    def put(self, chunk: Chunk) -> None:
        """Inserts a chunk, all but what is to be skipped.

        Raises:
            ImportRefused: a record clashes, or the chunk ends in a fault.
        """
        if self._skip and not self._dropped:
            count = len(chunk.records)
            chunk = chunk.missing(self._there(chunk))
            self._skipped += count - len(chunk.records)
        if self._dropped:
            self._insert_together(chunk)
        else:
            self._insert(chunk)
        if chunk.fault is not None:
            # a duplicate in an earlier line is the first fault of the file
            raise self.first_repeated() or chunk.fault
        if chunk.records:
            self._imported += len(chunk.records)
            self._smallest = min(self._smallest or MAX_POSITION, *chunk.global_positions)
            self._greatest = max(self._greatest or 0, *chunk.global_positions)

    def _insert(self, chunk: Chunk) -> None:
        """Inserts a chunk row by row, which tells the one that clashes."""
        count = len(chunk.records)
        left = iter(list(zip(*_columns(chunk), strict=True)))
        try:
            self._connection.executemany(INSERT, left)
        except sqlite3.IntegrityError as error:
            raise self._clash(chunk, count - length_hint(left) - 1) from error

    def _insert_together(self, chunk: Chunk) -> None:
        """Inserts a chunk many rows at a time. Without indexes, and in ascending order, no row can clash."""
        values: list[Any] = [None] * (_COLUMNS * len(chunk.records))
        for number, column in enumerate(_columns(chunk)):
            values[number::_COLUMNS] = column
        start = 0
        for size, statement in (*_INSERTS.items(), (1, INSERT)):
            step = size * _COLUMNS
            for at in range(start, len(values) - step + 1, step):
                self._connection.execute(statement, values[at : at + step])
                start = at + step

    def build_indexes(self) -> None:
        """Builds the indexes that were dropped, if they were."""
        try:
            for statement in self._dropped:
                self._connection.execute(statement)
        except sqlite3.IntegrityError as error:
            found = self.first_repeated()
            if found is None:
                raise
            raise found from error
        self._dropped = []

    def first_repeated(self) -> ImportRefused | None:
        """The first line whose id or stream position an earlier line has.

        For lines that came in ascending order, while the indexes are dropped; else there is none.
        """
        if not self._dropped:
            return None
        found = []
        for code, key in _FIRST_REPEATED.items():
            row = self._connection.execute(_REPEATED.format(key=key)).fetchone()
            if row is not None:
                found.append((row[0], code, row[1:]))
        if not found:
            return None
        number, code, row = min(found, key=lambda one: one[0])
        return self._refusal(code, Stored(*row), self._plan.first_line + number - 1)

    def record(self) -> None:
        """Puts the batch on record."""
        plan = self._plan
        last_line = plan.first_line - 1 + self._imported + self._skipped
        now = times.render(datetime.now(UTC))
        done = (self._imported, self._skipped, self._smallest, self._greatest)
        self._connection.execute(
            _RECORD,
            (now, plan.source, plan.fingerprint, plan.options, last_line, *done, plan.replace, plan.complete),
        )

    def summary(self) -> ImportSummary:
        """What it did."""
        return ImportSummary(self._imported, self._greatest, self._skipped)

    def _there(self, chunk: Chunk) -> dict[int, Stored]:
        """The messages at a chunk's global positions."""
        marks = ", ".join("?" * len(chunk.global_positions))
        rows = self._connection.execute(f"{_STORED} global_position IN ({marks})", chunk.global_positions)
        return {one.gpos: one for one in starmap(Stored, rows)}

    def _clash(self, chunk: Chunk, number: int) -> ImportRefused:
        """Why a record was refused."""
        one, line = Stored.of(chunk.records[number]), chunk.lines[number]
        for code, query in _CLASHES.items():
            if self._connection.execute(query, one._asdict()).fetchone() is not None:
                return self._refusal(code, one, line)
        return ImportRefused("IMPORT_FAILED", "the record breaks a rule of the table", line=line)

    def _refusal(self, code: str, one: Stored, line: int) -> ImportRefused:
        if not self._skip:
            return clashes.refusal(code, one, line)
        rows = self._connection.execute(_CLASHES[code], one._asdict())
        other = next(other for other in starmap(Stored, rows) if other != one)
        return clashes.refusal(code, one, line, clashes.differing(one, other))


def _columns(chunk: Chunk) -> tuple[Sequence[Any], ...]:
    """What is inserted, a column for each of the statement's."""
    return (
        chunk.global_positions, chunk.positions, chunk.times, chunk.streams, chunk.types, texts(chunk.data),
        texts(chunk.meta), chunk.ids, chunk.correlations(),
    )  # fmt: skip
