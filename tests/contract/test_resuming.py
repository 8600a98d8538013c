"""Laws of an import in batches, on every store: what stays when it ends early, and how the same command goes on."""

from __future__ import annotations

import gzip
import io
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from evtool import ndjson
from evtool.errors import FileError, ImportRefused, InvalidArgument, WriteConflict
from evtool.importing import import_file, import_in_batches
from evtool.imports import ImportPlan, OnConflict
from evtool.progress import Progress
from evtool.store import Store
from evtool.testing.contract.helping import OpenStore, append, everything, file_of, lines_of, records
from tests.transfer.lines import line, lines

SIZE = 100
LINES = 1050
SKIP = ImportPlan(on_conflict=OnConflict.SKIP)

Write = Callable[[bytes], str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a file and returns its path."""

    def make(content: bytes) -> str:
        (tmp_path / "events.ndjson").write_bytes(content)
        return str(tmp_path / "events.ndjson")

    return make


class Stop(Exception):
    """Ends an import from the outside, as a signal does."""


def stop_at(count: int) -> Callable[[Progress], None]:
    """A listener that ends the import when it is told of so many messages."""

    def listen(progress: Progress) -> None:
        if progress.count >= count:
            raise Stop

    return listen


def ledger(store: Store) -> list[tuple[int, int, bool]]:
    """Line, messages and completeness of each batch on record."""
    return [(one.last_line, one.imported, one.complete) for one in store.import_records()]


def test_each_batch_is_kept_for_itself(store: Store, write: Write) -> None:
    """Every N messages are a transaction with its row on record, and together they are the file."""
    path = write(lines(range(1, LINES + 1)))
    done = import_in_batches(store, path, SIZE)
    assert (done.imported, done.last_position, done.skipped, done.resumed_behind) == (LINES, LINES, 0, 0)
    assert ledger(store) == [
        *((n, SIZE, False) for n in range(SIZE, LINES, SIZE)), (LINES, LINES % SIZE, False), (LINES, 0, True),
    ]  # fmt: skip
    assert {one.source for one in store.import_records()} == {"events.ndjson"}
    assert [one["gpos"] for one in lines_of(store)] == list(range(1, LINES + 1))


@pytest.mark.parametrize("fault", [line(3), b"nope\n", line(5000, time="now")], ids=["clash", "no JSON", "time"])
def test_a_faulty_line_leaves_the_batches_before_it(store: Store, write: Write, fault: bytes) -> None:
    """Whole batches stay, nothing of the one with the fault does, the line is the file's, and the hint says both."""
    path = write(lines(range(1, 251)) + fault + lines(range(251, 300)))
    with pytest.raises(ImportRefused) as caught:
        import_in_batches(store, path, SIZE)
    assert caught.value.line == 251
    assert "lines 1 to 200 are imported" in (caught.value.hint or "")
    assert len(everything(store)) == 200
    path = write(lines(range(1, 300)))
    done = import_in_batches(store, path, SIZE, SKIP)
    assert (done.imported, done.skipped) == (99, 200)


@pytest.mark.thorough(but=["*-plain"])
@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "gzip"])
def test_the_same_command_goes_on_to_the_same_end(
    store: Store, open_store: OpenStore, make_namespace: Callable[[], str], write: Write, compressed: bool
) -> None:
    """However often it is interrupted, what is there in the end is what an undisturbed run brings."""
    content = lines(range(1, 12_001), type="T")
    path = write(gzip.compress(content) if compressed else content)
    undisturbed = open_store(make_namespace())
    import_file(undisturbed, path)
    chance = random.Random(4)
    behind = 0
    for _ in range(6):
        with pytest.raises(Stop):
            import_in_batches(store, path, 700, resume=True, progress=stop_at(chance.randrange(1, 3000)))
        last = max((one.last_line for one in store.import_records()), default=0)
        assert last >= behind
        assert last % 700 == 0
        assert len(everything(store)) == last
        behind = last
    done = import_in_batches(store, path, 700, resume=True)
    assert done.resumed_behind == behind > 0
    assert done.imported == 12_000 - behind
    assert file_of(store) == file_of(undisturbed)
    assert append(store, "next-1") == append(undisturbed, "next-1")
    assert everything(store)[-1].global_position == everything(undisturbed)[-1].global_position


