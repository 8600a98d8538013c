"""The map grows by itself, whoever reads meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from evtool.errors import StoreTimeout
from evtool.model import Selection
from evtool.ndjson import Record
from evtool.stores.lmdb import LMDBStore
from evtool.stores.lmdb.environment import MAP_SIZE
from evtool.testing.contract.helping import append, everything, file_of, record, together
from tests.lmdb.conftest import Start
from tests.lmdb.looking import BIG, SMALL_MAP, check, ended, map_size, said, tell


def test_writes_make_the_map_larger(store: LMDBStore) -> None:
    """More than the map holds can be written, message by message."""
    for number in range(100):
        assert store.write_message(None, "thing-1", "Happened", [BIG]) == number
    assert map_size(store) > 4 * SMALL_MAP
    assert check(store) == 100


def test_a_batch_that_fills_the_map_is_written_once(store: LMDBStore) -> None:
    """A transaction that was undone because the map was full is done again, and nothing of it is there twice."""
    assert append(store, "thing-1", 200, data=[BIG]) == list(range(200))
    assert check(store) == 200
    assert [message.global_position for message in everything(store)] == list(range(1, 201))


def test_a_message_larger_than_the_map_is_written(store: LMDBStore) -> None:
    """A single message may be many times the map."""
    store.write_message(None, "thing-1", "Happened", ["x" * (20 * SMALL_MAP)])
    message = store.get_last_stream_message("thing-1")
    assert message is not None
    assert message.data is not None
    assert len(message.data) == 20 * SMALL_MAP + 4


def test_a_file_is_as_large_as_what_is_in_it(tmp_path: Path) -> None:
    """The map costs no disk."""
    with LMDBStore(tmp_path, "message_store") as store:
        store.migrate()
        store.write_message(None, "thing-1", "Happened", {})
        assert map_size(store) == MAP_SIZE
        files = [path for path in tmp_path.rglob("*") if path.is_file()]
        # data.mdb, lock.mdb and the two of turns.py, of the registry and of the namespace
        assert len(files) == 8
        assert sum(path.stat().st_size for path in files) < 1 << 20


def test_a_thread_writes_while_it_exports(store: LMDBStore) -> None:
    """The writes of a loop over an export make the map larger, and the export is what was there when it began."""
    for number in range(2500):
        append(store, f"thing-{number % 7}")
    before = file_of(store)
    size = map_size(store)
    blocks = []
    for block in store.export(Selection()):
        blocks.append(block.lines)
        append(store, "thing-1", 500, data=[BIG])
    assert b"".join(blocks) == before
    assert len(blocks) > 1
    assert map_size(store) > size
    assert check(store) == 2500 + 500 * len(blocks)


def test_an_export_leaves_out_what_is_imported_meanwhile(store: LMDBStore) -> None:
    """What arrives behind an export's back is not in it, also at positions that it has not reached yet."""
    store.import_batch(record(2 * number, pos=number) for number in range(1, 2001))
    before = file_of(store)
    blocks = store.export(Selection())
    first = next(blocks).lines
    store.import_batch(record(2 * number + 1, "other-1", number) for number in range(1, 2001))
    assert first + b"".join(block.lines for block in blocks) == before


def test_threads_read_while_a_thread_makes_the_map_larger(store: LMDBStore) -> None:
    """Each reader sees a beginning of what is written, and no read fails."""
    done = threading.Event()

    def write() -> int:
        try:
            for _ in range(300):
                append(store, "thing-1", 2, data=[BIG])
        finally:
            done.set()
        return 0

    def read() -> int:
        seen = 0
        while not done.is_set():
            positions = [message.position for message in store.get_category_messages("thing", batch_size=-1)]
            assert positions == list(range(len(positions)))
            assert len(positions) >= seen
            seen = len(positions)
        return seen

    for result in together([write, read, read]):
        result.result()
    assert check(store) == 600


def test_another_process_follows_a_map_that_has_grown(store: LMDBStore, start: Start) -> None:
    """What was added beyond a process's map is read and written by it all the same."""
    append(store, "thing-1")
    process = start("""
say(store.stream_version("thing-1"))
wait()
say(len(store.get_stream_messages("thing-1")))
wait()
say(store.write_message(None, "thing-1", "Happened", {}))
""")
    assert said(process) == "0"
    append(store, "thing-1", 300, data=[BIG])
    tell(process)
    assert said(process) == "301"
    append(store, "thing-1", 1000, data=[BIG])
    tell(process)
    assert ended(process) == ["1301"]
    assert check(store) == 1302


def test_an_import_larger_than_the_map_is_one_transaction(store: LMDBStore) -> None:
    """An import finds room for all that it brings, and gives the addresses back."""
    append(store, "thing-1")
    records = (record(number + 1, "imported-1", number, data=[BIG]) for number in range(1, 1001))
    assert store.import_batch(records).imported == 1000
    assert check(store) == 1001
    assert map_size(store) < 64 << 20


def test_an_import_may_read_its_own_namespace(store: LMDBStore) -> None:
    """The records of an import may come from an export of the same namespace, which doesn't contain them."""
    append(store, "thing-1", 2500)

    def again() -> Iterator[Record]:
        position = 10_000
        for block in store.export(Selection()):
            for _ in block.lines.splitlines():
                position += 1
                yield record(position, "copy-1", position)

    assert store.import_batch(again()).imported == 2500
    assert check(store) == 5000


def test_an_import_that_writes_to_its_own_namespace_is_told_so(store: LMDBStore) -> None:
    """A thread doesn't wait for itself: the write fails at once, and the import with it, whole."""

    def records() -> Iterator[Record]:
        yield record(1)
        store.write_message(None, "thing-2", "Happened", {})

    with pytest.raises(StoreTimeout, match="this thread"):
        store.import_batch(records())
    assert check(store) == 0


LIMITED = """
import resource
from evtool.testing.contract.helping import record
with open("/proc/self/statm") as file:
    used = int(file.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (256 << 20), used + (256 << 20)))
store = LMDBStore(folder, "message_store")
say(store.write_message(None, "thing-1", "Happened", {}))
say(store.import_batch(record(n + 10, "imported-1", n) for n in range(5000)).imported)
say(store.write_message(None, "thing-1", "Happened", {}))
"""


def test_a_process_with_few_addresses_has_a_smaller_map(store: LMDBStore, start: Start) -> None:
    """Where the map that is wanted can't be had, one that can will do."""
    assert ended(start(LIMITED)) == ["0", "5000", "1"]
    assert check(store) == 5002


def test_a_map_that_can_not_grow_is_an_error_that_says_why(store: LMDBStore, start: Start) -> None:
    """A process that has no addresses left is told so; what it wrote before is there, and others go on."""
    process = start("""
import resource
for number in range(4):
    store.write_message(None, "thing-1", "Happened", {})
with open("/proc/self/statm") as file:
    used = int(file.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (64 << 20), used + (64 << 20)))
try:
    for number in range(100):
        store.write_messages("thing-1", [NewMessage("Happened", ["x" * 100_000]) for _ in range(20)])
except errors.StoreError as error:
    say(error.hint)
""")
    assert ended(process) == ["raise the limit of the process's address space (ulimit -v)"]
    assert append(store, "thing-2") == [0]
    check(store)
