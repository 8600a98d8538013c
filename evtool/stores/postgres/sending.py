"""The hot path in: records as rows of a COPY, and which record a line of its input belongs to."""

from __future__ import annotations

import bisect
import contextlib
import os
import re
import socket
from array import array
from collections.abc import Iterable, Iterator

import psycopg
from psycopg import sql

from evtool.errors import EvtoolError, ImportRefused
from evtool.ndjson import Raw, Record
from evtool.stores.postgres.connection import Connection
from evtool.stores.postgres.copying import DELIMITER, FORMAT, QUOTE
from evtool.stores.postgres.refusals import refusal

# All but JSON comes first, so that it can be put together as one text.
_COPY = sql.SQL("COPY {} (id, stream_name, type, position, global_position, time, data, metadata) FROM STDIN {}")
# Delimiters in that text; and the parts of a row: the text, JSON, a delimiter, JSON.
_DELIMITERS = 6
_PARTS = 4
_QUOTED = re.compile(r"[\x01\x02\r\n]")
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
        taken: list[Record] = []
        held = 0
        for record in self._until_invalid(records):
            taken.append(record)
            held += len(record.stream) + len(record.type) + len(record.data) + len(record.meta) + _ROW_BYTES
            if held >= _COPY_BYTES:
                yield self._rows(taken)
                taken.clear()
                held = 0
        if taken:
            yield self._rows(taken)

    def _until_invalid(self, records: Iterable[Record]) -> Iterator[Record]:
        # not raised at once: the server may find a fault in one of the lines before, and the first is to be named
        try:
            yield from records
        except EvtoolError as error:
            self.fault = error

    def _record_of(self, line: int) -> int:
        """The number, in this COPY, of the record that a line of its input belongs to."""
        return bisect.bisect_left(range(line), line, key=lambda record: record + bisect.bisect(self._breaks, record))

    def _rows(self, records: list[Record]) -> bytes:
        """Some records as rows, put together at one go: field by field it takes three times as long."""
        size = len(records)
        positions = [record.gpos for record in records]
        self.count += size
        self.least = min(self.least or positions[0], *positions)
        self.greatest = max(self.greatest, *positions)
        # PostgreSQL passes over a zone where the column has none
        heads = [f"{r.id}\x02{r.stream}\x02{r.type}\x02{r.pos}\x02{r.gpos}\x02{r.time}\x02" for r in records]
        # no name holds a NUL; the line break ends the row before
        joined = "\0\n".join(heads).encode()
        if _looks_odd(joined, size):
            self._count_breaks(records)
            names = [(_quote(record.stream), _quote(record.type)) for record in records]
            heads = [
                f"{r.id}\x02{stream}\x02{type_}\x02{r.pos}\x02{r.gpos}\x02{r.time}\x02"
                for r, (stream, type_) in zip(records, names, strict=True)
            ]
            joined = "\0\n".join(heads).encode()
        parts: list[bytes | Raw] = [DELIMITER] * (_PARTS * size)
        parts[::_PARTS] = joined.split(b"\0")
        parts[1::_PARTS] = [record.data for record in records]
        parts[3::_PARTS] = [record.meta for record in records]
        rows = b"".join([*parts, b"\n"])
        if b"\r" in rows:
            # between the tokens of JSON it is space; COPY takes it for the end of a line
            parts[1::_PARTS] = [bytes(record.data).replace(b"\r", b" ") for record in records]
            parts[3::_PARTS] = [bytes(record.meta).replace(b"\r", b" ") for record in records]
            rows = b"".join([*parts, b"\n"])
        return rows

    def _count_breaks(self, records: list[Record]) -> None:
        """Keeps in mind which of the records just counted have line breaks in their names, and how many."""
        first = self.count - self._before - len(records) + 1
        for number, record in enumerate(records, first):
            names = record.stream + record.type
            counted = names.count("\r" if number == 1 else "\n")
            self._breaks.extend([number] * counted)
            if number == 1:
                self._uncounted = names.count("\n") - counted


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


def _looks_odd(joined: bytes, size: int) -> bool:
    """Whether a name must be quoted in one of the texts that rows begin with."""
    return (
        joined.count(DELIMITER) != _DELIMITERS * size
        or joined.count(b"\n") != size - 1
        or b"\r" in joined
        or QUOTE in joined
        or DELIMITER * 2 in joined
        or DELIMITER + b"null" + DELIMITER in joined
    )


def _quote(name: str) -> str:
    """A name as COPY wants it: quoted where it must be."""
    if _QUOTED.search(name) or name in {"", "null"}:
        return "\x01" + name.replace("\x01", "\x01\x01") + "\x01"
    return name
