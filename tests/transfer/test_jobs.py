"""An export over several connections: the same bytes, one snapshot, and nobody left behind when it ends."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import SimpleNamespace

import psycopg
import pytest
from psycopg import sql

from evtool.errors import StoreError, StoreUnreachable
from evtool.model import ExportBlock, Selection
from evtool.stores.postgres import PostgresStore, parallel
from evtool.stores.postgres.parallel import Queues, Range
from evtool.stores.postgres.selecting import Slice
from evtool.testing.contract.helping import file_of, record
from tests.cli.running import Cli, assert_one_line

Ask = Callable[[], int]
_COUNT = 30_000


@pytest.fixture(autouse=True)
def _short_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    """So many ranges as a large namespace has."""
    monkeypatch.setattr(parallel, "_SHORTEST", 100)


@pytest.fixture
def filled(store: PostgresStore) -> PostgresStore:
    """Messages in seven categories, with a large gap in their positions."""
    store.import_batch(
        record(n if n < _COUNT // 2 else n * 40, f"c{n % 7}-{n % 50}", n, type=f"T{n % 3}", data={"text": "x" * 60})
        for n in range(1, _COUNT + 1)
    )
    return store


@pytest.fixture
def sessions(connection: psycopg.Connection) -> Ask:
    """How many sessions there are that export."""

    def ask() -> int:
        row = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'COPY%'"
            " AND state <> 'idle'"
        ).fetchone()
        assert row is not None
        return int(row[0])

    return ask


@pytest.mark.thorough(but=["all-3", "categories-3", "positions-3"])
@pytest.mark.parametrize("jobs", [2, 3, 8])
@pytest.mark.parametrize(
    "selection",
    [
        Selection(),
        Selection(("c1", "c2", "c6")),
        Selection(types=("T1",)),
        Selection(streams=("c1-1", "c2-2")),
        Selection(from_position=777, to_position=20_000 * 40),
        Selection(("none",)),
    ],
    ids=["all", "categories", "type", "streams", "positions", "nothing"],
)
def test_any_number_of_jobs_gives_the_same_bytes(filled: PostgresStore, jobs: int, selection: Selection) -> None:
    """Ranges are put together in their order, whichever is ready first."""
    again = b"".join(block.lines for block in filled.export(selection, jobs=jobs))
    assert again == file_of(filled, selection)


def test_all_jobs_see_one_snapshot(filled: PostgresStore) -> None:
    """What is written after the first line is in none of the ranges, nor is what was deleted missing from any."""
    before = file_of(filled)
    blocks = filled.export(Selection(), jobs=4)
    first = next(blocks)
    filled.import_batch([record(n, "late-1", n) for n in range(_COUNT // 2, _COUNT * 2, 1000)])
    with psycopg.connect(filled._dsn, autocommit=True) as owner:
        owner.execute(f"DELETE FROM {filled.namespace}.messages WHERE global_position % 2 = 0".encode())
    assert first.lines + b"".join(block.lines for block in blocks) == before


def test_what_is_read_ahead_is_limited_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many ranges there are, and however slow the output; the range that is written out finds room."""
    queues, over = Queues(), threading.Event()
    # who would have to wait for room gives up
    monkeypatch.setattr(queues, "_gone", SimpleNamespace(wait=lambda _: over.set(), notify_all=lambda: None))
    ranges = [Range(Slice(sql.Identifier("messages"), (), (), None, 0, 0)) for _ in range(100)]
    block = ExportBlock(b"x" * (1 << 20), 1, 1)

    def fill(one: Range) -> int:
        over.clear()
        return sum(1 for _ in iter(lambda: queues.put(one, block, over), False))

    filled = [fill(one) for one in ranges]
    assert sum(filled) == 24
    assert max(filled) == 2
    assert queues.take(ranges[0]) == block
    assert fill(ranges[50]) == 1
    assert fill(ranges[50]) == 0
    assert fill(ranges[0]) == 1


def test_an_export_left_early_leaves_nobody_behind(filled: PostgresStore, sessions: Ask) -> None:
    """Closing it ends its threads and its sessions, however far ahead they are."""
    threads = threading.active_count()
    for _ in range(3):
        blocks = filled.export(Selection(), jobs=4)
        next(blocks)
        blocks.close()  # type: ignore[attr-defined]
    assert threading.active_count() == threads
    assert sessions() == 0


def test_a_fault_in_a_range_is_raised_in_its_place(filled: PostgresStore, sessions: Ask) -> None:
    """What comes before it was handed on; then the error of the range, and nobody is left behind."""
    with psycopg.connect(filled._dsn, autocommit=True) as owner:
        query = f"UPDATE {filled.namespace}.messages SET time = 'infinity' WHERE global_position = {20_000 * 40}"
        owner.execute(query.encode())
    threads = threading.active_count()
    positions: list[int] = []
    with pytest.raises(StoreError, match=f"global position {20_000 * 40} has a time"):
        positions.extend(block.last_position for block in filled.export(Selection(), jobs=3))
    assert positions == sorted(positions)
    assert 0 < positions[-1] < 20_000 * 40
    assert threading.active_count() == threads
    assert sessions() == 0


def test_a_session_that_is_ended_ends_the_export(filled: PostgresStore, connection: psycopg.Connection) -> None:
    """One of several is enough: its range can't be had."""
    blocks = filled.export(Selection(), jobs=3)
    next(blocks)
    connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'COPY%' AND pid <> pg_backend_pid()"
    )
    with pytest.raises(StoreUnreachable):
        list(blocks)


def test_jobs_on_the_command_line(cli: Cli, tmp_path: object) -> None:
    """A store without the ability says so, in one line."""
    assert cli("export", "--jobs", "3").ok().out == ""
    assert cli("export", "--jobs", "0").code == 2
    other = Cli(f"sqlite://{tmp_path}/store", "message_store")
    other("migrate").ok()
    assert_one_line(other("export", "--jobs", "2"), 2, "NOT_ABLE", "no export over several connections")
    other("export", "--jobs", "1").ok()
