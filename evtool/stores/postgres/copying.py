r"""The format in which messages pass through COPY, both ways, without escaping their JSON.

COPY's CSV with an exotic quote (\x01) and delimiter (\x02) leaves JSON as it is: jsonb never holds a raw control
character, so its text is never quoted. A name of a stream or a type may hold any, so every row is looked at for the
quote, and the few that have one take the slow way.
"""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
from psycopg import sql

from evtool.stores.postgres.connection import Connection

QUOTE = b"\x01"
DELIMITER = b"\x02"
# A null is written as JSON has it; a name or JSON that reads `null` is told from it by its quotes.
FORMAT = sql.SQL(r"(FORMAT csv, QUOTE e'\x01', DELIMITER e'\x02', ENCODING 'UTF8', NULL 'null')")

# The columns, in the order of a line's fields.
COLUMNS = 8
STREAM, TYPE, POSITION, DATA, META, TIME = 1, 2, 4, 5, 6, 7

Row = bytes | bytearray | memoryview


def batches_of(connection: Connection, copy: psycopg.Copy, every: int, most_bytes: int) -> Iterator[list[Row]]:
    """The rows of a COPY, some at a time, sooner than by iterating over it.

    What libpq has in memory is taken from it at once; psycopg does the waiting for more, and with it Ctrl-C.

    Args:
        connection: which the COPY is on.
        copy: it.
        every: a batch ends at each multiple of so many rows,
        most_bytes: or earlier, with the row that makes it so large.
    """
    take = connection.pgconn.get_copy_data
    row: Row
    batch: list[Row] = []
    room = every
    free = most_bytes
    while True:
        size, row = take(1)
        if size < 0:
            break
        if size == 0:
            row = copy.read()
            if not row:
                break
            size = len(row)
        batch.append(row)
        room -= 1
        free -= size
        if room == 0 or free <= 0:
            yield batch
            batch = []
            room = room or every
            free = most_bytes
    if batch:
        yield batch
    # all of them, for the connection counts as busy until the last has been taken
    for result in list(iter(connection.pgconn.get_result, None)):
        if result.status != psycopg.pq.ExecStatus.COMMAND_OK:
            raise psycopg.errors.error_from_result(result)


def unquoted(row: bytes) -> list[bytes]:
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
