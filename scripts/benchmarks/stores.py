"""Each store against the bare driver that does the same work, and against the latencies that were asked for."""

from __future__ import annotations

import io
import sqlite3
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import lmdb
import psycopg
from benchmarks import events
from benchmarks.measuring import Row, compared, in_turn, say, seconds

import evtool
from evtool import ndjson
from evtool.store import Store
from evtool.stores.sqlite import importing

_COLUMNS = "id, stream_name, type, position, global_position, data, metadata, time"
_INSERT = "INSERT INTO messages (id, stream_name, type, position, data, metadata, time) VALUES (?, ?, ?, ?, ?, ?, ?)"
_DATA = '{"attribute":"some value"}'
_POSITION_BYTES = 8
_NOW = "2025-07-15T10:00:00.000000Z"

# What was asked for, in milliseconds: PostgreSQL, SQLite in a file, SQLite in memory.
_LIMITS = {
    "write_message": (10, 5, 1),
    "get_stream_messages of 10": (15, 8, 2),
    "get_category_messages of 100": (50, 30, 10),
    "create_namespace": (100, 50, 20),
    "delete_namespace": (200, 100, 50),
}


def measure(dsn: str, count: int, rounds: int) -> Iterator[Row]:
    """The rows of the group stores.

    Args:
        dsn: a migrated PostgreSQL database of ours.
        count: how many events are imported and exported.
        rounds: how many times.
    """
    say("latencies")
    with tempfile.TemporaryDirectory(prefix="evtool-benchmark-") as folder:
        stores = {
            "PostgreSQL": (dsn, 0),
            "SQLite file": (f"sqlite://{folder}/latencies", 1),
            "SQLite memory": ("sqlite://:memory:", 2),
            "LMDB": (f"lmdb://{folder}/latencies-lmdb", 1),
        }
        for name, (address, column) in stores.items():
            with evtool.connect(address) as store:
                store.migrate()
                yield from _latencies(name, store, column)
        say(f"import and export of {count:,} events")
        lines = _lines(dsn, count)
        yield from _sqlite(Path(folder), lines, rounds)
        yield from _lmdb(Path(folder), lines, rounds)


def _lines(dsn: str, count: int) -> bytes:
    """An export of made-up events."""
    with evtool.connect(dsn, f"stores_{uuid.uuid4().hex[:8]}") as store, psycopg.connect(dsn, autocommit=True) as raw:
        schema = store.create_namespace(store.namespace).schema
        events.fill(raw, schema, count)
        return b"".join(block.lines for block in store.export(evtool.Selection()))


def _latencies(name: str, store: Store, column: int) -> Iterator[Row]:
    """The 99th percentile of single calls."""
    numbers = iter(range(1_000_000))
    namespace = store.in_namespace("latencies")
    store.create_namespace("latencies")
    for number in range(2_000):
        namespace.write_message(None, f"account-{number % 40}", "Deposited", _DATA)
    calls: dict[str, tuple[int, Callable[[], object]]] = {
        "write_message": (
            1_000,
            lambda: namespace.write_message(None, f"account-{next(numbers) % 40}", "Deposited", _DATA),
        ),
        "get_stream_messages of 10": (1_000, lambda: namespace.get_stream_messages("account-7", 5, 10)),
        "get_category_messages of 100": (500, lambda: namespace.get_category_messages("account", 100, 100)),
        "create_namespace": (60, lambda: store.create_namespace(f"made_{next(numbers)}")),
        "delete_namespace": (60, lambda: store.delete_namespace(made.pop())),
    }
    made: list[str] = []
    for what, (times, call) in calls.items():
        if what == "delete_namespace":
            made += [one.name for one in store.list_namespaces() if one.name.startswith("made_")]
        taken = [seconds(call) * 1e3 for _ in range(times)]
        limit = float(_LIMITS[what][column])
        slowest = statistics.quantiles(taken, n=100)[98]
        # nothing was asked of LMDB; the file's limits are there to compare with
        target = None if name == "LMDB" else 1.0
        yield compared(
            f"{name}: {what}, 99th percentile",
            "ms",
            [(slowest, limit)],
            side="the limit",
            target=target,
            note="one thread",
        )


