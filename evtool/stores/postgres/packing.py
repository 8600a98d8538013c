r"""Many messages in one row of a COPY: a large export along the primary key, put together by the server.

A row of a COPY costs either side a microsecond that has nothing to do with what is in it, a third of all that a short
message costs. So the server joins the fields of all messages of so many positions by \x02, and sends them with the
number of these messages. A name may hold that character, too; then there are more fields than the number says.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from psycopg import sql

from evtool.stores.postgres.connection import Connection
from evtool.stores.postgres.copying import COLUMNS, DELIMITER, Row

# A table or a range with less is read before the look at it has paid.
_PAGES = 256
_SPAN = 4_000
# How much of the table is looked at.
_SAMPLED_PAGES = 64
# So many messages are to be in a row: with more of them, the server's cache holds them no longer.
_MESSAGES = 128
# So many positions may be in one, however few messages have them: for they may lie together elsewhere in the table.
_MOST_POSITIONS = 512
# With more large messages than one of so many, looking for them costs more than the others save.
_LARGE_PER = 500

# Larger ones are sent on their own, so that neither side ever holds hundreds of them. What is compressed may be a
# hundred times as large as it looks.
_SMALL = sql.SQL(
    "(pg_column_size(data) <= 2048 AND pg_column_compression(data) IS NULL) IS NOT FALSE"
    " AND (pg_column_size(metadata) <= 2048 AND pg_column_compression(metadata) IS NULL) IS NOT FALSE"
    " AND octet_length(type) <= 1024"
)
_LINE = sql.SQL(
    r"concat_ws(e'\x02', id, stream_name, type, position, global_position,"
    r" coalesce(data, 'null'), coalesce(metadata, 'null'), time)"
)
_SIZE = sql.SQL("""
    SELECT pg_relation_size({table}::regclass) / current_setting('block_size')::bigint,
      (SELECT min(global_position) FROM {messages} WHERE global_position >= {first}),
      (SELECT max(global_position) FROM {messages} WHERE global_position <= {last})
""")
_SAMPLE = sql.SQL("""
    SELECT count(*) FILTER (WHERE {conditions}), count(*) FILTER (WHERE NOT ({small}))
    FROM {messages} TABLESAMPLE SYSTEM ({percent}) REPEATABLE (0)
""")
_PACKED = sql.SQL(r"""
    SELECT sent.messages, sent.lines
    FROM (SELECT generate_series({first}::bigint, {last}::bigint, {width})) AS block (start),
      LATERAL (
        SELECT count(*)::integer AS messages, string_agg({line}, e'\x02') FILTER (WHERE small) AS lines,
          bool_and(small) AS small
        FROM (SELECT *, {small} AS small FROM {table} WHERE {conditions} ORDER BY global_position) AS message
      ) AS packed,
      LATERAL (
        SELECT packed.messages, packed.lines WHERE packed.small
        UNION ALL
        (SELECT 1, {line} FROM {table} WHERE NOT packed.small AND {conditions} ORDER BY global_position)
      ) AS sent
""")
# Not first + width, which may be no bigint any more.
_BLOCK = sql.SQL("global_position BETWEEN start AND start + least({width} - 1, {last} - start)")

# What a binary COPY begins with; the length of an extension follows.
_SIGNATURE = b"PGCOPY\n\xff\r\n\0"
_HEADER = struct.Struct(f">{len(_SIGNATURE)}sii")
# The number of fields, a length, the number of messages, a length.
_ROW = struct.Struct(">hiii")


class AmbiguousRow(Exception):
    """A name holds what separates fields, so that they can't be told apart."""


@dataclass(frozen=True, slots=True)
class Packing:
    """How the messages of a range are put together.

    Attributes:
        table: the namespace's.
        conditions: which all must hold for a message.
        width: so many positions are in a row.
    """

    table: sql.Identifier
    conditions: tuple[sql.Composable, ...]
    width: int

    def query(self, first: int, last: int) -> sql.Composed:
        """The rows between two global positions, both inclusive, in the order of these."""
        width, end = sql.Literal(self.width), sql.Literal(last)
        block = _BLOCK.format(width=width, last=end)
        return _PACKED.format(
            first=sql.Literal(first),
            last=end,
            width=width,
            line=_LINE,
            small=_SMALL,
            table=self.table,
            conditions=sql.SQL(" AND ").join((block, *self.conditions)),
        )


def choose(
    connection: Connection, table: sql.Identifier, conditions: tuple[sql.Composable, ...], first: int, last: int
) -> tuple[Packing, int] | None:
    """Finds out whether it pays to put messages together, by a sample of the table; None where it doesn't.

    Args:
        connection: in the snapshot of the export.
        table: the namespace's.
        conditions: which all must hold for a message.
        first: no message has a smaller global position.
        last: nor a greater one.

    Returns:
        how, and the first global position that there is.
    """
    if last - first < _SPAN:
        return None
    size = _SIZE.format(
        table=sql.Literal(table.as_string(None)), messages=table, first=sql.Literal(first), last=sql.Literal(last)
    )
    pages, lowest, highest = connection.execute(size).fetchone() or (0, None, None)
    if pages < _PAGES or None in {lowest, highest} or highest - lowest < _SPAN:
        return None
    share = min(1.0, _SAMPLED_PAGES / pages)
    sample = _SAMPLE.format(
        conditions=sql.SQL(" AND ").join(conditions) if conditions else sql.SQL("true"),
        small=_SMALL,
        messages=table,
        percent=sql.Literal(100 * share),
    )
    wanted, large = connection.execute(sample).fetchone() or (0, 0)
    if large * _LARGE_PER > wanted:
        return None
    # of all messages: in a part of the table they may lie denser or less so
    messages = wanted / share
    width = max(_MESSAGES, round(_MESSAGES * (highest - lowest) / messages)) if wanted else _MOST_POSITIONS + 1
    return None if width > _MOST_POSITIONS else (Packing(table, conditions, width), lowest)


def fields_of(rows: Iterable[Row]) -> Iterator[list[bytes]]:
    """The fields of messages, as many messages as each row of a binary COPY has, COLUMNS each.

    Raises:
        AmbiguousRow: those of a row can't be told; all rows before it have been handed on.
    """
    for row in rows:
        start = 0
        if row[: len(_SIGNATURE)] == _SIGNATURE:
            start = _HEADER.size + _HEADER.unpack_from(row)[2]
        if len(row) - start < _ROW.size:
            # the trailer
            continue
        count = _ROW.unpack_from(row, start)[2]
        fields = bytes(row[start + _ROW.size :]).split(DELIMITER)
        if len(fields) != count * COLUMNS:
            raise AmbiguousRow
        yield fields
