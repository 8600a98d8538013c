"""Imports while others write, read and import: what is there afterwards is what each of them was told."""

from __future__ import annotations

import io
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from evtool import ndjson
from evtool.errors import ImportRefused, WriteConflict
from evtool.importing import import_file, import_in_batches
from evtool.imports import ImportPlan, OnConflict
from evtool.stores.postgres import PostgresStore
from evtool.testing.contract.helping import everything
from tests.transfer.lines import line, lines

_LINES = 6000


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A file of 6000 messages."""
    (tmp_path / "events.ndjson").write_bytes(lines(range(1, _LINES + 1)))
    return str(tmp_path / "events.ndjson")


def _outcomes(calls: list[Callable[[], object]]) -> Counter[str]:
    """How calls at the same time have ended: "done", or the code of the error."""
    start = threading.Barrier(len(calls))

    def run(call: Callable[[], object]) -> str:
        start.wait(60)
        try:
            call()
        except (ImportRefused, WriteConflict) as error:
            return error.code
        return "done"

    with ThreadPoolExecutor(len(calls)) as pool:
        return Counter(pool.map(run, calls))


@pytest.mark.parametrize("filled", [False, True], ids=["empty", "filled"])
def test_of_imports_of_one_file_at_once_one_is_done(store: PostgresStore, path: str, filled: bool) -> None:
    """The others wait for it and are refused; the file is there once, and whole."""
    if filled:
        store.import_batch(ndjson.read(io.BytesIO(line(99_000, stream="there-1"))))
    assert _outcomes([lambda: import_file(store, path)] * 3) == {"done": 1, "POSITION_EXISTS": 2}
    assert len(everything(store)) == _LINES + filled
    assert len(store.import_records()) == 1 + filled


def test_imports_at_once_that_skip_are_all_done(store: PostgresStore, path: str) -> None:
    """Each finds what the others have brought; the file is there once."""
    plan = ImportPlan(on_conflict=OnConflict.SKIP)
    assert _outcomes([lambda: import_file(store, path, plan)] * 3) == {"done": 3}
    assert len(everything(store)) == _LINES
    assert sum(one.imported for one in store.import_records()) == _LINES


def test_replacements_at_once_leave_one_of_them(store: PostgresStore, path: str) -> None:
    """Whichever comes last has replaced the other as a whole."""
    store.import_batch(ndjson.read(io.BytesIO(line(99_000, stream="there-1"))))
    plan = ImportPlan(replace=True)
    assert _outcomes([lambda: import_file(store, path, plan)] * 3) == {"done": 3}
    assert [message.global_position for message in everything(store)] == list(range(1, _LINES + 1))


@pytest.mark.parametrize("resume", [False, True], ids=["batches", "resumable"])
def test_batches_of_one_file_at_once_place_it_once(store: PostgresStore, path: str, resume: bool) -> None:
    """However the batches fall together: no message twice, whole batches, and the rest can be brought."""
    outcomes = _outcomes([lambda: import_in_batches(store, path, 500, resume=resume)] * 3)
    assert outcomes["done"] <= 1
    assert set(outcomes) <= {"done", "POSITION_EXISTS", "CONFLICT"}
    found = len(everything(store))
    assert found % 500 == 0
    assert found == max(one.last_line for one in store.import_records())
    if resume:
        import_in_batches(store, path, 500, resume=True)
        assert len(everything(store)) == _LINES
        assert sum(one.imported for one in store.import_records()) == _LINES


@pytest.mark.parametrize("plan", [ImportPlan(), ImportPlan(on_conflict=OnConflict.SKIP)], ids=["error", "skip"])
def test_writers_and_imports_lose_nothing_of_each_other(store: PostgresStore, plan: ImportPlan) -> None:
    """Writers get positions above every import that was done before; all messages are there, each once."""
    store.import_batch(ndjson.read(io.BytesIO(line(1, stream="first-1"))))
    imported: list[int] = []
    stop = threading.Event()

    def write(stream: str) -> int:
        written = 0
        while not stop.is_set():
            done = max(imported, default=0)
            store.write_message(None, stream, "T", {})
            last = store.get_last_stream_message(stream)
            assert last is not None
            assert last.global_position > done
            written += 1
        return written

    with ThreadPoolExecutor(3) as pool:
        writers = [pool.submit(write, f"written-{number}") for number in range(3)]
        try:
            for number in range(1, 16):
                # far above what the writers draw meanwhile
                first = (store.last_position() or 0) + 100_000
                content = lines(range(first, first + 200), stream=f"imported-{number}")
                store.import_batch(ndjson.read(io.BytesIO(content)), plan)
                imported.append(first + 199)
        finally:
            stop.set()
        written = sum(writer.result(60) for writer in writers)
    messages = everything(store)
    assert len(messages) == 1 + 15 * 200 + written
    assert sum(one.stream_name.startswith("imported-") for one in messages) == 15 * 200


def test_a_writer_between_batches_is_told_of(store: PostgresStore, path: str) -> None:
    """It takes a position of a line to come: that batch is refused by its line, and the ones before it stay."""
    writer = threading.Event()

    def write(_: object) -> None:
        if not writer.is_set():
            writer.set()
            store.write_message(None, "written-1", "T", {})

    with pytest.raises(ImportRefused) as caught:
        import_in_batches(store, path, 1000, progress=write)
    assert (caught.value.code, caught.value.line) == ("POSITION_EXISTS", 1001)
    assert "lines 1 to 1000 are imported" in (caught.value.hint or "")
    assert len(everything(store)) == 1001
