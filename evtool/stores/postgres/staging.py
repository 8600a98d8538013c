"""Records of which some may be there already: laid beside the table first, compared there, and then added.

Everything is done for all of them at once. They are inserted in their order, but for those whose place is taken; then
each of them must be there, identical in every field, or the first that isn't is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import psycopg
from psycopg import sql

from evtool import clashes
from evtool.clashes import Stored
from evtool.errors import ImportRefused
from evtool.ndjson import Record
from evtool.stores.postgres import faults
from evtool.stores.postgres.connection import Connection
from evtool.stores.postgres.refusals import failed
from evtool.stores.postgres.sending import Sender

# Its rows have no line: they stand in the order in which they came, see `faults`.
_CREATE = "CREATE TEMP TABLE staged (LIKE {table}) ON COMMIT DROP"
_STAGED = sql.Identifier("pg_temp", "staged")

_ADD = """
    WITH placed AS (
      INSERT INTO {table} (global_position, position, time, stream_name, type, data, metadata, id)
      SELECT global_position, position, time, stream_name, type, data, metadata, id FROM {staged} ORDER BY ctid
      ON CONFLICT DO NOTHING RETURNING global_position
    )
    SELECT count(*), min(global_position), max(global_position) FROM placed
"""

# JSON's null and no value are the same in a file. jsonb compares by value: 1e2 is 100.0, and keys have no order.
_FIELDS = """
    id::text, stream_name, type, position, global_position, nullif(data::text, 'null'), nullif(metadata::text, 'null'),
    time::text
"""
_FIRST_DIFFERENT = """
    SELECT ctid, {fields} FROM {staged} AS s WHERE NOT EXISTS (
      SELECT FROM {table} AS m
      WHERE m.global_position = s.global_position AND m.id = s.id AND m.stream_name = s.stream_name
        AND m.position = s.position AND m.type = s.type AND m.time = s.time
        AND coalesce(m.data, 'null') = coalesce(s.data, 'null')
        AND coalesce(m.metadata, 'null') = coalesce(s.metadata, 'null')
    )
    ORDER BY ctid LIMIT 1
"""
_HOLDER = "SELECT {fields} FROM {table} WHERE {key}"
# In the order in which PostgreSQL looks.
_KEYS = {
    clashes.POSITION_EXISTS: "global_position = {gpos}",
    clashes.ID_EXISTS: "id = {id}",
    clashes.STREAM_POSITION_EXISTS: "stream_name = {stream} AND position = {pos}",
}


class Placed(NamedTuple):
    """What a batch has done to the table."""

    imported: int
    skipped: int
    first_position: int | None
    last_position: int | None


def add_missing(
    connection: Connection, schema: str, records: Iterable[Record], first_line: int, lock: Callable[[], None]
) -> Placed:
    """Inserts the records that are not there, and leaves out those that are, identical in every field.

    Args:
        connection: in a transaction.
        schema: where the namespace lives.
        records: checked.
        first_line: the line of the first.
        lock: keeps writers out; called when all records are on the server.

    Raises:
        ImportRefused: a record clashes with a message, or an earlier record, from which it differs.
    """
    table = sql.Identifier(schema, "messages")
    connection.execute(sql.SQL(_CREATE).format(table=table))
    sender = Sender(connection, _STAGED, first_line)
    sender.send_in_parts(records)
    lock()
    fault = sender.fault
    try:
        with connection.transaction():
            imported, least, greatest = _one(connection, _ADD, table=table)
    except psycopg.errors.ProgramLimitExceeded as error:
        wide = faults.first_too_wide(connection, schema, _STAGED, first_line)
        if wide is None or wide.line is None:
            raise failed(error, None) from error
        fault = wide
        # what is before it may clash with something, and comes first
        connection.execute(
            sql.SQL("DELETE FROM {} WHERE ctid >= (SELECT ctid FROM {} ORDER BY ctid OFFSET {} LIMIT 1)").format(
                _STAGED, _STAGED, sql.Literal(wide.line - first_line)
            )
        )
        imported, least, greatest = _one(connection, _ADD, table=table)
    if imported < sender.count:
        _refuse_different(connection, table, first_line)
    if fault is not None:
        raise fault
    return Placed(imported, sender.count - imported, least, greatest)


def _refuse_different(connection: Connection, table: sql.Composable, first_line: int) -> None:
    found = connection.execute(
        sql.SQL(_FIRST_DIFFERENT).format(fields=sql.SQL(_FIELDS), staged=_STAGED, table=table)
    ).fetchone()
    if found is None:
        return
    line = faults.line_of(connection, _STAGED, found[0], first_line)
    record = Stored(*found[1:])
    for code, key in _KEYS.items():
        condition = sql.SQL(key).format(gpos=record.gpos, id=record.id, stream=record.stream, pos=record.pos)
        holder = connection.execute(
            sql.SQL(_HOLDER).format(fields=sql.SQL(_FIELDS), table=table, key=condition)
        ).fetchone()
        if holder is not None:
            raise clashes.refusal(code, record, line, clashes.differing(record, Stored(*holder)))
    raise ImportRefused("IMPORT_FAILED", "the message was not stored, and nothing is in its place", line=line)


def _one(connection: Connection, query: str, *, table: sql.Composable) -> tuple[Any, ...]:
    row = connection.execute(sql.SQL(query).format(table=table, staged=_STAGED)).fetchone()
    assert row is not None
    return row
