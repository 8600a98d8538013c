"""Which line of a file is at fault, in a table that holds its rows in their order and has no indexes to tell.

The rows of a table that got a new file in this transaction stand in the order in which COPY sent them, whatever they
hold: a row's place, `ctid`, counts its line.
"""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg import sql

from evtool import clashes
from evtool.clashes import Stored
from evtool.errors import ImportRefused
from evtool.stores.postgres.connection import Connection
from evtool.stores.postgres.refusals import failed

# In the order in which PostgreSQL looks.
_KEYS = {
    clashes.POSITION_EXISTS: "global_position",
    clashes.ID_EXISTS: "id",
    clashes.STREAM_POSITION_EXISTS: "stream_name, position",
}
# The first row whose key an earlier one has.
_REPEATED = """
    SELECT ctid, global_position, id::text, stream_name, position FROM {table} WHERE ctid = (
      SELECT min(place) FROM (
        SELECT ctid AS place, row_number() OVER (PARTITION BY {key} ORDER BY ctid) AS number FROM {table}
      ) AS numbered WHERE number > 1
    )
"""
_LINE = "SELECT count(*) FROM {table} WHERE ctid <= {place}"
_MEMORY = """
    SELECT set_config('work_mem', '64MB', true)
    WHERE pg_size_bytes(current_setting('work_mem')) < pg_size_bytes('64MB')
"""

# Rows that an index may have no room for are put into indexes like those of messages, one after the other. Sequences
# are not rolled back, so afterwards it says which of them has failed. OFFSET 0 keeps the counting above the sorting.
_WIDE = """
    octet_length(stream_name) + coalesce(octet_length(metadata ->> 'correlationStreamName'), 0) > 2000
"""
_TRY = (
    "CREATE TEMP TABLE wide (LIKE {ns}.messages) ON COMMIT DROP",
    "CREATE INDEX ON pg_temp.wide (stream_name, position)",
    """
    CREATE INDEX ON pg_temp.wide (
      {ns}.category(stream_name), global_position, {ns}.category(metadata ->> 'correlationStreamName')
    )
    """,
    "CREATE TEMP SEQUENCE tried",
)
_FILL = """
    INSERT INTO pg_temp.wide SELECT * FROM (
      SELECT * FROM {table} WHERE {wide} ORDER BY ctid OFFSET 0
    ) AS ordered WHERE nextval('pg_temp.tried') > 0
"""
_TRIED = """
    SELECT ctid FROM {table} WHERE {wide} ORDER BY ctid OFFSET (SELECT last_value - 1 FROM pg_temp.tried) LIMIT 1
"""


def first_repeated(connection: Connection, table: sql.Composable, first_line: int) -> ImportRefused | None:
    """The first line whose global position, id, or stream and position an earlier one has.

    Args:
        connection: in a transaction.
        table: the rows.
        first_line: the line of the first row.
    """
    connection.execute(_MEMORY)
    found: list[tuple[int, int, str, Stored]] = []
    for number, (code, key) in enumerate(_KEYS.items()):
        row = _ask(connection, _REPEATED, table=table, key=sql.SQL(key))
        if row is not None:
            place, gpos, id_, stream, position = row
            message = Stored(id_, stream, "", position, gpos, None, None, "")
            found.append((line_of(connection, table, place, first_line), number, code, message))
    if not found:
        return None
    line, _, code, message = min(found)
    return clashes.refusal(code, message, line)


def first_too_wide(connection: Connection, schema: str, table: sql.Composable, first_line: int) -> ImportRefused | None:
    """The first line whose names an index has no room for.

    Args:
        connection: in a transaction.
        schema: of the namespace.
        table: the rows.
        first_line: the line of the first row.
    """
    parts = {"table": table, "wide": sql.SQL(_WIDE), "ns": sql.Identifier(schema)}
    if _ask(connection, "SELECT FROM {table} WHERE {wide} LIMIT 1", **parts) is None:
        return None
    try:
        with connection.transaction():
            for statement in _TRY:
                connection.execute(sql.SQL(statement).format(**parts))
        with connection.transaction():
            connection.execute(sql.SQL(_FILL).format(**parts))
    except psycopg.errors.ProgramLimitExceeded as found:
        row = _ask(connection, _TRIED, **parts)
        assert row is not None
        return failed(found, line_of(connection, table, row[0], first_line))
    except psycopg.errors.InsufficientPrivilege:
        # without the right to temporary tables the line can't be told
        return None
    return None


def line_of(connection: Connection, table: sql.Composable, place: str, first_line: int) -> int:
    """The line that a row was sent in."""
    row = _ask(connection, _LINE, table=table, place=sql.Literal(place))
    assert row is not None
    return int(row[0]) + first_line - 1


def _ask(connection: Connection, query: str, **parts: sql.Composable) -> tuple[Any, ...] | None:
    return connection.execute(sql.SQL(query).format(**parts)).fetchone()
