"""Several processes, several stores, forks, and processes that are killed."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import evtool
from evtool.errors import StoreError
from evtool.model import Selection
from evtool.ndjson import Record
from evtool.stores.lmdb import LMDBStore
from evtool.testing.contract.helping import append, everything, file_of, record, records
from tests.lmdb.conftest import Start
from tests.lmdb.looking import BIG, check, ended, environment_of, said, tell


def test_stores_of_a_process_share_an_environment(store: LMDBStore, tmp_path: Path) -> None:
    """A folder may be opened any number of times, by any of its names; LMDB itself allows it once."""
    (tmp_path / "link").symlink_to(tmp_path / "store")
    with (
        evtool.connect(f"lmdb://{tmp_path / 'store'}", "message_store") as second,
        evtool.connect(f"lmdb://{tmp_path / 'link'}", "message_store") as third,
    ):
        for position, one in enumerate((store, second, third, store)):
            assert append(one, "thing-1") == [position]
    assert len(everything(store)) == 4


def test_a_store_that_is_closed_takes_nothing_from_another(store: LMDBStore, tmp_path: Path) -> None:
    """Closing a store in the middle of another's export leaves that as it is."""
    append(store, "thing-1", 2500)
    whole = file_of(store)
    other = LMDBStore(tmp_path / "store", "message_store")
    append(other, "other-1")
    blocks = store.export(Selection(("thing",)))
    first = next(blocks).lines
    other.close()
    assert first + b"".join(block.lines for block in blocks) == whole


def test_a_process_that_is_killed_while_it_reads_is_forgotten(store: LMDBStore, start: Start) -> None:
    """Its place among the readers is given back, and what it read doesn't keep the file from being used again."""
    append(store, "thing-1")
    process = start("""
with store._open().reading():
    say("reading")
    wait()
""")
    assert said(process) == "reading"
    handle = environment_of(store)._handle
    assert handle is not None
    assert len(handle.env.readers().splitlines()) == 2
    process.kill()
    process.wait()
    append(store, "thing-1", 200, data=[BIG])
    handle = environment_of(store)._handle
    assert handle is not None
    assert "no active readers" in handle.env.readers()


def test_a_process_that_is_killed_while_it_writes_keeps_nobody_waiting(store: LMDBStore, start: Start) -> None:
    """What it had not committed is absent, and the next writer goes on at once."""
    append(store, "thing-1")
    process = start("""
from evtool.testing.contract.helping import record
def records():
    for number in range(3000):
        yield record(number + 10, "imported-1", number)
    say("writing")
    wait()
    yield record(1, "imported-1", 1)
store.import_batch(records())
""")
    assert said(process) == "writing"
    process.kill()
    process.wait()
    assert append(store, "thing-1") == [1]
    assert check(store) == 2


def test_a_writer_waits_for_an_import_of_another_process(store: LMDBStore, start: Start) -> None:
    """Readers see what was before it, and the writer's message comes behind all that it brought."""
    process = start("""
from evtool.testing.contract.helping import record
def records():
    yield record(100, "imported-1", 0)
    say("writing")
    wait()
    yield record(50, "imported-1", 1)
store.import_batch(records())
""")
    assert said(process) == "writing"
    written: list[list[int]] = []
    writer = threading.Thread(target=lambda: written.append(append(store, "thing-1")))
    writer.start()
    assert everything(store) == []
    assert file_of(store) == b""
    tell(process)
    assert ended(process) == []
    writer.join()
    assert written == [[0]]
    assert [message.global_position for message in everything(store)] == [50, 100, 101]


def test_a_process_may_be_forked(store: LMDBStore) -> None:
    """Parent and child go on with the same store, while threads of the parent read and write."""
    stop = threading.Event()
    failed: list[BaseException] = []

    def work() -> None:
        try:
            while not stop.is_set():
                append(store, "parent-1")
                everything(store)
        except BaseException as error:  # noqa: BLE001 - it is told below
            failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        codes = [os.waitpid(_child(lambda: append(store, "child-1")), 0)[1] for _ in range(50)]
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert codes == [0] * 50
    assert failed == []
    assert store.stream_version("child-1") == 49
    check(store)


def test_a_process_that_is_forked_by_its_own_import_is_told_so(store: LMDBStore) -> None:
    """The child can't use what its parent is in the middle of using, and the parent's import is whole."""

    def forking() -> Iterator[Record]:
        yield record(1)

        def use() -> None:
            with pytest.raises(StoreError, match="forked"):
                everything(store)

        assert os.waitpid(_child(use), 0)[1] == 0
        yield record(2, pos=1)

    assert store.import_batch(forking()).imported == 2
    assert check(store) == 2


def _child(action: Callable[[], object]) -> int:
    """Forks; the child does something, and its exit code says whether that succeeded, and soon enough."""
    pid = os.fork()
    if pid == 0:
        signal.alarm(60)
        code = 1
        try:
            action()
            code = 0
        finally:
            os._exit(code)
    return pid


@pytest.mark.thorough
def test_the_real_file_comes_out_as_it_went_in(store: LMDBStore, real_file: bytes) -> None:
    """38,817 messages with gaps in their positions make a round trip, byte for byte, beginning with a tiny map."""
    assert store.import_batch(records(real_file)).imported == 38_817
    assert file_of(store) == real_file
    assert check(store) == 38_817
