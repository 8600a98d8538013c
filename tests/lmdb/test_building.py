"""Large imports: an environment is built beside the one in use, and takes its place in one moment."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from evtool.errors import ImportRefused, StoreError, StoreTimeout
from evtool.imports import ImportPlan, ImportSummary
from evtool.model import Selection
from evtool.ndjson import Record
from evtool.stores.lmdb import LMDBStore, building, sorting, turns
from evtool.stores.lmdb import importing as importing_module
from evtool.testing.contract.helping import append, everything, file_of, new_id, record, records
from tests.lmdb.conftest import Start
from tests.lmdb.looking import check, ended, said, tell

COUNT = 3000
REPLACE = ImportPlan(replace=True)


def generation(type_: str, count: int = COUNT) -> Iterator[Record]:
    """Messages of a type, more than a transaction of the environment in use would take."""
    return (record(n, f"thing-{n % 70}", n // 70, type=type_, data={"n": n}) for n in range(1, count + 1))


def folders(store: LMDBStore) -> list[str]:
    """The folders of namespaces, as the disk has them."""
    found = store._namespaces.folder.iterdir()
    return sorted(path.name for path in found if path.name != "registry")


def test_a_large_import_is_complete_under_every_key(store: LMDBStore) -> None:
    """What leads to messages is put at the end, sorted, and is all there."""
    store.import_batch(generation("First"))
    assert check(store) == COUNT
    assert len(folders(store)) == 1
    append(store, "thing-1")
    assert check(store) == COUNT + 1


@pytest.mark.thorough
def test_many_runs_are_merged(store: LMDBStore, real_file: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """What doesn't go into memory at once is sorted in runs, and commits lie between them."""
    monkeypatch.setattr(sorting, "_RUN", 700)
    monkeypatch.setattr(sorting, "_BLOCK", 50)
    monkeypatch.setattr(importing_module, "_COMMIT_BYTES", 1 << 18)
    monkeypatch.setattr(importing_module, "_STREAMS", 100)
    count = store.import_batch(records(real_file)).imported
    assert check(store) == count == 38817


@pytest.mark.parametrize("seed", range(5))
def test_a_sorter_sorts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """Whatever goes in comes out in the order of its bytes, as often as it is asked for, what is there twice included."""
    chance = random.Random(seed)
    monkeypatch.setattr(sorting, "_RUN", chance.randint(1, 300))
    monkeypatch.setattr(sorting, "_BLOCK", chance.randint(1, 60))
    entries = [chance.randbytes(chance.randint(0, 3)) for _ in range(2000)]
    sorter = sorting.Sorter(tmp_path)
    for start in range(0, len(entries), 100):
        sorter.add(entries[start : start + 100])
    for _ in range(2):
        assert [entry for part in sorter.sorted() for entry in part] == sorted(entries)
    sorter.close()


@pytest.mark.parametrize("run", [97, 1 << 16])
@pytest.mark.parametrize("fault", [True, False])
def test_the_first_repeated_line_is_named(
    store: LMDBStore, monkeypatch: pytest.MonkeyPatch, run: int, fault: bool
) -> None:
    """Of ids and stream positions that are there twice or three times the earliest second one is told, before a fault."""
    monkeypatch.setattr(sorting, "_RUN", run)
    given = list(generation("First"))
    for number, other in ((2500, 2499), (2400, 10), (2300, 10), (2600, 5)):
        given[number].id = given[other].id.upper()
    given[2200].stream, given[2200].pos = given[700].stream, given[700].pos
    lines = iter([*given, record(COUNT + 1, data=b'"\\u0000"')] if fault else given)
    with pytest.raises(ImportRefused) as caught:
        store.import_batch(lines)
    assert (caught.value.code, caught.value.line) == ("STREAM_POSITION_EXISTS", 2201)
    given[2200].stream = "elsewhere-1"
    with pytest.raises(ImportRefused) as caught:
        store.import_batch(given)
    assert (caught.value.code, caught.value.line, caught.value.value) == ("ID_EXISTS", 2301, given[10].id.lower())
    assert everything(store) == []
    assert len(folders(store)) == 1