def test_a_finished_import_does_nothing_again(store: Store, write: Write) -> None:
    """It says that it is complete, and leaves the namespace and the ledger as they are."""
    path = write(lines(range(1, LINES + 1)))
    assert not import_in_batches(store, path, SIZE, resume=True).was_complete
    before = (file_of(store), ledger(store))
    again = import_in_batches(store, path, SIZE, resume=True)
    assert (again.was_complete, again.imported, again.resumed_behind) == (True, 0, LINES)
    assert (file_of(store), ledger(store)) == before


def interrupted(store: Store, path: str) -> None:
    """Begins an import of 2000 lines or more, which ends behind line 1000."""
    with pytest.raises(Stop):
        import_in_batches(store, path, SIZE, resume=True, progress=stop_at(1000))
    assert ledger(store)[-1] == (1000, SIZE, False)


@pytest.mark.parametrize("changed", ["content", "length", "compressed"])
def test_another_file_is_refused_while_one_is_unfinished(store: Store, write: Write, changed: str) -> None:
    """A file of the same name with other bytes is not that file; nothing is imported of it."""
    content = lines(range(1, 2001))
    interrupted(store, write(content))
    before = (file_of(store), ledger(store))
    other = {
        "content": content.replace(b"Deposited", b"Withdrawn"),
        "length": content + line(2001),
        "compressed": gzip.compress(content),
    }
    with pytest.raises(InvalidArgument) as caught:
        import_in_batches(store, write(other[changed]), SIZE, resume=True)
    assert "events.ndjson" in caught.value.message
    assert "1000" in caught.value.message
    assert caught.value.hint
    assert (file_of(store), ledger(store)) == before
    assert import_in_batches(store, write(content), SIZE, resume=True).resumed_behind == 1000
    import_in_batches(store, write(lines([2001])), SIZE, resume=True)


def test_a_mended_file_lets_others_be_resumed_again(store: Store, write: Write) -> None:
    """A file with a faulty line, mended and imported without --resume, stands in the way of no other file."""
    content = lines(range(1, 2001))
    with pytest.raises(ImportRefused):
        import_in_batches(store, write(content + b'{"broken'), SIZE, resume=True)
    with pytest.raises(InvalidArgument):
        import_in_batches(store, write(lines([2002])), SIZE, resume=True)
    mended = store.import_batch(ndjson.read(io.BytesIO(content + lines([2001]))), SKIP)
    assert (mended.imported, mended.skipped) == (1, 2000)
    assert import_in_batches(store, write(lines([2002])), SIZE, resume=True).imported == 1


def test_other_options_are_refused(store: Store, write: Write) -> None:
    """A resumed import keeps its batch size and its way with conflicts; the error says which they were."""
    path = write(lines(range(1, 2001)))
    interrupted(store, path)
    before = ledger(store)
    for size, plan in ((SIZE + 1, ImportPlan()), (SIZE, SKIP)):
        with pytest.raises(InvalidArgument, match=f"--on-conflict error --batch-size {SIZE}"):
            import_in_batches(store, path, size, plan, resume=True)
    assert ledger(store) == before
    assert import_in_batches(store, path, SIZE, resume=True).imported == 1000


def test_skipping_is_resumed_as_well(store: Store, write: Write) -> None:
    """What was there before counts as done: line by line, not message by message."""
    path = write(lines(range(1, 2001)))
    store.import_batch(records(lines(range(1, 2001, 2))))
    with pytest.raises(Stop):
        import_in_batches(store, path, SIZE, SKIP, resume=True, progress=stop_at(1000))
    done = import_in_batches(store, path, SIZE, SKIP, resume=True)
    assert (done.resumed_behind, done.imported, done.skipped) == (1000, 500, 500)
    assert len(everything(store)) == 2000


