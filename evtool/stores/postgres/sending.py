"""The hot path in: records as rows of a COPY, and which record a line of its input belongs to."""

from __future__ import annotations

import bisect
import contextlib
import os
import re
import socket
from array import array
from collections.abc import Iterable, Iterator
from typing import Any

import psycopg
from psycopg import sql

from evtool.errors import EvtoolError, ImportRefused
from evtool.ndjson import Record
from evtool.stores.postgres.connection import Connection
from evtool.stores.postgres.copying import COLUMNS, DATA, FORMAT, META, POSITION, QUOTE, STREAM, TYPE
from evtool.stores.postgres.refusals import refusal

_COPY = sql.SQL("COPY {} (id, stream_name, type, position, global_position, data, metadata, time) FROM STDIN {}")
_ROW = b"%b\x02%b\x02%b\x02%d\x02%d\x02%b\x02%b\x02%b\n"
_QUOTED = re.compile(rb"[\x01\x02\r\n]")
_COPY_BYTES = 1 << 16
# What a row has besides names and JSON, about: it only decides how many are sent at once.
_ROW_BYTES = 128
# A part is held until the server has taken it. Each is a subtransaction, and with more than 64 of them, which is a
# gigabyte, the server has to look further for whose they are.
_PART_BYTES = 1 << 24


