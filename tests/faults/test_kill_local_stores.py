"""kill -9 of a process in the middle of writes and imports, many times, on stores that have no server behind them."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from evtool.store import Store
from evtool.testing.contract.helping import append, everything
from tests.contract.kinds import SHARED, Kind, Place

ROUNDS = 20
RECORDS = 150
LOCAL = [kind for kind in SHARED if kind.local]

# Prints what it has been told is written, as soon as it has been told so.
WRITE = """
import sys
import evtool
from evtool import NewMessage
store = evtool.connect(sys.argv[1], sys.argv[2])
while True:
    print(store.write_message(None, "thing-1", "Happened", {"n": "x" * 2000}, {"correlationStreamName": "order-1"}), flush=True)
    positions = store.write_messages("thing-1", [NewMessage("Happened", {"n": n}) for n in range(5)])
    print(positions[-1], flush=True)
"""
# Says when an import is half done, and when it is done.
IMPORT = f"""
import sys, uuid
import evtool, msgspec
from evtool.ndjson import Record
store = evtool.connect(sys.argv[1], sys.argv[2])
start = store.stream_version("imported-1")
start = 0 if start is None else start + 1
def records():
    for n in range({RECORDS}):
        if n == {RECORDS} // 2:
            print("half", flush=True)
            if sys.argv[3:]:
                sys.stdin.readline()
        yield Record(str(uuid.uuid4()), "imported-1", "Happened", start + n, start + n + 1, msgspec.Raw(b'{{"n":1}}'),
                     msgspec.Raw(b"null"), "2025-07-15T10:00:00.000000Z")
while True:
    store.import_batch(records())
    start += {RECORDS}
    print("done", flush=True)
"""


@pytest.fixture(params=LOCAL, ids=lambda kind: kind.name)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """A migrated database of each kind that has no server."""
    kind: Kind = request.param

    def no_server() -> str:
        raise AssertionError

    made = Place(kind, no_server, tmp_path / kind.name)
    made.store().migrate()
    yield made
    made.close()


def killed(program: str, place: Place, namespace: str, lines: int, *arguments: str) -> list[str]:
    """Runs a program, kills it once it has printed some lines, and returns all that it has printed."""
    with subprocess.Popen(
        [sys.executable, "-c", program, place.dsn, namespace, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        printed = [process.stdout.readline() for _ in range(lines)]
        process.kill()
        printed += process.stdout.readlines()
        assert process.stderr.read() == ""
    # the last line may have been cut
    return [line for line in printed if line.endswith("\n")]


def check_whole(store: Store) -> None:
    """Every way to a message leads to the same messages, and no position of the stream is missing."""
    messages = everything(store)
    assert [message.global_position for message in messages] == list(range(1, len(messages) + 1))
    for info in store.list_streams():
        own = [message for message in messages if message.stream_name == info.stream_name]
        assert [message.position for message in own] == list(range(info.version + 1))
        assert store.get_stream_messages(info.stream_name, batch_size=-1) == own
        assert store.get_last_stream_message(info.stream_name) == own[-1]
        assert store.stream_version(info.stream_name) == info.version
    for category in store.list_categories():
        own = store.get_category_messages(category.category, batch_size=-1)
        assert own == [m for m in messages if m.stream_name.startswith(f"{category.category}-")]
        assert category.messages == len(own)
    assert len({message.id for message in messages}) == len(messages)


@pytest.mark.thorough(but=["lmdb-others*"])
@pytest.mark.parametrize("keep_open", [True, False], ids=["others have it open", "nobody else has it open"])
def test_what_was_acknowledged_is_there_after_a_kill(place: Place, keep_open: bool) -> None:
    """A message that the writer was told is written survives its death; of a batch there is all or nothing."""
    chance = random.Random(3)
    namespace = place.store().create_namespace("killed").name
    store = place.store(namespace)
    version = -1
    for _ in range(ROUNDS):
        printed = killed(WRITE, place, namespace, chance.randint(1, 25))
        if not keep_open:
            place.reopen()
            store = place.store(namespace)
        # A reader of LMDB may not see a write that was about to be acknowledged before the next write begins, which
        # looks for the newest one on disk: so what there is is found by a write of our own.
        (written,) = append(store, "thing-1")
        found = written - 1
        # besides what was acknowledged there may be the one write that was not yet
        assert found - int(printed[-1]) in {0, 1, 5}
        # a writer alternates one message with five, and then we write one
        assert (found - version) % 6 in {0, 1}
        check_whole(store)
        version = found + 1


@pytest.mark.thorough(but=["sqlite-file-nobody*"])
@pytest.mark.parametrize("keep_open", [True, False], ids=["others have it open", "nobody else has it open"])
def test_an_import_is_whole_or_absent_after_a_kill(place: Place, keep_open: bool) -> None:
    """Of an import that was killed there is nothing, of one that was done everything; the next import works."""
    chance = random.Random(4)
    namespace = place.store().create_namespace("killed").name
    store = place.store(namespace)
    count = 0
    for _ in range(ROUNDS):
        # every second line is "half": an odd number stops it there
        printed = killed(IMPORT, place, namespace, chance.randint(1, 8))
        if not keep_open:
            place.reopen()
            store = place.store(namespace)
        found = len(everything(store))
        assert found % RECORDS == 0
        done = printed.count("done\n")
        assert found - count in {done * RECORDS, (done + 1) * RECORDS}
        check_whole(store)
        count = found


def test_a_kill_in_the_first_import_leaves_a_namespace_that_works(place: Place) -> None:
    """A namespace whose very first import was killed is empty, and takes writes and imports like a new one."""
    for number in range(ROUNDS // 2):
        namespace = place.store().create_namespace(f"first {number}").name
        assert killed(IMPORT, place, namespace, 1, "stop there") == ["half\n"]
        store = place.store(namespace)
        assert everything(store) == []
        assert append(store, "thing-1", 3) == [0, 1, 2]
        check_whole(store)
