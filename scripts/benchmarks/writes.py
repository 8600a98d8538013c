"""write_message and write_messages against the reference's write_message."""

from __future__ import annotations

import re
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
from benchmarks import sides
from benchmarks.measuring import Row, compared, in_turn, say, seconds

# The ids are md5 hashes and not random uuids: some servers read those from the operating system, which would cost
# both sides more than the rest of the loop.
_LOOP = """
DO $$ BEGIN
  FOR n IN 1..{count} LOOP
    PERFORM message_store.write_message(md5('{seed}/' || n)::varchar, ('bench-' || n % 100)::varchar,
      'SomethingHappened', {data}, {metadata});
  END LOOP;
END $$"""

_PGBENCH = """\\set stream random(1, 1000)
SELECT message_store.write_message(gen_random_uuid()::varchar, ('bench' || :stream % 8 || '-' || :stream)::varchar,
'SomethingHappened', {data}, {metadata});
"""

_DATA = '{"name": "somebody", "amount": 12.5, "note": "0123456789012345678901234567890123456789"}'
_METADATA = '{"correlationStreamName": "order-1"}'
_BATCH = 100


def measure(ours: str, other: str, server: sides.Server, rounds: int, *, quick: bool) -> Iterator[Row]:
    """The rows on writing. `ours` and `other` are the DSNs of two databases with the same events in them."""
    say("writes")
    with psycopg.connect(ours, autocommit=True) as left, psycopg.connect(other, autocommit=True) as right:
        stock = left.execute("SELECT max(global_position) FROM message_store.messages").fetchone()
        yield _loop(left, right, rounds * (3 if quick else 12), 2_000)
        _clean(stock, left, right)
        if server.pgbench is None:
            say("SKIPPED: writes by pgbench, for there is no pgbench that fits the server")
        else:
            for clients in (1, 8):
                yield _pgbench(server.pgbench, ours, other, clients, rounds * (1 if quick else 5))
                _clean(stock, left, right)
        yield from _batch(left, rounds * 3)
        _clean(stock, left, right)


def _loop(left: psycopg.Connection, right: psycopg.Connection, rounds: int, count: int) -> Row:
    numbers = iter(range(1_000_000))

    def run(connection: psycopg.Connection) -> float:
        text = _LOOP.format(count=count, seed=next(numbers), data=f"'{_DATA}'", metadata=f"'{_METADATA}'")
        return seconds(lambda: connection.execute(text.encode())) / count * 1e6

    samples = in_turn(lambda: run(left), lambda: run(right), rounds)
    note = f"a PL/pgSQL loop inside the server, {count:,} writes a round over 100 streams, one commit"
    return compared("write_message, in-server loop", "µs", samples, side="Message DB", target=1.25, note=note)


def _pgbench(program: Path, ours: str, other: str, clients: int, rounds: int) -> Row:
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
        script.write(_PGBENCH.format(data=f"'{_DATA}'", metadata=f"'{_METADATA}'"))
        script.flush()

        def run(dsn: str) -> float:
            options = f"-n -c {clients} -j 1 -T 1 -M prepared -f".split()
            done = subprocess.run([program, *options, script.name, dsn], capture_output=True, text=True, check=False)
            told = re.search(r"tps = ([\d.]+)", done.stdout)
            if told is None:
                raise SystemExit(f"pgbench failed: {done.stderr.strip()}")
            return float(told[1])

        samples = in_turn(lambda: run(ours), lambda: run(other), rounds)
    what = f"write_message, pgbench, {clients} client{'s' * (clients > 1)}"
    note = f"each call commits, and the disk decides: {rounds} rounds of 1 s a side"
    return compared(what, "tps", samples, side="Message DB", target=1.0, higher_is_better=True, note=note)


def _batch(connection: psycopg.Connection, rounds: int) -> Iterator[Row]:
    numbers = iter(range(1_000_000))

    def batch() -> float:
        ids, stream = [str(uuid.uuid4()) for _ in range(_BATCH)], f"batch-{next(numbers)}"
        arguments = [ids, stream, ["T"] * _BATCH, [_DATA] * _BATCH, [_METADATA] * _BATCH]
        call = b"SELECT message_store.write_messages(%s::varchar[], %s, %s::varchar[], %s::jsonb[], %s::jsonb[])"
        return seconds(lambda: connection.execute(call, arguments).fetchall()) * 1e3

    def calls(*, together: bool) -> float:
        ids, stream = [str(uuid.uuid4()) for _ in range(_BATCH)], f"single-{next(numbers)}"

        def one_by_one() -> None:
            for id_ in ids:
                connection.execute(
                    b"SELECT message_store.write_message(%s, %s, %s, %s, %s)", [id_, stream, "T", _DATA, _METADATA]
                ).fetchone()

        def in_one_transaction() -> None:
            with connection.transaction():
                one_by_one()

        return seconds(in_one_transaction if together else one_by_one) * 1e3

    samples = in_turn(batch, lambda: calls(together=False), rounds)
    yield compared("a batch of 100 by write_messages", "ms", samples, side="100 calls of write_message", target=5)
    samples = in_turn(batch, lambda: calls(together=True), rounds)
    yield compared("a batch of 100 by write_messages", "ms", samples, side="100 calls in one transaction", target=None)


def _clean(stock: tuple[int] | None, *connections: psycopg.Connection) -> None:
    """Leave the events that the databases were filled with, up to the global position `stock`."""
    for connection in connections:
        connection.execute("DELETE FROM message_store.messages WHERE global_position > %s", stock)
        connection.execute("VACUUM ANALYZE message_store.messages")
        connection.execute("CHECKPOINT")