def test_a_repeated_id_comes_before_a_position_that_clashes_behind_it(store: LMDBStore) -> None:
    """What is only looked at in the end is told nevertheless, if its line comes first."""
    given = list(generation("First"))
    given[2500].id = given[10].id
    given[2505].gpos = given[20].gpos
    with pytest.raises(ImportRefused) as caught:
        store.import_batch(given)
    assert (caught.value.code, caught.value.line) == ("ID_EXISTS", 2501)
    given[2500].id = new_id()
    with pytest.raises(ImportRefused) as caught:
        store.import_batch(given)
    assert (caught.value.code, caught.value.line) == ("POSITION_EXISTS", 2506)


def test_what_fails_leaves_no_folder(store: LMDBStore) -> None:
    """Neither a refused import nor a dry run leaves anything on the disk."""
    store.import_batch(generation("First"))
    before = folders(store)
    with pytest.raises(ImportRefused):
        store.import_batch([*generation("Second"), record(1)], REPLACE)
    store.import_batch(generation("Second"), ImportPlan(replace=True, dry_run=True))
    assert folders(store) == before
    assert {message.type for message in everything(store)} == {"First"}


def test_a_writer_that_waits_meets_the_new_messages(store: LMDBStore, tmp_path: Path) -> None:
    """Who begins to write while messages are replaced waits, and writes behind the new ones; nothing is lost."""
    append(store, "thing-1", 3)
    positions: list[int] = []
    other = LMDBStore(tmp_path / "store", "message_store")
    writer = threading.Thread(target=lambda: positions.extend(append(other, "thing-1")))

    def with_a_writer() -> Iterator[Record]:
        for number, one in enumerate(generation("First")):
            if number == COUNT // 2:
                writer.start()
            yield one

    store.import_batch(with_a_writer(), REPLACE)
    writer.join(60)
    assert positions == [store.stream_version("thing-1")]
    assert check(store) == COUNT + 1
    assert check(other) == COUNT + 1


def test_another_process_meets_the_new_messages(store: LMDBStore, start: Start) -> None:
    """A process that has the old environment open reads and writes the new one from then on."""
    append(store, "old-1", 3)
    process = start("""
say(len(store.get_all_messages()))
wait()
say(len(store.get_all_messages(batch_size=-1)), store.stream_version("old-1"))
say(store.write_message(None, "old-1", "Happened", {}))
""")
    assert said(process) == "3"
    store.import_batch(generation("First"), REPLACE)
    tell(process)
    assert ended(process) == [f"{COUNT} None", "0"]
    assert check(store) == COUNT + 1


@pytest.mark.parametrize("elsewhere", [True, False], ids=["by another process", "by this one"])
def test_an_export_of_what_is_replaced_meanwhile_ends_with_an_error(
    store: LMDBStore, start: Start, elsewhere: bool
) -> None:
    """It doesn't go on with other messages, nor end as if there were no more; the next one has the new."""
    store.import_batch(generation("First"))
    blocks = store.export(Selection())
    assert next(blocks).count < COUNT
    if elsewhere:
        ended(
            start("""
from evtool.imports import ImportPlan
from tests.lmdb.test_building import generation
store.import_batch(generation("Second"), ImportPlan(replace=True))
""")
        )
    else:
        store.import_batch(generation("Second"), REPLACE)
    with pytest.raises(StoreError, match="replaced") as caught:
        list(blocks)
    assert caught.value.hint
    assert b"First" not in file_of(store)


# Where a process that replaces messages is killed, and which messages are there afterwards.
POINTS = {
    "while messages are put": ("building.Building", "commit", "Old"),
    "before the disk has all": ("building.Building", "finish", "Old"),
    "before it is the successor": ("importing", "set_successor", "Old"),
    "before the registry knows": ("namespaces.Namespaces", "settle", "New"),
    "before the old folder is gone": ("environment.Environment", "remove", "New"),
}


