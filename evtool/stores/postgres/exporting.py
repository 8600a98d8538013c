"""The hot path out: the rows of one COPY, put together as the lines of an export.

The server scans the next rows while the client makes lines of the last ones.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

import psycopg
from psycopg import sql

from evtool import ndjson
from evtool.errors import StoreError
from evtool.model import ExportBlock
from evtool.progress import EVERY
from evtool.stores.postgres import packing
from evtool.stores.postgres.connection import Connection
from evtool.stores.postgres.copying import (
    COLUMNS,
    DELIMITER,
    FORMAT,
    POSITION,
    QUOTE,
    STREAM,
    TIME,
    TYPE,
    Row,
    batches_of,
    unquoted,
)
from evtool.stores.postgres.selecting import Slice

_HOLD = "LOCK TABLE {messages} IN ACCESS SHARE MODE"
_REPLACED = "SELECT EXISTS (SELECT FROM {imports} WHERE number > {last} AND replaced)"

_LINE = b'{"id":"%b","stream":"%b","type":"%b","pos":%b,"gpos":%b,"data":%b,"meta":%b,"time":"%bZ"}\n'
# What JSON escapes in a name.
_ESCAPED = bytes(range(0x20)) + b'"\\'
_TIMESTAMP = re.compile(rb"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d{1,6})?")
# What a time lacks, by its length: PostgreSQL leaves out zeros at the end. A time of another length is no usual one.
_MISSING = {19: b".000000", **{20 + digits: b"0" * (6 - digits) for digits in range(1, 6)}}
_TIME_SIZE = len("2025-07-15T10:00:00.000000")
_TIME_STEP = _TIME_SIZE + len("Z")

# So small that the socket holds what the server sends while a block is put together: else each waits for the other.
_BLOCK_BYTES = 1 << 15

# libpq reads as much from the socket as its buffer has room for: 16 kB, until a single row needs more. With room for
# all that the socket holds, an export waits for the server a tenth as often, and takes a fifth less of the processor.
_WIDEN = "SELECT repeat(' ', 131072)"


@contextlib.contextmanager
def snapshot(connection: Connection, exported: str | None = None) -> Iterator[None]:
    """A transaction in which every statement sees the same messages, and times are written one way.

    Args:
        connection: in autocommit, so that the snapshot is taken after the watermark was found.
        exported: the snapshot of another transaction to see, by `pg_export_snapshot`.
    """
    connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    connection.read_only = True
    with connection.transaction():
        if exported is not None:
            connection.execute(sql.SQL("SET TRANSACTION SNAPSHOT {}").format(sql.Literal(exported)))
        # DateStyle is the role's or the database's to set, and the text of a time hangs on it
        connection.execute("SET LOCAL datestyle = 'ISO, YMD'")
        yield


def hold(connection: Connection, schema: str, imports: int) -> None:
    """Keeps the messages from being removed until the end of the transaction, which has seen nothing yet.

    TRUNCATE takes rows from older snapshots, too: one taken while it is waited for would find an empty table. A lock
    needs no snapshot.

    Args:
        connection: in a `snapshot`.
        schema: where the namespace lives.
        imports: the number of the last import that the watermark knows of.

    Raises:
        StoreError: all messages were replaced since.
    """
    connection.execute(sql.SQL(_HOLD).format(messages=sql.Identifier(schema, "messages")))
    query = sql.SQL(_REPLACED).format(imports=sql.Identifier(schema, "imports"), last=sql.Literal(imports))
    (replaced,) = connection.execute(query).fetchone() or (False,)
    if replaced:
        raise StoreError("all messages of the namespace were replaced during the export", hint="export it again")


def lines(connection: Connection, chosen: Slice) -> Iterator[ExportBlock]:
    """The messages of a slice as lines, in a `snapshot`.

    Raises:
        psycopg.Error: as the server has it.
        StoreError: a message has a time that ISO 8601 can't say.
    """
    connection.execute(_WIDEN)
    packed = chosen.packed()
    if packed is not None:
        last = chosen.first - 1
        try:
            # left with the COPY half read where a name has control characters: everything behind goes row by row
            with connection.transaction():
                # each row is put together by one process: workers would each wait for a part of it
                connection.execute("SET LOCAL max_parallel_workers_per_gather = 0")
                for block in _packed(connection, packed):
                    last = block.last_position
                    yield block
        except packing.AmbiguousRow:
            chosen = chosen.between(last + 1, chosen.last)
        else:
            return
    statement = sql.SQL("COPY ({}) TO STDOUT {}").format(chosen.query(), FORMAT)
    with connection.cursor() as cursor, cursor.copy(statement) as rows:
        # a block at every thousandth, and before it where rows are large
        for batch in batches_of(connection, rows, EVERY, _BLOCK_BYTES):
            yield _block(_fields(batch))


def _packed(connection: Connection, query: sql.Composed) -> Iterator[ExportBlock]:
    """The messages of a query that puts many into a row, with a block at every thousandth."""
    room = EVERY * COLUMNS
    statement = sql.SQL("COPY ({}) TO STDOUT (FORMAT binary)").format(query)
    with connection.cursor() as cursor, cursor.copy(statement) as rows:
        for batch in batches_of(connection, rows, EVERY, _BLOCK_BYTES):
            for fields in packing.fields_of(batch):
                start = 0
                while start < len(fields):
                    part = fields[start : start + room]
                    yield _block(part)
                    start += len(part)
                    room = room - len(part) or EVERY * COLUMNS


def _fields(rows: list[Row]) -> list[bytes]:
    """The fields of rows, COLUMNS each."""
    whole = b"".join(rows)
    if QUOTE in whole:
        return [field for row in rows for field in unquoted(bytes(row))]
    # nothing is quoted, so no field holds a line break or a delimiter
    return whole[:-1].replace(b"\n", DELIMITER).split(DELIMITER)


def _block(fields: list[bytes]) -> ExportBlock:
    """Some messages as lines, put together at one go: one by one it takes twice the time.

    Args:
        fields: of all messages, COLUMNS each; they are changed.
    """
    names = b"".join(fields[STREAM::COLUMNS] + fields[TYPE::COLUMNS])
    if len(names.translate(None, _ESCAPED)) != len(names):
        for column in (STREAM, TYPE):
            fields[column::COLUMNS] = [_escape(name) for name in fields[column::COLUMNS]]
    fields[TIME::COLUMNS] = _iso(fields[TIME::COLUMNS], fields[POSITION::COLUMNS])
    count = len(fields) // COLUMNS
    return ExportBlock(_LINE * count % tuple(fields), count, int(fields[POSITION - COLUMNS]))


def _escape(text: bytes) -> bytes:
    """A name as it stands between the quotes of a JSON string."""
    return ndjson.quoted(text.decode())[1:-1].encode()


def _iso(times: list[bytes], positions: list[bytes]) -> list[bytes]:
    """Times as `2025-07-15T10:00:00.000000`. All at once, since looking at each would take as long as all the rest."""
    size = len(times)
    full = [time if len(time) == _TIME_SIZE else time + _MISSING.get(len(time), b"") for time in times]
    joined = b"Z".join([*full, b""])
    regular = (
        len(joined) == _TIME_STEP * size
        and joined.count(b" ") == size
        # a year of five digits moves these, and "BC" brings a second space
        and joined[4::_TIME_STEP] == joined[7::_TIME_STEP] == b"-" * size
        and joined[10::_TIME_STEP] == b" " * size
        and joined[19::_TIME_STEP] == b"." * size
        and joined[_TIME_SIZE::_TIME_STEP] == b"Z" * size
    )
    if not regular:
        odd = next(at for at, time in enumerate(times) if not _TIMESTAMP.fullmatch(time))
        raise StoreError(
            f"the message at global position {positions[odd].decode()} has a time that ISO 8601 can't say",
            hint="correct it in the table, or export around it",
        )
    return joined.replace(b" ", b"T").split(b"Z")[:-1]
