"""Each store against the bare driver that does the same work, and against the latencies that were asked for."""

from __future__ import annotations

import io
import shutil
import statistics
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
from benchmarks import bare, events
from benchmarks.bare import BareLMDB, BareSQLite
from benchmarks.measuring import Row, compared, in_turn, say, seconds, seconds_and_cpu

import evtool
from evtool import contract, ndjson
from evtool.store import Store

_DATA = '{"attribute":"some value"}'

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
        yield from _local("SQLite", "sqlite", Path(folder), lines, rounds)
        yield from _local("LMDB", "lmdb", Path(folder), lines, rounds)


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


def _local(name: str, scheme: str, folder: Path, lines: bytes, rounds: int) -> Iterator[Row]:
    """A store of files against its driver."""
    rows = bare.rows_of(ndjson.read(io.BytesIO(lines)), contract.correlation_of)
    count = len(rows)

    def fresh(where: Path | None = None) -> Store:
        store = evtool.connect(f"{scheme}://{where or folder / uuid.uuid4().hex}")
        store.migrate()
        store.get_all_messages()
        return store

    def driver_at(where: Path | None = None) -> BareSQLite | BareLMDB:
        where = where or folder / uuid.uuid4().hex
        return BareSQLite(where) if scheme == "sqlite" else BareLMDB(where)

    def ours_in() -> tuple[float, float]:
        with fresh() as store:
            return seconds_and_cpu(lambda: store.import_batch(ndjson.read(io.BytesIO(lines))))

    def driver_in(load: Callable[[Any], object]) -> tuple[float, float]:
        with closing(driver_at()) as driver:
            return seconds_and_cpu(lambda: load(driver))

    what = f"{name}: import of {count:,} events into an empty namespace"
    side = "executemany of the rows" if scheme == "sqlite" else "putmulti of what it makes of the rows"
    note = "ours reads and checks a file; the driver's rows lie ready in memory, and it checks nothing"
    samples = in_turn(ours_in, lambda: driver_in(lambda driver: driver.load(rows)), rounds)
    yield compared(
        what,
        "events/s",
        [(count / ours, count / other) for (ours, _), (other, _) in samples],
        side=side,
        target=0.8,
        higher_is_better=True,
        note=note,
    )
    yield compared(
        f"{what}, processor's time",
        "µs an event",
        [(ours / count * 1e6, other / count * 1e6) for (_, ours), (_, other) in samples],
        side=side,
        target=None,
        note=note,
    )
    source = folder / uuid.uuid4().hex
    with fresh(source) as store:
        store.import_batch(ndjson.read(io.BytesIO(lines)))
    # each side has its own files: LMDB may be opened once in a process, and neither is to pay for the other's writes
    [found] = [one for one in source.iterdir() if not one.name.startswith("registry")]
    copied = folder / uuid.uuid4().hex
    (shutil.copy if scheme == "sqlite" else shutil.copytree)(found, copied)
    with fresh(source) as store, closing(driver_at(copied)) as driver:
        if isinstance(driver, BareLMDB):
            pairs = driver.pairs()
            samples = in_turn(ours_in, lambda: driver_in(lambda driver: driver.load_pairs(pairs)), rounds)
            yield compared(
                what,
                "events/s",
                [(count / ours, count / other) for (ours, _), (other, _) in samples],
                side="putmulti of pairs that lie ready, sorted",
                target=None,
                higher_is_better=True,
                note="the least that LMDB can do: nothing is read, made or sorted",
            )
            del pairs
        yield compared(
            f"{name}: export of {count:,} events",
            "events/s",
            in_turn(
                lambda: count / seconds(lambda: sum(block.count for block in store.export(evtool.Selection()))),
                lambda: count / seconds(lambda: sum(1 for _ in driver.all())),
                rounds,
            ),
            side="fetching the same rows",
            target=None,
            higher_is_better=True,
            note="ours writes the lines of a file",
        )
        yield from _calls(name, store, driver, rounds)


def _calls(name: str, store: Store, driver: BareSQLite | BareLMDB, rounds: int) -> Iterator[Row]:
    """Single calls, each side on files of its own."""
    batch, data = [evtool.NewMessage("Deposited", _DATA)] * 100, [_DATA] * 100
    calls: tuple[tuple[str, Callable[[], object], Callable[[], object]], ...] = (
        (
            "write",
            lambda: store.write_message(None, "ours-1", "Deposited", _DATA),
            lambda: driver.write("ours-1", data[:1]),
        ),
        ("batch of 100", lambda: store.write_messages("ours-1", batch), lambda: driver.write("ours-1", data)),
        (
            "stream read of 10",
            lambda: store.get_stream_messages("ours-1", 0, 10),
            lambda: driver.stream("ours-1", 10),
        ),
        (
            "category read of 10",
            lambda: store.get_category_messages("order", 1, 10),
            lambda: driver.category("order", 10),
        ),
    )
    for what, ours, other in calls:
        samples = in_turn(_microseconds(ours), _microseconds(other), rounds)
        yield compared(f"{name}: {what}", "µs", samples, side="the driver alone", target=None)


def _microseconds(call: Callable[[], object]) -> Callable[[], float]:
    def run() -> float:
        return seconds(lambda: [call() for _ in range(200)]) / 200 * 1e6

    return run