def _sqlite(folder: Path, lines: bytes, rounds: int) -> Iterator[Row]:
    rows = list(importing._Rows(ndjson.read(io.BytesIO(lines))).all())  # noqa: SLF001 - the very rows that it inserts
    count = len(rows)

    def fresh() -> Store:
        store = evtool.connect(f"sqlite://{folder}/{uuid.uuid4().hex}")
        store.migrate()
        store.get_all_messages()
        return store

    def bare(store: Store) -> sqlite3.Connection:
        [path] = list(store._namespaces.folder.glob("*-*.sqlite"))  # type: ignore[attr-defined] # noqa: SLF001
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA cache_size = -32768")
        return connection

    def ours_in() -> float:
        with fresh() as store:
            return count / seconds(lambda: store.import_batch(ndjson.read(io.BytesIO(lines))))

    def bare_in() -> float:
        with fresh() as store:
            connection = bare(store)
            start = time.perf_counter()
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(importing._INSERT, rows)  # noqa: SLF001
            connection.execute("COMMIT")
            taken = time.perf_counter() - start
            connection.close()
            return count / taken

    yield compared(
        "SQLite: import into an empty namespace",
        "events/s",
        in_turn(ours_in, bare_in, rounds),
        side="executemany of the same rows",
        target=0.8,
        higher_is_better=True,
        note="ours parses and checks the file as well, and builds the indexes afterwards",
    )
    with fresh() as store:
        store.import_batch(ndjson.read(io.BytesIO(lines)))
        connection = bare(store)
        query = f"SELECT {_COLUMNS} FROM messages ORDER BY global_position"
        samples = in_turn(
            lambda: count / seconds(lambda: sum(block.count for block in store.export(evtool.Selection()))),
            lambda: count / seconds(lambda: sum(1 for _ in connection.execute(query))),
            rounds,
        )
        yield compared(
            "SQLite: export", "events/s", samples, side="fetching the same rows", target=None, higher_is_better=True
        )
        yield from _sqlite_calls(store, connection, rounds)
        connection.close()


def _sqlite_calls(store: Store, connection: sqlite3.Connection, rounds: int) -> Iterator[Row]:
    last = "SELECT max(position) FROM messages WHERE stream_name = ?"

    def write(number: int) -> None:
        connection.execute("BEGIN IMMEDIATE")
        position = connection.execute(last, ("bare-1",)).fetchone()[0]
        first = 0 if position is None else position + 1
        for step in range(number):
            row = (str(uuid.uuid4()), "bare-1", "Deposited", first + step, _DATA, None, _NOW)
            connection.execute(_INSERT, row)
        connection.execute("COMMIT")

    batch = [evtool.NewMessage("Deposited", _DATA)] * 100
    page = f"SELECT {_COLUMNS} FROM messages WHERE stream_name = ? AND position >= 0 ORDER BY position LIMIT 10"
    category = (
        f"SELECT {_COLUMNS} FROM messages WHERE category = ? AND global_position >= 1 ORDER BY global_position LIMIT 10"
    )
    calls: tuple[tuple[str, Callable[[], object], Callable[[], object]], ...] = (
        ("write", lambda: store.write_message(None, "ours-1", "Deposited", _DATA), lambda: write(1)),
        ("batch of 100", lambda: store.write_messages("ours-1", batch), lambda: write(100)),
        (
            "stream read of 10",
            lambda: store.get_stream_messages("ours-1", 0, 10),
            lambda: connection.execute(page, ("ours-1",)).fetchall(),
        ),
        (
            "category read of 10",
            lambda: store.get_category_messages("order", 1, 10),
            lambda: connection.execute(category, ("order",)).fetchall(),
        ),
    )
    for what, ours, bare in calls:
        samples = in_turn(_microseconds(ours), _microseconds(bare), rounds)
        yield compared(f"SQLite: {what}", "µs", samples, side="sqlite3 alone", target=None)


def _lmdb(folder: Path, lines: bytes, rounds: int) -> Iterator[Row]:
    with evtool.connect(f"lmdb://{folder}/source") as store:
        store.migrate()
        count = store.import_batch(ndjson.read(io.BytesIO(lines))).imported
    tables = _tables(folder / "source")

    def ours_in() -> float:
        with evtool.connect(f"lmdb://{folder}/{uuid.uuid4().hex}") as store:
            store.migrate()
            return count / seconds(lambda: store.import_batch(ndjson.read(io.BytesIO(lines))))

    def bare_in() -> float:
        environment = lmdb.open(str(folder / uuid.uuid4().hex), map_size=1 << 34)
        start = time.perf_counter()
        with environment.begin(write=True) as transaction:
            for pairs in tables:
                transaction.cursor().putmulti(pairs)
        taken = time.perf_counter() - start
        environment.close()
        return count / taken

    yield compared(
        "LMDB: import into an empty namespace",
        "events/s",
        in_turn(ours_in, bare_in, rounds),
        side="putmulti of the same pairs",
        target=0.8,
        higher_is_better=True,
        note="ours parses and checks the file as well; the pairs are put in the order in which the import makes them",
    )


def _tables(folder: Path) -> list[list[tuple[bytes, bytes]]]:
    """Every pair of an imported namespace, by the kind of its key, in the order in which an import puts them."""
    [path] = [one.parent for one in folder.rglob("data.mdb") if one.parent.name != "registry"]
    environment = lmdb.open(str(path), readonly=True)
    tables: dict[bytes, list[tuple[bytes, bytes]]] = {}
    with environment.begin() as transaction:
        for key, value in transaction.cursor():
            tables.setdefault(bytes(key[:1]), []).append((bytes(key), bytes(value)))
    environment.close()
    for pairs in tables.values():
        if len(pairs[0][1]) == _POSITION_BYTES:
            # ids and stream positions are random, and their value is the global position
            pairs.sort(key=lambda pair: pair[1])
    return list(tables.values())


def _microseconds(call: Callable[[], object]) -> Callable[[], float]:
    def run() -> float:
        return seconds(lambda: [call() for _ in range(200)]) / 200 * 1e6

    return run
