r"""The hot path: messages out of and into PostgreSQL by COPY, without escaping their JSON.

COPY's CSV with an exotic quote (\x01) and delimiter (\x02) leaves JSON as it is: jsonb never holds a raw control
character, so its text is never quoted. A name of a stream or a type may hold any, so every row is looked at for the
quote, and the few that have one take the slow way.
"""

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

from evtool import ndjson
from evtool.errors import EvtoolError, ImportRefused, StoreError
from evtool.model import ExportBlock, ImportSummary, Selection
from evtool.ndjson import Record
from evtool.progress import EVERY
from evtool.stores.postgres.connection import Connection
from evtool.stores.postgres.translation import translate

_QUOTE = b"\x01"
_DELIMITER = b"\x02"
# A null is written as JSON has it; a name or JSON that reads `null` is told from it by its quotes.
_FORMAT = sql.SQL(r"(FORMAT csv, QUOTE e'\x01', DELIMITER e'\x02', ENCODING 'UTF8', NULL 'null')")

# The columns of both, in the order of a line's fields.
_COLUMNS = 8
_STREAM, _TYPE, _POSITION, _DATA, _META, _TIME = 1, 2, 4, 5, 6, 7
_ROW = b"%b\x02%b\x02%b\x02%d\x02%d\x02%b\x02%b\x02%b\n"
_LINE = b'{"id":"%b","stream":"%b","type":"%b","pos":%b,"gpos":%b,"data":%b,"meta":%b,"time":"%bZ"}\n'
_QUOTED = re.compile(rb"[\x01\x02\r\n]")
_ESCAPED = re.compile(rb'[\x00-\x1f"\\]')
_TIMESTAMP = re.compile(rb"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}")

# So small that the socket holds what the server sends while a block is put together: else each waits for the other.
_BLOCK_BYTES = 1 << 15
_COPY_BYTES = 1 << 16
# What a row has besides names and JSON, about: it only decides how many are sent at once.
_ROW_BYTES = 128

_SHORT_WAIT = """
    SELECT set_config('lock_timeout', '10s', true) WHERE current_setting('lock_timeout') = '0'
"""

# Beyond that many categories one scan with a filter reads less than so many scans merged.
_MERGED_CATEGORIES = 32


