"""A process that forks: parent and child go on with the same store, and neither loses what it wrote."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from evtool.errors import StoreError
from evtool.model import Selection
from evtool.ndjson import Record
from evtool.stores.sqlite import SQLiteStore
from evtool.testing.contract.helping import append, everything, record


def child(action: Callable[[], object]) -> int:
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


def code_of(pid: int) -> int:
    """How a child ended."""
    return os.waitpid(pid, 0)[1]


def refused(store: SQLiteStore) -> None:
    """Every use is refused."""
    for call in (lambda: everything(store), lambda: append(store, "thing-1")):
        with pytest.raises(StoreError, match="forked"):
            call()


def test_a_child_loses_nothing_when_its_parent_closes_the_store(store: SQLiteStore, folder: Path) -> None:
    """What a child is told to be written is there, though its parent opened the store, and closed it meanwhile."""
    append(store, "thing-1")
    closed, told = os.pipe()

    def write() -> None:
        append(store, "thing-1")
        os.read(closed, 1)
        for _ in range(5):
            append(store, "thing-1")

    pid = child(write)
    while len(everything(store)) < 2:
        pass
    store.close()
    os.write(told, b"x")
    assert code_of(pid) == 0
    with SQLiteStore(folder) as other:
        assert [message.position for message in everything(other)] == list(range(7))


def test_a_process_may_fork_while_its_threads_are_at_work(store: SQLiteStore) -> None:
    """A fork waits for a moment until nobody is in the middle of something, so that the child can go on."""
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
        codes = [code_of(child(lambda: append(store, "child-1"))) for _ in range(20)]
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert codes == [0] * 20
    assert failed == []
    assert store.stream_version("child-1") == 19


def test_a_child_may_not_use_what_its_parent_is_in_the_middle_of_using(store: SQLiteStore, folder: Path) -> None:
    """It is told so, by the store that it has and by one that it opens; the parent's import is whole."""

    def use() -> None:
        refused(store)
        with SQLiteStore(folder) as other:
            refused(other)

    def forking() -> Iterator[Record]:
        yield record(1)
        assert code_of(child(use)) == 0
        yield record(2, pos=1)

    assert store.import_batch(forking()).imported == 2
    assert len(everything(store)) == 2


def test_a_child_does_not_go_on_with_its_parents_export(store: SQLiteStore) -> None:
    """The next block is refused there, and read by the parent; neither a commit nor a close of the child's disturbs it."""
    append(store, "thing-1", 3000)
    with closing(store.export(Selection())) as blocks:  # type: ignore[type-var]
        count = next(blocks).count

        def go_on() -> None:
            with pytest.raises(StoreError, match="forked"):
                next(blocks)

        assert code_of(child(go_on)) == 0
        assert count + sum(block.count for block in blocks) == 3000
    assert append(store, "thing-1") == [3000]


def test_a_store_in_memory_is_each_processs_own_after_a_fork() -> None:
    """The child has what was there, and what it writes is its own."""
    with SQLiteStore(None) as store:
        append(store, "thing-1")

        def write() -> None:
            assert append(store, "thing-1", 2) == [1, 2]

        assert code_of(child(write)) == 0
        assert len(everything(store)) == 1