class Sender:
    """Sends records to a table by COPY, and knows which of them the server refuses.

    Attributes:
        count: how many records were sent.
        least: the smallest global position among them; 0 where there was none.
        greatest: the greatest; 0 where there was none.
        fault: what is wrong with the record behind them; None where they are all.
    """

    def __init__(self, connection: Connection, table: sql.Composable, first_line: int) -> None:
        """Sends nothing yet.

        Args:
            connection: in a transaction.
            table: where to.
            first_line: the number of the first record in its file.
        """
        self.count = 0
        self.least = 0
        self.greatest = 0
        self.fault: EvtoolError | None = None
        self._connection = connection
        self._statement = _COPY.format(table, FORMAT)
        self._first_line = first_line
        # How many records went before this COPY; and the number in it of a record for each line break in its names that
        # PostgreSQL counts as a line. Until it has seen the end of a line it counts \r, and then \n.
        self._before = 0
        self._breaks = array("q")
        self._uncounted = 0

    def send(self, records: Iterable[Record]) -> None:
        """Sends all records, or those before one that can't be read, in a single COPY.

        Raises:
            ImportRefused: the server has found a fault in a record; the transaction is lost.
            psycopg.Error: anything else.
        """
        try:
            with self._copy() as copy, contextlib.closing(_Peek(self._connection)) as peek:
                for rows in self._blocks(records):
                    copy.write(rows)
                    if peek.refused():
                        break
        except psycopg.Error as error:
            raise refusal(error, lambda line: self._record_of(line) + self._first_line - 1) from error

    def send_in_parts(self, records: Iterable[Record]) -> None:
        """Sends all records, or those before a faulty one, be it that it can't be read or that the server refuses it.

        A COPY that fails takes all its rows with it, and what else is wrong with them could not be found out. So they
        go in parts, each of which can be sent again without the record at fault.

        Raises:
            psycopg.Error: something else than a record is at fault.
        """
        blocks = self._blocks(records)
        part = [b""]
        while part:
            part = []
            self._before, self._breaks, self._uncounted = self.count, array("q"), 0
            try:
                with self._connection.transaction():
                    self._send_part(blocks, part)
            except psycopg.Error as error:
                found = refusal(error, lambda line: self._record_of(line) + self._before + self._first_line - 1)
                if not isinstance(found, ImportRefused):
                    raise
                self._send_before(found, part)
                return

    def _send_part(self, blocks: Iterator[bytes], part: list[bytes]) -> None:
        held = 0
        with self._copy() as copy, contextlib.closing(_Peek(self._connection)) as peek:
            for rows in blocks:
                part.append(rows)
                held += len(rows)
                copy.write(rows)
                if held >= _PART_BYTES or peek.refused():
                    return

    def _send_before(self, fault: ImportRefused, part: list[bytes]) -> None:
        """Sends again what is before the record at fault."""
        assert fault.line is not None
        records = fault.line - self._first_line - self._before
        lines = records + bisect.bisect(self._breaks, records) + (self._uncounted if records else 0)
        rows = b"".join(part).split(b"\n", lines)[:lines]
        with self._connection.transaction(), self._copy() as copy:
            copy.write(b"".join(row + b"\n" for row in rows))
        self.count = self._before + records
        self.fault = fault

    @contextlib.contextmanager
    def _copy(self) -> Iterator[psycopg.Copy]:
        with self._connection.cursor() as cursor, cursor.copy(self._statement) as copy:
            yield copy

    def _blocks(self, records: Iterable[Record]) -> Iterator[bytes]:
        """The rows of records, some at a time, up to one that can't be read."""
        fields: list[Any] = []
        held = 0
        for record in self._until_invalid(records):
            fields += (
                record.id.encode(),
                record.stream.encode(),
                record.type.encode(),
                record.pos,
                record.gpos,
                record.data,
                record.meta,
                # without its zone, which PostgreSQL would ignore anyway
                record.time[:-1].encode(),
            )
            held += len(record.stream) + len(record.type) + len(record.data) + len(record.meta) + _ROW_BYTES
            if held >= _COPY_BYTES:
                yield self._rows(fields)
                fields.clear()
                held = 0
        if fields:
            yield self._rows(fields)

    def _until_invalid(self, records: Iterable[Record]) -> Iterator[Record]:
        # not raised at once: the server may find a fault in one of the lines before, and the first is to be named
        try:
            yield from records
        except EvtoolError as error:
            self.fault = error

    def _record_of(self, line: int) -> int:
        """The number, in this COPY, of the record that a line of its input belongs to."""
        return bisect.bisect_left(range(line), line, key=lambda record: record + bisect.bisect(self._breaks, record))

    def _rows(self, fields: list[Any]) -> bytes:
        size = len(fields) // COLUMNS
        positions = fields[POSITION::COLUMNS]
        self.count += size
        self.least = min(self.least or positions[0], *positions)
        self.greatest = max(self.greatest, *positions)
        streams, types = fields[STREAM::COLUMNS], fields[TYPE::COLUMNS]
        names = streams + types
        if _QUOTED.search(b"".join(names)) or b"" in names or b"null" in names:
            first = self.count - self._before - size + 1
            for number, (stream, type_) in enumerate(zip(streams, types, strict=True), first):
                counted = (stream + type_).count(b"\r" if number == 1 else b"\n")
                self._breaks.extend([number] * counted)
                if number == 1:
                    self._uncounted = (stream + type_).count(b"\n") - counted
            fields[STREAM::COLUMNS] = [_quote(name) for name in streams]
            fields[TYPE::COLUMNS] = [_quote(name) for name in types]
        rows = _ROW * size % tuple(fields)
        if b"\r" in rows:
            # between the tokens of JSON it is space; COPY takes it for the end of a line
            for column in (DATA, META):
                fields[column::COLUMNS] = [bytes(value).replace(b"\r", b" ") for value in fields[column::COLUMNS]]
            rows = _ROW * size % tuple(fields)
        return rows


class _Peek:
    """Looks whether the server has answered in the middle of a COPY, so that a huge file isn't sent for nothing.

    libpq reads an error only when the COPY ends. The first byte that waits in the socket tells without taking it:
    E is an ErrorResponse. Under TLS the byte says nothing, and the rest of the file is sent and discarded.
    """

    def __init__(self, connection: Connection) -> None:
        self._socket = socket.socket(fileno=os.dup(connection.pgconn.socket))

    def refused(self) -> bool:
        try:
            return self._socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b"E"
        except OSError:
            return False

    def close(self) -> None:
        self._socket.close()


def _quote(name: bytes) -> bytes:
    """A name as COPY wants it: quoted where it must be."""
    if _QUOTED.search(name) or name in {b"", b"null"}:
        return QUOTE + name.replace(QUOTE, QUOTE * 2) + QUOTE
    return name
