"""Events that are made up, the same in every run.

Sixteen slots write in turn, each into its own streams, and their categories are of different sizes. Every eighth global
position is a gap. A large message has about 330 bytes of data and 170 of metadata, a small one what Message DB's own
benchmark writes: one attribute and two.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from psycopg import Connection, sql

CATEGORIES = (
    *("account", "account", "account", "account", "account", "account", "order", "order"),
    *("order", "order", "payment", "payment", "shipment", "account:command", "invoice", "audit"),
)

SLICE = "slice"
"""A category of its own that every hundredth event is in."""
SLICE_SHARE = 100

START = datetime(2025, 1, 1, tzinfo=UTC)
STEP = timedelta(milliseconds=137)
"""When the first event happens, and how long after it the next."""

# A stream has that many messages; it gets one of them every time all others of its slot have had theirs.
_STREAM_LENGTH = 50

_FILL = sql.SQL("""
INSERT INTO {table} (global_position, position, time, stream_name, type, data, metadata, id)
SELECT
  {offset} + n + n / 7, n / (16 * {streams}), {start} + n * {step},
  slot || '-' || key, 'SomethingHappened' || n % 12,
  {data}, {metadata}, hash::uuid
FROM (
  SELECT n, {prefix} || CASE n % {share} WHEN 50 THEN {slice} ELSE ({categories}::text[])[1 + n % 16] END AS slot,
    md5({prefix} || n)::text AS hash,
    md5((n % 16) || '/' || n / 16 % {streams})::uuid::text AS key
  FROM generate_series(1, {count}::bigint) AS n
) AS source
ORDER BY n
""")

_LARGE_DATA = sql.SQL("""jsonb_build_object(
    'number', n, 'amount', (n * 7919 % 100000) / 100.0, 'currency', 'EUR', 'active', n % 3 = 0,
    'customer', jsonb_build_object('id', key, 'name', 'Zoë ' || substr(hash, 1, 8), 'city', 'Town ' || n % 997),
    'lines', jsonb_build_array(substr(hash, 1, 12), n % 5, substr(hash, 9, 12), n % 7),
    'note', 'a text as people write it, with "quotes" and ' || hash)""")
_LARGE_METADATA = sql.SQL("""jsonb_build_object(
    'correlationStreamName', 'order-' || n % 1000, 'causationMessageStreamName', slot || '-' || key,
    'causationMessagePosition', n % 50, 'schemaVersion', 1)""")
_SMALL_DATA = sql.SQL("""jsonb_build_object('attribute', 'value ' || n % 1000)""")
_SMALL_METADATA = sql.SQL(
    """jsonb_build_object('attribute', 'another value', 'correlationStreamName', 'order-' || n % 1000)"""
)


def fill(
    connection: Connection, schema: str, count: int, *, prefix: str = "", offset: int = 0, large: bool = True
) -> None:
    """Put `count` events into a schema's table `messages` and bring its statistics up to date.

    `prefix` makes other streams and ids of them, `offset` is added to their global positions. The sequence moves behind
    them. The connection is in autocommit.
    """
    connection.execute(
        _FILL.format(
            table=sql.Identifier(schema, "messages"),
            offset=sql.Literal(offset),
            streams=sql.Literal(_streams(count)),
            prefix=sql.Literal(prefix),
            data=_LARGE_DATA if large else _SMALL_DATA,
            metadata=_LARGE_METADATA if large else _SMALL_METADATA,
            categories=sql.Literal(list(CATEGORIES)),
            count=sql.Literal(count),
            share=sql.Literal(SLICE_SHARE),
            slice=sql.Literal(SLICE),
            start=sql.Literal(START.replace(tzinfo=None)),
            step=sql.Literal(STEP),
        )
    )
    sequence = sql.Identifier(schema, "messages_global_position_seq").as_string(connection)
    connection.execute("SELECT setval(%s, %s)", [sequence, offset + count + count // 7])
    connection.execute(sql.SQL("VACUUM ANALYZE {}").format(sql.Identifier(schema, "messages")))
    connection.execute("CHECKPOINT")


def _streams(count: int) -> int:
    """How many streams each slot has."""
    return max(1, count // (16 * _STREAM_LENGTH))
