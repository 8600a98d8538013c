"""Messages into a SQLite database, at the positions that they bring.

An empty namespace is loaded without its indexes, which are built afterwards in the same transaction: sorted and at
once, instead of row by row at random places. That is half again as fast. Which line a duplicate stands in is then found
by counting, for as long as the lines come in ascending order, as exports do; from the first that doesn't on, the
indexes are there.
"""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterable, Iterator
from typing import Any

from evtool import contract, json_values
from evtool.errors import ImportRefused
from evtool.imports import ImportSummary
from evtool.ndjson import Record

_INSERT = """
    INSERT INTO messages (global_position, position, time, stream_name, type, data, metadata, id, correlation)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_ANY = "SELECT 1 FROM messages LIMIT 1"
_DROP_INDEXES = ("DROP INDEX messages_id", "DROP INDEX messages_stream", "DROP INDEX messages_category")
_INDEXES = "SELECT sql FROM sqlite_master WHERE type = 'index' AND tbl_name = 'messages' AND sql IS NOT NULL"

# Which constraint a record clashes with, in the order in which PostgreSQL looks.
_CLASHES = (
    (
        "POSITION_EXISTS",
        "SELECT 1 FROM messages WHERE global_position = :gpos",
        "global position {gpos} already exists",
    ),
    ("ID_EXISTS", "SELECT 1 FROM messages WHERE id = :id", "a message with the id {id} already exists"),
    (
        "STREAM_POSITION_EXISTS",
        "SELECT 1 FROM messages WHERE stream_name = :stream AND position = :pos",
        "stream and position ({stream}, {pos}) already exist",
    ),
)
_VALUES = {"POSITION_EXISTS": "{gpos}", "ID_EXISTS": "{id}", "STREAM_POSITION_EXISTS": "{stream}, {pos}"}
_HINT = "the file or the namespace has it already; import into an empty namespace"

# The first message, in the order of the lines, whose key an earlier one has.
_FIRST_REPEATED = {
    "ID_EXISTS": "id",
    "STREAM_POSITION_EXISTS": "stream_name, position",
}
_REPEATED = """
    SELECT global_position, id, stream_name, position, (SELECT count(*) FROM messages o
      WHERE o.global_position <= m.global_position)
    FROM messages m
    WHERE global_position = (
      SELECT min(global_position) FROM (
        SELECT global_position, row_number() OVER (PARTITION BY {key} ORDER BY global_position) AS number FROM messages
      ) WHERE number > 1
    )
"""


def import_batch(connection: sqlite3.Connection, records: Iterable[Record]) -> ImportSummary:
    """Inserts records at their positions, inside the caller's transaction.

    Raises:
        ImportRefused: a record clashes, or holds what no store takes.
    """
    rows = _Rows(records)
    if connection.execute(_ANY).fetchone() is None:
        _load_without_indexes(connection, rows)
    _load(connection, rows)
    return ImportSummary(rows.count, rows.greatest or None)


def _load(connection: sqlite3.Connection, rows: _Rows) -> None:
    try:
        connection.executemany(_INSERT, rows.all())
    except sqlite3.IntegrityError as error:
        raise rows.clash(connection) from error


def _load_without_indexes(connection: sqlite3.Connection, rows: _Rows) -> None:
    indexes = connection.execute(_INDEXES).fetchall()
    for drop in _DROP_INDEXES:
        connection.execute(drop)
    try:
        connection.executemany(_INSERT, rows.ascending())
    except ImportRefused as error:
        # a duplicate in an earlier line is the first fault of the file
        raise _first_repeated(connection) or error from error
    try:
        for (statement,) in indexes:
            connection.execute(statement)
    except sqlite3.IntegrityError as error:
        found = _first_repeated(connection)
        if found is None:
            raise
        raise found from error


def _first_repeated(connection: sqlite3.Connection) -> ImportRefused | None:
    """The first line, of lines that came in ascending order, whose id or stream position an earlier line has."""
    found = []
    for code, key in _FIRST_REPEATED.items():
        row = connection.execute(_REPEATED.format(key=key)).fetchone()
        if row is not None:
            found.append((row[4], code, row))
    if not found:
        return None
    line, code, (_, id_, stream, position, _) = min(found)
    facts = {"gpos": None, "id": id_, "stream": stream, "pos": position}
    return _clash(code, facts, line)


def _clash(code: str, facts: dict[str, Any], line: int) -> ImportRefused:
    text = next(text for known, _, text in _CLASHES if known == code)
    return ImportRefused(code, text.format(**facts), line=line, value=_VALUES[code].format(**facts), hint=_HINT)


class _Rows:
    """Records as rows; knows the last one that was asked for, and so which one SQLite has refused."""

    def __init__(self, records: Iterable[Record]) -> None:
        self._records = iter(records)
        self._last: Record | None = None
        self._held: Record | None = None
        self.count = 0
        self.greatest = 0

    def ascending(self) -> Iterator[tuple[Any, ...]]:
        """The rows up to the first whose global position is not above the one before it."""
        return self._rows(self._records, ascending=True)

    def all(self) -> Iterator[tuple[Any, ...]]:
        """The rows that are left."""
        held = () if self._held is None else (self._held,)
        return self._rows(itertools.chain(held, self._records), ascending=False)

    def _rows(self, records: Iterable[Record], *, ascending: bool) -> Iterator[tuple[Any, ...]]:
        problem, correlation_of = json_values.problem, contract.correlation_of
        for record in records:
            gpos = record.gpos
            if gpos > self.greatest:
                self.greatest = gpos
            elif ascending:
                self._held = record
                return
            self._last = record
            self.count += 1
            data, meta = bytes(record.data), bytes(record.meta)
            found = problem(data) or (None if meta == b"null" else problem(meta))
            if found is not None:
                raise ImportRefused("INVALID_JSON", f"data or meta {found}", line=self.count)
            yield (
                gpos,
                record.pos,
                record.time,
                record.stream,
                record.type,
                None if data == b"null" else data.decode(),
                None if meta == b"null" else meta.decode(),
                record.id.lower(),
                correlation_of(meta) if meta != b"null" else None,
            )

    def clash(self, connection: sqlite3.Connection) -> ImportRefused:
        """Why the last row was refused."""
        record = self._last
        assert record is not None
        facts = {"gpos": record.gpos, "id": record.id.lower(), "stream": record.stream, "pos": record.pos}
        for code, query, _ in _CLASHES:
            if connection.execute(query, facts).fetchone() is not None:
                return _clash(code, facts, self.count)
        return ImportRefused("IMPORT_FAILED", "the record breaks a rule of the table", line=self.count)