def export(connection: Connection, schema: str, selection: Selection, watermark: int) -> Iterator[ExportBlock]:
    """The lines of the messages up to a watermark, in global order.

    Args:
        connection: in autocommit, so that the COPY takes its snapshot after the watermark was found.
        schema: where the namespace lives.
        selection: which messages.
        watermark: what `watermark()` of the schema returned on this connection.

    Raises:
        psycopg.Error: as the server has it.
        StoreError: a message has a time that ISO 8601 can't say.
    """
    copy = sql.SQL("COPY ({}) TO STDOUT {}").format(_selected(schema, selection, watermark), _FORMAT)
    # DateStyle is the role's or the database's to set, and the text of a time hangs on it. Without statistics, as right
    # after an import, the planner would rather sort the table on disk than follow the index that has the order.
    with connection.transaction(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL datestyle = 'ISO, YMD'; SET LOCAL enable_sort = off")
        with cursor.copy(copy) as rows:
            yield from _blocks(_rows(connection, rows))


def _selected(schema: str, selection: Selection, watermark: int) -> sql.Composed:
    """The query whose rows are exported, in an order that an index gives, so that nothing is sorted."""
    conditions: list[sql.Composable] = [sql.SQL("global_position <= {}").format(sql.Literal(watermark))]
    if selection.since is not None:
        conditions.append(sql.SQL("time >= {}").format(_utc(selection.since)))
    if selection.until is not None:
        conditions.append(sql.SQL("time < {}").format(_utc(selection.until)))
    table = sql.Identifier(schema, "messages")
    category = sql.SQL("{}(stream_name)").format(sql.Identifier(schema, "category"))
    columns = sql.SQL("SELECT id, stream_name, type, position, global_position, data, metadata, time FROM {} WHERE {}")
    ordered = sql.SQL("{} ORDER BY global_position")
    categories = sorted(set(selection.categories))
    if len(categories) > _MERGED_CATEGORIES:
        conditions.append(sql.SQL("{} = ANY ({})").format(category, sql.Literal(categories)))
    if not 0 < len(categories) <= _MERGED_CATEGORIES:
        return ordered.format(columns.format(table, sql.SQL(" AND ").join(conditions)))
    branches = []
    for one in categories:
        own = sql.SQL(" AND ").join([sql.SQL("{} = {}").format(category, sql.Literal(one)), *conditions])
        branches.append(ordered.format(columns.format(table, own)))
    if len(branches) == 1:
        return branches[0]
    # each branch in the order of the index messages_category, merged by the server (MergeAppend)
    return ordered.format(sql.SQL(" UNION ALL ").join(sql.SQL("({})").format(branch) for branch in branches))


def _utc(moment: Any) -> sql.Composed:
    return sql.SQL("{}::timestamptz AT TIME ZONE 'UTC'").format(sql.Literal(moment))


def _rows(connection: Connection, copy: psycopg.Copy) -> Iterator[bytes | bytearray | memoryview]:
    """The rows of a COPY, as iterating over it would give them, in half the time.

    What libpq has in memory is taken from it at once; psycopg does the waiting for more, and with it Ctrl-C.
    """
    take = connection.pgconn.get_copy_data
    while True:
        size, row = take(1)
        if size > 0:
            yield row
        elif size < 0:
            break
        elif waited := copy.read():
            yield waited
        else:
            return
    # all of them, for the connection counts as busy until the last has been taken
    for result in list(iter(connection.pgconn.get_result, None)):
        if result.status != psycopg.pq.ExecStatus.COMMAND_OK:
            raise psycopg.errors.error_from_result(result)


def _blocks(rows: Iterable[bytes | bytearray | memoryview]) -> Iterator[ExportBlock]:
    """Rows of the COPY as lines: a block at every thousandth, and before it where rows are large."""
    count = held = 0
    block: list[bytes] = []
    for row in rows:
        # the row's own memory is libpq's
        raw = bytes(row)
        block.append(raw)
        held += len(raw)
        if len(block) + count == EVERY or held >= _BLOCK_BYTES:
            count = (count + len(block)) % EVERY
            yield _block(block)
            block.clear()
            held = 0
    if block:
        yield _block(block)


def _block(rows: list[bytes]) -> ExportBlock:
    """Some rows as lines, put together at one go: row by row it takes twice the time."""
    whole = b"".join(rows)
    if _QUOTE in whole:
        fields = [field for row in rows for field in _unquote(row)]
    else:
        # nothing is quoted, so no field holds a line break or a delimiter
        fields = whole[:-1].replace(b"\n", _DELIMITER).split(_DELIMITER)
    for column in (_STREAM, _TYPE):
        names = fields[column::_COLUMNS]
        if _ESCAPED.search(b"".join(names)):
            fields[column::_COLUMNS] = [_escape(name) for name in names]
    fields[_TIME::_COLUMNS] = _iso(fields[_TIME::_COLUMNS], fields[_POSITION::_COLUMNS])
    return ExportBlock(_LINE * len(rows) % tuple(fields), len(rows), int(fields[_POSITION - _COLUMNS]))


def _unquote(row: bytes) -> list[bytes]:
    """The fields of a row in which a name holds a quote, a delimiter or a line break, or is the word null."""
    fields = []
    rest = row[:-1] + _DELIMITER
    while rest:
        if rest[:1] != _QUOTE:
            field, _, rest = rest.partition(_DELIMITER)
        else:
            end = 1
            while True:
                end = rest.index(_QUOTE, end)
                if rest[end + 1 : end + 2] != _QUOTE:
                    break
                end += 2
            field, rest = rest[1:end].replace(_QUOTE * 2, _QUOTE), rest[end + 2 :]
        fields.append(field)
    return fields


def _escape(text: bytes) -> bytes:
    """A name as it stands between the quotes of a JSON string."""
    return ndjson.quoted(text.decode())[1:-1].encode() if _ESCAPED.search(text) else text


def _iso(times: list[bytes], positions: list[bytes]) -> list[bytes]:
    """Times with T and six digits behind the point; PostgreSQL leaves out zeros at the end."""
    width = len("2025-07-15 10:00:00.000000") + 1
    padded = [time if len(time) == width - 1 else _pad(time) for time in times]
    joined = b"\n".join(padded) + b"\n"
    size = len(times)
    regular = (
        len(joined) == width * size
        and joined.count(b" ") == size
        and joined[width - 1 :: width] == b"\n" * size
        # a year of five digits moves these, and "BC" brings a second space
        and joined[4::width] == joined[7::width] == b"-" * size
        and joined[19::width] == b"." * size
    )
    if not regular:
        odd = next(at for at, time in enumerate(padded) if not _TIMESTAMP.fullmatch(time))
        raise StoreError(
            f"the message at global position {positions[odd].decode()} has a time that ISO 8601 can't say",
            hint="correct it in the table, or export around it",
        )
    return joined[:-1].replace(b" ", b"T").split(b"\n")


def _pad(time: bytes) -> bytes:
    return time.ljust(26, b"0") if time[19:20] == b"." else time + b".000000"


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
            with cursor.copy(columns.format(table, _FORMAT)) as copy, contextlib.closing(_Peek(connection)) as peek:
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
        size = len(fields) // _COLUMNS
        streams, types = fields[_STREAM::_COLUMNS], fields[_TYPE::_COLUMNS]
        names = streams + types
        if _QUOTED.search(b"".join(names)) or b"" in names or b"null" in names:
            for number, (stream, type_) in enumerate(zip(streams, types, strict=True), self.count - size + 1):
                self._breaks.extend([number] * (stream + type_).count(b"\n"))
            fields[_STREAM::_COLUMNS] = [_quote(name) for name in streams]
            fields[_TYPE::_COLUMNS] = [_quote(name) for name in types]
        rows = _ROW * size % tuple(fields)
        if b"\r" in rows:
            # between the tokens of JSON it is space; COPY takes it for the end of a line
            for column in (_DATA, _META):
                fields[column::_COLUMNS] = [bytes(value).replace(b"\r", b" ") for value in fields[column::_COLUMNS]]
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
        return _QUOTE + name.replace(_QUOTE, _QUOTE * 2) + _QUOTE
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
