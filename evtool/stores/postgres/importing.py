"""The hot path in: the records of a file, sent by COPY in one transaction; and whose fault it is if one is refused."""

from __future__ import annotations

import bisect
import contextlib
import itertools
import os
import re
import socket
from array import array
from collections.abc import Iterable, Iterator
from typing import Any

import psycopg
from psycopg import sql

from evtool.errors import EvtoolError, ImportRefused
from evtool.imports import ImportSummary
from evtool.ndjson import Record
from evtool.stores.postgres.connection import Connection
from evtool.stores.postgres.copying import COLUMNS, DATA, FORMAT, META, QUOTE, STREAM, TYPE
from evtool.stores.postgres.translation import translate

_ROW = b"%b\x02%b\x02%b\x02%d\x02%d\x02%b\x02%b\x02%b\n"
_QUOTED = re.compile(rb"[\x01\x02\r\n]")
_COPY_BYTES = 1 << 16
# What a row has besides names and JSON, about: it only decides how many are sent at once.
_ROW_BYTES = 128

_SHORT_WAIT = """
    SELECT set_config('lock_timeout', '10s', true) WHERE current_setting('lock_timeout') = '0'
"""


def import_batch(connection: Connection, schema: str, records: Iterable[Record]) -> ImportSummary:
    """Copies records into the table in one transaction, and moves the sequence above them.

    Args:
        connection: in autocommit.
        schema: where the namespace lives.
        records: checked; the n-th is line n.

    Raises:
        ImportRefused: the server found a fault in a record; nothing was imported.
        psycopg.Error: anything else.
    """
    table = sql.Identifier(schema, "messages")
    columns = sql.SQL("COPY {} (id, stream_name, type, position, global_position, data, metadata, time) FROM STDIN {}")
    records = iter(records)
    first = next(records, None)
    if first is None:
        return ImportSummary(0, None)
    with connection.transaction(), connection.cursor() as cursor:
        # Keeps writers out, not readers, until the sequence is above the imported positions: a writer in between would
        # collide with them, or land below what consumers have seen. Whoever waits for a lock makes all writers behind
        # it wait as well, so not for long, unless the role's own lock_timeout says otherwise.
        cursor.execute(_SHORT_WAIT)
        cursor.execute(sql.SQL("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE").format(table))
        sender = _Sender()
        try:
            with cursor.copy(columns.format(table, FORMAT)) as copy, contextlib.closing(_Peek(connection)) as peek:
                sender.send(copy, peek, itertools.chain((first,), records))
        except psycopg.Error as error:
            raise _refusal(error, sender) from error
        if sender.invalid is not None:
            raise sender.invalid
        if sender.greatest:
            _raise_sequence(cursor, schema, sender.greatest)
    return ImportSummary(sender.count, sender.greatest or None)


class _Sender:
    """Sends records to a COPY, and knows which of them a line of its input belongs to."""

    def __init__(self) -> None:
        self.count = 0
        self.greatest = 0
        self.invalid: EvtoolError | None = None
        # the number of a record for each line break in its names: PostgreSQL counts those as lines, too
        self._breaks = array("q")

    def send(self, copy: psycopg.Copy, peek: _Peek, records: Iterable[Record]) -> None:
        """Sends all records, or those before an invalid one, or as many as the server takes before it refuses one."""
        fields: list[Any] = []
        held = 0
        for record in self._until_invalid(records):
            self.count += 1
            self.greatest = max(self.greatest, record.gpos)
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
                copy.write(self._rows(fields))
                fields.clear()
                held = 0
                if peek.refused():
                    return
        copy.write(self._rows(fields))

    def _until_invalid(self, records: Iterable[Record]) -> Iterator[Record]:
        # not raised at once: the server may find a fault in one of the lines before, and the first is to be named
        try:
            yield from records
        except EvtoolError as error:
            self.invalid = error

    def record_of(self, line: int) -> int:
        """The number of the record that a line of the COPY's input belongs to."""
        return bisect.bisect_left(range(line), line, key=lambda record: record + bisect.bisect(self._breaks, record))

    def _rows(self, fields: list[Any]) -> bytes:
        size = len(fields) // COLUMNS
        streams, types = fields[STREAM::COLUMNS], fields[TYPE::COLUMNS]
        names = streams + types
        if _QUOTED.search(b"".join(names)) or b"" in names or b"null" in names:
            for number, (stream, type_) in enumerate(zip(streams, types, strict=True), self.count - size + 1):
                self._breaks.extend([number] * (stream + type_).count(b"\n"))
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


def _raise_sequence(cursor: psycopg.Cursor[Any], schema: str, greatest: int) -> None:
    sequence = sql.Identifier(schema, "messages_global_position_seq")
    name = sql.Literal(sequence.as_string(cursor))
    cursor.execute(
        sql.SQL(
            "SELECT setval({name}, {greatest}) FROM {sequence} WHERE last_value < {greatest} OR NOT is_called"
        ).format(name=name, greatest=sql.Literal(greatest), sequence=sequence)
    )


# The context of an error in COPY names the row ("COPY messages, line 3, column data: …"). The words around the number
# are translated by the server's lc_messages, so only the number is read; what stands behind it is data and not shown.
_COPY_LINE = re.compile(r"^COPY messages, \D*(\d+)", re.MULTILINE)
_COPY_COLUMN = re.compile(r"^COPY messages, \D*\d+, \S+ (\w+)", re.MULTILINE)
_KEY = re.compile(r"\((?P<columns>[^()]*)\)=\((?P<values>.*)\)", re.DOTALL)

_CLASHES = {
    "messages_pkey": ("POSITION_EXISTS", "global position {} already exists"),
    "messages_id": ("ID_EXISTS", "a message with the id {} already exists"),
    "messages_stream": ("STREAM_POSITION_EXISTS", "stream and position ({}) already exist"),
}
# A lost connection, a full disk, a cancelled statement: the row that it happened at is not to blame.
_NOT_OF_A_ROW = {"08", "25", "28", "40", "53", "55", "57", "58", "XX"}
_JSON_STATES = {"22P02", "22P05", "22021", "22003", "54001", "54000"}


def _refusal(error: psycopg.Error, sender: _Sender) -> Exception:
    """What the server found in a row, as an ImportRefused; any other error as it is."""
    context = error.diag.context or ""
    found = _COPY_LINE.search(context)
    state = error.sqlstate or ""
    if found is None or state[:2] in _NOT_OF_A_ROW or state == "42501":
        return error
    line = sender.record_of(int(found[1]))
    constraint = error.diag.constraint_name or ""
    if state == "23505" and constraint in _CLASHES:
        code, text = _CLASHES[constraint]
        key = _KEY.search(error.diag.message_detail or "")
        value = key["values"][:200] if key else None
        return ImportRefused(
            code,
            text.format(value if value is not None else "of this line"),
            line=line,
            value=value,
            hint="the file or the namespace has it already; import into an empty namespace",
        )
    column = _COPY_COLUMN.search(context)
    where = f" in {column[1]}" if column else ""
    # without a column it is an index that has no room for a name
    if column and state in _JSON_STATES:
        return ImportRefused("INVALID_JSON", f"PostgreSQL can't store the value{where} ({error.sqlstate})", line=line)
    if state in {"22007", "22008"}:
        return ImportRefused("INVALID_TIME", f"PostgreSQL can't store the time{where}", line=line)
    known: EvtoolError = translate(error)
    return ImportRefused("IMPORT_FAILED", known.message, line=line, hint=known.hint)