@pytest.mark.thorough(but=["nobody*"])
@pytest.mark.parametrize(("place", "name", "there"), POINTS.values(), ids=POINTS.keys())
@pytest.mark.parametrize("keep_open", [True, False], ids=["others have it open", "nobody else has it open"])
def test_a_kill_leaves_the_old_messages_or_the_new(
    store: LMDBStore, start: Start, place: str, name: str, there: str, keep_open: bool
) -> None:
    """Killed wherever it be, all of one and nothing of the other is there, and the next write and import work."""
    store.import_batch(generation("Old"))
    assert len(everything(store)) == COUNT
    if not keep_open:
        store.close()
    process = start(f"""
import os, signal
from evtool.imports import ImportPlan
from evtool.stores.lmdb import building, environment, importing, namespaces
from tests.lmdb.test_building import generation
importing._COMMIT_BYTES = 1 << 18
def kill(*_):
    say("killed")
    os.kill(os.getpid(), signal.SIGKILL)
setattr({place}, "{name}", kill)
store.import_batch(generation("New", {COUNT + 500}), ImportPlan(replace=True))
""")
    assert said(process) == "killed"
    assert process.wait(60) == -9
    assert {message.type for message in everything(store)} == {there}
    count = check(store)
    assert count == (COUNT if there == "Old" else COUNT + 500)
    assert append(store, "fresh-1") == [0]
    assert check(store) == count + 1
    store.import_batch(generation("Newest"), REPLACE)
    assert check(store) == COUNT
    left = folders(store)
    # what was being filled is removed by the next import; a folder that had its final name may stay behind
    assert not [one for one in left if one.endswith(".import")]
    assert len(left) <= 2


def test_a_namespace_that_is_deleted_after_a_kill_is_gone(store: LMDBStore, start: Start) -> None:
    """Where the registry doesn't know yet that the messages have moved, a deletion finds them nevertheless."""
    store.import_batch(generation("Old"))
    process = start("""
import os, signal
from evtool.imports import ImportPlan
from evtool.stores.lmdb import namespaces
from tests.lmdb.test_building import generation
namespaces.Namespaces.settle = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
store.import_batch(generation("New"), ImportPlan(replace=True))
""")
    assert process.wait(60) == -9
    assert len(folders(store)) == 2
    store.delete_namespace("message_store")
    assert folders(store) == []
    store.create_namespace("message_store")
    assert everything(store) == []


def test_who_waits_for_an_import_does_not_wait_for_ever(
    store: LMDBStore, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write, and another import, give up when another process's import takes too long; afterwards they work."""
    monkeypatch.setattr(turns, "_WAIT_SECONDS", 0.2)
    process = start("""
from tests.lmdb.test_building import generation
def slow():
    say("importing")
    wait()
    yield from generation("First", 10)
store.import_batch(slow())
""")
    assert said(process) == "importing"
    for call in (lambda: append(store, "thing-1"), lambda: store.import_batch([record(1, id=new_id())])):
        with pytest.raises(StoreTimeout) as caught:
            call()
        assert caught.value.hint
    assert everything(store) == []
    tell(process)
    ended(process)
    assert append(store, "fresh-1") == [0]
    assert store.import_batch([record(50, "later-1")]) == ImportSummary(1, 50)


def test_an_import_lets_those_pass_who_have_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between a writer's look and its lock no import slips in, and no writer begins while one is at work."""
    monkeypatch.setattr(turns, "_WAIT_SECONDS", 0.05)
    with turns.beginning(tmp_path):
        with turns.beginning(tmp_path):
            pass
        with pytest.raises(StoreTimeout), turns.importing(tmp_path):
            pytest.fail("it slipped in")
    with turns.importing(tmp_path):
        for turn in (turns.beginning, turns.importing):
            with pytest.raises(StoreTimeout), turn(tmp_path):
                pytest.fail("it began")
    with turns.beginning(tmp_path), turns.beginning(tmp_path):
        pass


def test_an_import_takes_its_turn_among_writers(store: LMDBStore) -> None:
    """Writers that come one after the other without a pause don't keep an import waiting."""
    done = threading.Event()
    writers = [
        threading.Thread(target=lambda name: [append(store, name) for _ in iter(done.is_set, True)], args=[f"busy-{n}"])
        for n in range(4)
    ]
    for writer in writers:
        writer.start()
    try:
        store.import_batch([record(1_000_000 + n, "imported-1", n) for n in range(100)])
    finally:
        done.set()
        for writer in writers:
            writer.join(60)
    assert store.stream_version("imported-1") == 99
    check(store)


def test_what_was_left_unfinished_is_removed_with_the_namespace(store: LMDBStore) -> None:
    """A folder that a killed import left behind goes when its namespace does."""
    append(store, "thing-1")
    building.Building(store._open().path, 1 << 20)
    assert len(folders(store)) == 2
    store.delete_namespace("message_store")
    assert folders(store) == []
