"""Laws of concurrency among real processes, for stores that others can reach by a DSN (the fixture `location`)."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence

from evtool.store import Store
from evtool.testing.contract.helping import DEADLINE, MakeNamespace, append, everything

WRITERS = 8
ROUNDS = 25

# Each program gets the DSN and the namespace, says that it is ready, and begins when it is told to.
_BEGIN = """
import sys
import evtool
from evtool import errors
store = evtool.connect(sys.argv[1], sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
"""
_COMPETE = f"""
for version in range(-1, {ROUNDS} - 1):
    try:
        store.write_message(None, "thing-1", "Happened", {{}}, None, version)
        print("won", version + 1, flush=True)
    except errors.WrongExpectedVersion as error:
        assert error.stream_version > version, error
"""
_WRITE = f"""
for number in range({ROUNDS}):
    print(store.write_message(None, sys.argv[3], "Happened", {{"n": number}}), flush=True)
"""
_READ = """
seen = []
while len(seen) < int(sys.argv[3]):
    now = [message.global_position for message in store.get_all_messages(batch_size=-1)]
    assert now[:len(seen)] == seen, (seen, now)
    seen = now
print(len(seen), flush=True)
"""
_USE = """
for line in sys.stdin:
    try:
        print("wrote", store.write_message(None, "thing-1", "Happened", {}), flush=True)
    except errors.EvtoolError as error:
        print(error.code, flush=True)
"""


@contextlib.contextmanager
def running(program: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A process that has opened the store and waits for a line."""
    process = subprocess.Popen(
        [sys.executable, "-c", _BEGIN + program, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def at_once(programs: Sequence[tuple[str, tuple[str, ...]]]) -> list[list[str]]:
    """Starts processes, lets all begin together, and returns the lines of each; all must succeed."""
    with contextlib.ExitStack() as stack:
        processes = [stack.enter_context(running(program, *arguments)) for program, arguments in programs]
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n", process.communicate()[1]
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        lines = []
        for process in processes:
            out, err = process.communicate(timeout=DEADLINE)
            assert process.returncode == 0, err
            lines.append(out.splitlines())
        return lines


def test_another_process_sees_what_was_written(location: str, store: Store) -> None:
    """Messages are in the database, and not in the process that wrote them."""
    append(store, "thing-1", 3)
    ((count,), (position, *_)) = at_once(
        [(_READ, (location, store.namespace, "3")), (_WRITE, (location, store.namespace, "thing-1"))]
    )
    assert int(count) >= 3
    assert position == "3"
    assert len(everything(store)) == 3 + ROUNDS


def test_of_eight_processes_exactly_one_wins_each_version(location: str, store: Store) -> None:
    """Eight processes go for each version of a stream; each version is won once, and what was won is there."""
    lines = at_once([(_COMPETE, (location, store.namespace))] * WRITERS)
    won = [int(line.split()[1]) for own in lines for line in own]
    assert sorted(won) == list(range(ROUNDS))
    assert [message.position for message in store.get_stream_messages("thing-1")] == list(range(ROUNDS))


def test_eight_processes_write_to_a_stream_while_others_read(location: str, store: Store) -> None:
    """Writers wait for each other rather than fail; a reader sees nothing appear behind what it has read."""
    total = str(WRITERS * ROUNDS)
    arguments = (location, store.namespace)
    *written, _, _ = at_once([(_WRITE, (*arguments, "thing-1"))] * WRITERS + [(_READ, (*arguments, total))] * 2)
    assert sorted(int(line) for own in written for line in own) == list(range(WRITERS * ROUNDS))
    assert len(everything(store)) == WRITERS * ROUNDS


def test_eight_processes_write_to_different_namespaces(
    location: str, store: Store, make_namespace: MakeNamespace
) -> None:
    """Namespaces don't meet, nor do those who are the first to use one."""
    names = [make_namespace() for _ in range(WRITERS)]
    lines = at_once([(_WRITE, (location, name, "thing-1")) for name in names])
    assert [[int(line) for line in own] for own in lines] == [list(range(ROUNDS))] * WRITERS
    for name in names:
        assert [m.global_position for m in everything(store.in_namespace(name))] == list(range(1, ROUNDS + 1))


def test_eight_processes_use_a_new_namespace_at_the_same_time(
    location: str, store: Store, make_namespace: MakeNamespace
) -> None:
    """Whoever comes first makes what is needed, and the others find it."""
    name = make_namespace()
    lines = at_once([(_WRITE, (location, name, f"thing-{number}")) for number in range(WRITERS)])
    assert [[int(line) for line in own] for own in lines] == [list(range(ROUNDS))] * WRITERS
    assert len(everything(store.in_namespace(name))) == WRITERS * ROUNDS


def test_a_process_that_has_a_deleted_namespace_open_is_told(
    location: str, store: Store, make_namespace: MakeNamespace
) -> None:
    """It gets NAMESPACE_NOT_FOUND with its next call, and finds the one that is made anew by that name."""
    name = make_namespace()
    with running(_USE, location, name) as process:
        ask = _asker(process)
        assert ask() == "wrote 0\n"
        assert ask() == "wrote 1\n"
        store.delete_namespace(name)
        assert ask() == "NAMESPACE_NOT_FOUND\n"
        store.create_namespace(name)
        assert everything(store.in_namespace(name)) == []
        assert ask() == "wrote 0\n"
        assert len(everything(store.in_namespace(name))) == 1


def _asker(process: subprocess.Popen[str]) -> Callable[[], str]:
    source, sink = process.stdout, process.stdin
    assert source is not None
    assert sink is not None
    assert source.readline() == "ready\n"
    sink.write("go\n")

    def ask() -> str:
        sink.write("write\n")
        sink.flush()
        return source.readline()

    return ask
