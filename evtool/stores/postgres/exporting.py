"""The hot path out: the rows of one COPY, put together as the lines of an export.

The server scans the next rows while the client makes lines of the last ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

import psycopg
from psycopg import sql

from evtool import ndjson
from evtool.errors import StoreError
from evtool.model import ExportBlock, Selection
from evtool.progress import EVERY
from evtool.stores.postgres.connection import Connection
from evtool.stores.postgres.copying import COLUMNS, DELIMITER, FORMAT, POSITION, QUOTE, STREAM, TIME, TYPE

_LINE = b'{"id":"%b","stream":"%b","type":"%b","pos":%b,"gpos":%b,"data":%b,"meta":%b,"time":"%bZ"}\n'
_ESCAPED = re.compile(rb'[\x00-\x1f"\\]')
_TIMESTAMP = re.compile(rb"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}")

# So small that the socket holds what the server sends while a block is put together: else each waits for the other.
_BLOCK_BYTES = 1 << 15

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
    copy = sql.SQL("COPY ({}) TO STDOUT {}").format(_selected(schema, selection, watermark), FORMAT)
    # DateStyle is the role's or the database's to set, and the text of a time hangs on it. Without statistics, as right
    # after an import, the planner would rather sort the table on disk than follow the index that has the order.
    with connection.transaction(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL datestyle = 'ISO, YMD'; SET LOCAL enable_sort = off")
        with cursor.copy(copy) as rows:
            yield from _blocks(rows_of(connection, rows))


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


def rows_of(connection: Connection, copy: psycopg.Copy) -> Iterator[bytes | bytearray | memoryview]:
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
    if QUOTE in whole:
        fields = [field for row in rows for field in _unquote(row)]
    else:
        # nothing is quoted, so no field holds a line break or a delimiter
        fields = whole[:-1].replace(b"\n", DELIMITER).split(DELIMITER)
    for column in (STREAM, TYPE):
        names = fields[column::COLUMNS]
        if _ESCAPED.search(b"".join(names)):
            fields[column::COLUMNS] = [_escape(name) for name in names]
    fields[TIME::COLUMNS] = _iso(fields[TIME::COLUMNS], fields[POSITION::COLUMNS])
    return ExportBlock(_LINE * len(rows) % tuple(fields), len(rows), int(fields[POSITION - COLUMNS]))


def _unquote(row: bytes) -> list[bytes]:
    """The fields of a row in which a name holds a quote, a delimiter or a line break, or is the word null."""
    fields = []
    rest = row[:-1] + DELIMITER
    while rest:
        if rest[:1] != QUOTE:
            field, _, rest = rest.partition(DELIMITER)
        else:
            end = 1
            while True:
                end = rest.index(QUOTE, end)
                if rest[end + 1 : end + 2] != QUOTE:
                    break
                end += 2
            field, rest = rest[1:end].replace(QUOTE * 2, QUOTE), rest[end + 2 :]
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