def test_a_replacement_ends_what_was_unfinished(store: Store, write: Write) -> None:
    """After all was replaced there is nothing to go on with: another file can be begun, and the old one anew."""
    path = write(lines(range(1, 2001)))
    interrupted(store, path)
    store.import_batch([], ImportPlan(replace=True))
    done = import_in_batches(store, path, SIZE, resume=True)
    assert (done.resumed_behind, done.imported) == (0, 2000)


def test_a_file_that_is_changed_meanwhile_is_refused(store: Store, write: Write) -> None:
    """Bytes that are not those of the fingerprint are not imported under it; the batches before are."""
    path = write(lines(range(1, 3001)))

    def touch(progress: Progress) -> None:
        if progress.count == 1000:
            os.utime(path, ns=(1, 1))

    with pytest.raises(FileError, match="changed") as caught:
        import_in_batches(store, path, SIZE, resume=True, progress=touch)
    assert "lines 1 to 1000 are imported" in (caught.value.hint or "")
    assert len(everything(store)) == 1000


def test_two_imports_of_a_file_place_it_once(store: Store, open_store: OpenStore, write: Write) -> None:
    """One that finds that another came before it is told so; whole batches are there, and the rest can be brought."""
    path = write(lines(range(1, 3001)))
    other = open_store()

    def overtake(progress: Progress) -> None:
        # told of between two batches of a thousand: within one the other would have to wait
        if progress.count == 1000:
            import_in_batches(other, path, 1000, resume=True)

    with pytest.raises(WriteConflict, match="line 3000") as caught:
        import_in_batches(store, path, 1000, resume=True, progress=overtake)
    assert "goes on" in (caught.value.hint or "")
    assert len(everything(store)) == 3000
    assert import_in_batches(store, path, 1000, resume=True).was_complete


@pytest.mark.parametrize("plan", [ImportPlan(replace=True), ImportPlan(dry_run=True)], ids=["replace", "dry run"])
def test_what_is_one_transaction_is_not_done_in_batches(store: Store, write: Write, plan: ImportPlan) -> None:
    """To replace all, or to try an import out, does not go with batches."""
    append(store, "there-1")
    with pytest.raises(InvalidArgument):
        import_in_batches(store, write(lines([5])), SIZE, plan)
    with pytest.raises(InvalidArgument):
        import_in_batches(store, write(lines([5])), 0)
    assert len(everything(store)) == 1


def test_what_can_be_read_once_only_is_not_resumed(store: Store, tmp_path: Path) -> None:
    """Standard input, a pipe and a folder have no second time; a missing file is a missing file."""
    os.mkfifo(tmp_path / "pipe")
    for path in ("-", str(tmp_path / "pipe"), str(tmp_path)):
        with pytest.raises(InvalidArgument):
            import_in_batches(store, path, SIZE, resume=True)
    with pytest.raises(FileError):
        import_in_batches(store, str(tmp_path / "missing"), SIZE, resume=True)


def test_an_empty_file_is_complete_at_once(store: Store, write: Write) -> None:
    """There is nothing to do, the first time and the second."""
    path = write(b"")
    assert import_in_batches(store, path, SIZE, resume=True).imported == 0
    assert import_in_batches(store, path, SIZE, resume=True).was_complete
    assert everything(store) == []


def test_nothing_replaces_nothing(store: Store, write: Write) -> None:
    """A pipe whose other end has failed must not empty a namespace: a file without messages is refused."""
    append(store, "there-1")
    for content in (b"", b"\n", gzip.compress(b"")):
        with pytest.raises(ImportRefused):
            import_file(store, write(content), ImportPlan(replace=True))
    assert len(everything(store)) == 1
