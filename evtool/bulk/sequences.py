"""Sequences that go on beyond what came, so that the next record without a number finds room.

Each in its own direction, and no further than it goes. Where the numbers end in another way, as of a cycle, nobody but
the table's owner knows what is to come.
"""

from __future__ import annotations

from collections.abc import Sequence

from psycopg import sql

from evtool.stores.postgres.connection import Connection

WHOLE = {"smallint", "integer", "bigint"}
"""The types of columns whose values a sequence may go on from."""

# Two queries, each of which an index answers.
_CAME = """
    SELECT seqincrement > 0 AS rises, seqstart - seqincrement AS before, seqmin, seqmax,
      CASE WHEN seqincrement > 0 THEN (SELECT max({column}) FROM {table}) ELSE (SELECT min({column}) FROM {table}) END
        AS furthest
    FROM pg_sequence WHERE seqrelid = {sequence}::regclass
"""
_MOVE = """
    SELECT setval({sequence}::regclass, furthest)
    FROM (SELECT last_value, is_called FROM {own}) AS own, ({came}) AS came
    WHERE furthest BETWEEN seqmin AND seqmax AND ((furthest = last_value AND NOT is_called)
      OR CASE WHEN rises THEN furthest > last_value ELSE furthest < last_value END)
"""
# Where a sequence stands, only those are told who may use or read it.
_MOVE_WHERE_ALLOWED = """
    SELECT setval({sequence}::regclass, furthest)
    FROM ({came}) AS came, LATERAL (SELECT COALESCE(CASE WHEN has_sequence_privilege({sequence}, 'SELECT, USAGE')
      THEN pg_sequence_last_value({sequence}::regclass) END, before) AS last_value) AS own
    WHERE furthest BETWEEN seqmin AND seqmax
      AND CASE WHEN rises THEN furthest > last_value ELSE furthest < last_value END
"""


def move(connection: Connection, table: sql.Composable, column: str, sequence: str) -> None:
    """Moves the sequence of a column beyond the table's values.

    Args:
        connection: of its owner.
        table: the column's, quoted.
        column: its name.
        sequence: as `pg_get_serial_sequence` says it.
    """
    came = sql.SQL(_CAME).format(column=sql.Identifier(column), table=table, sequence=sql.Literal(sequence))
    connection.execute(sql.SQL(_MOVE).format(sequence=sql.Literal(sequence), own=sql.SQL(sequence), came=came))


def move_where_allowed(connection: Connection, target: str, table: sql.Composable, columns: Sequence[str]) -> None:
    """Moves the sequences of some columns that the role may set beyond the table's values.

    Args:
        connection: of whoever wrote to the table.
        target: the table, as `regclass` reads it.
        table: the same, quoted.
        columns: of types that are `WHOLE`.
    """
    for column in columns:
        row = connection.execute(
            "SELECT name FROM pg_get_serial_sequence(%s, %s) AS name WHERE has_sequence_privilege(name, 'UPDATE')",
            (target, column),
        ).fetchone()
        if row and row[0]:
            sequence = sql.Literal(row[0])
            came = sql.SQL(_CAME).format(column=sql.Identifier(column), table=table, sequence=sequence)
            connection.execute(sql.SQL(_MOVE_WHERE_ALLOWED).format(sequence=sequence, came=came))
