"""Pages of ten messages against the reference's."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
from benchmarks.measuring import Row, compared, in_turn, say, seconds
from psycopg import sql

LARGE = "large "
"""What the names of the streams with large messages begin with."""

_LOOP = """
DO $$ DECLARE
  _streams varchar[] := {streams};
  _starts bigint[] := {starts};
BEGIN
  FOR n IN 1..{count} LOOP
    PERFORM * FROM {call};
  END LOOP;
END $$"""

_STREAM = "message_store.get_stream_messages({stream}, n % 40, 10)"
_CATEGORY = "message_store.get_category_messages({category}, {start}, 10)"
_GROUP = "message_store.get_category_messages({category}, {start}, 10, NULL, n % 8, 8)"
_CORRELATION = "message_store.get_category_messages({category}, {start}, 10, 'order')"

_STREAM_NOTE = "100 streams of 50 messages in turn, messages of the size that Message DB's own benchmark writes"
_CATEGORY_NOTE = "from 100 positions in turn; a quarter of all messages is of the category, the messages are small"
_LARGE_NOTE = "500 bytes of JSON a message, and to make text of it costs both sides the same"

# what, target, the call, the category, the note
_READS = (
    ("get_stream_messages of 10", 2.0, _STREAM, "order", _STREAM_NOTE),
    ("get_stream_messages of 10 large messages", None, _STREAM, LARGE + "order", _LARGE_NOTE),
    ("get_category_messages of 10", 1.4, _CATEGORY, "order", _CATEGORY_NOTE),
    ("get_category_messages of 10 large messages", None, _CATEGORY, LARGE + "order", _LARGE_NOTE),
    ("get_category_messages of 10, a rare category", None, _CATEGORY, "audit", "one message in 16 is of it"),
    ("get_category_messages of 10, by correlation", None, _CORRELATION, "order", ""),
    ("get_category_messages of 10, consumer group of 8", 2.5, _GROUP, "order", "each member in turn"),
)


def measure(ours: str, other: str, rounds: int, *, quick: bool) -> Iterator[Row]:
    """The rows on reading. `ours` and `other` are the DSNs of two databases with the same events in them."""
    say("reads")
    count = 1_000 if quick else 2_000
    with psycopg.connect(ours, autocommit=True) as left, psycopg.connect(other, autocommit=True) as right:
        for what, target, call, category, note in _READS:
            streams, starts = _samples(left, category)
            values: list[str | int] = [streams[50]] if call == _STREAM else [category, starts[50]]
            _require_same(left, right, call, values)
            loop = _LOOP.format(
                streams=sql.Literal(streams).as_string(left),
                starts=sql.Literal(starts).as_string(left),
                count=count,
                call=call.format(
                    stream="_streams[1 + n % 100]", category=f"'{category}'", start="_starts[1 + n % 100]"
                ),
            )

            def run(connection: psycopg.Connection, loop: str = loop) -> float:
                return seconds(lambda: connection.execute(loop.encode())) / count * 1e6

            samples = in_turn(lambda run=run: run(left), lambda run=run: run(right), rounds * 3)  # type: ignore[misc]
            yield compared(what, "µs", samples, side="Message DB", target=target, note=note)


def _samples(connection: psycopg.Connection, category: str) -> tuple[list[str], list[int]]:
    """A hundred streams of a category, and a hundred global positions spread over it."""
    messages = connection.execute(
        """
        SELECT stream_name, position, global_position FROM message_store.messages
        WHERE split_part(stream_name, '-', 1) = %s ORDER BY global_position
        """,
        [category],
    ).fetchall()
    streams = [stream for stream, position, _ in messages if position == 0][:100]
    return streams, [messages[len(messages) * number // 120][2] for number in range(100)]


def _require_same(left: psycopg.Connection, right: psycopg.Connection, call: str, values: list[str | int]) -> None:
    """Both sides return the same ten messages, or nothing is to be compared."""
    query = f"SELECT * FROM {call.format(stream='%s', category='%s', start='%s').replace('n % ', '11 %% ')}"
    ours = left.execute(query.encode(), values).fetchall()
    theirs = right.execute(query.encode(), values).fetchall()
    if ours != theirs or len(ours) != 10:
        raise SystemExit(f"the two sides differ on {call}: {len(ours)} and {len(theirs)} messages")
