"""Within a category the order of commits is the order of global positions; between categories nobody waits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest


def test_the_lock_comes_before_the_global_position(
    connection: psycopg.Connection, open_session: Any, write: Any, background: Any, waits: Any, spent: Any
) -> None:
    """A writer that waits for its category has not drawn its position yet."""
    holder, writer = open_session(), open_session()
    with holder.transaction():
        holder.execute("SELECT acquire_lock('a')")
        writing = background(write, writer, "a-1")
        waits(writer)
        assert spent() == 0
    assert writing.result(30) == 0
    assert spent() == 1


@pytest.mark.parametrize("rollback", [False, True])
def test_the_lock_is_held_to_the_transactions_end(
    connection: psycopg.Connection, open_session: Any, write: Any, background: Any, waits: Any, rollback: bool
) -> None:
    """The second writer of a category goes on when the first has committed or rolled back, not when it has written."""
    first, second = open_session(), open_session()
    with first.transaction(force_rollback=rollback):
        write(first, "a-1")
        write(first, "a-1")
        writing = background(write, second, "a-2")
        waits(second)
        granted = "SELECT granted, pid FROM pg_locks WHERE locktype = 'advisory' AND pid IN (%s, %s)"
        pids = (first.info.backend_pid, second.info.backend_pid)
        assert set(connection.execute(granted, pids)) == {(True, pids[0]), (False, pids[1])}
    assert writing.result(30) == 0
    rows = connection.execute("SELECT stream_name, global_position FROM messages ORDER BY 2").fetchall()
    assert rows == ([("a-2", 3)] if rollback else [("a-1", 1), ("a-1", 2), ("a-2", 3)])


def test_the_version_is_read_after_the_wait(open_session: Any, write: Any, background: Any, waits: Any) -> None:
    """Of two writers that expect the same version one wins, and the other is told the version that it left."""
    first, second = open_session(), open_session()
    with first.transaction():
        write(first, "a-1", expected_version=-1)
        losing = background(lambda: write(second, "a-1", expected_version=-1))
        waits(second)
    error = losing.exception(30)
    assert isinstance(error, psycopg.errors.RaiseException)
    assert error.diag.message_primary == "Wrong expected version: -1 (Stream: a-1, Stream Version: 0)"


def test_categories_do_not_wait_for_each_other(open_session: Any, write: Any) -> None:
    """Across categories a later position may be visible before an earlier one commits."""
    first, second = open_session(), open_session()
    with first.transaction():
        write(first, "a-1")
        assert write(second, "b-1") == 0
        assert second.execute("SELECT global_position FROM messages").fetchall() == [(2,)]


def test_readers_do_not_wait_for_writers(open_session: Any, write: Any) -> None:
    """While a writer is open, streams and categories are read as they were."""
    first, reader = open_session(), open_session()
    write(first, "a-1")
    with first.transaction():
        write(first, "a-1")
        for call in (
            "get_stream_messages('a-1')",
            "get_category_messages('a')",
            "get_last_stream_message('a-1')",
        ):
            assert reader.execute(f"SELECT position FROM {call}").fetchall() == [(0,)]


def test_a_consumer_of_a_category_misses_nothing(open_session: Any, write: Any, background: Any) -> None:
    """Eight writers in one category, and a consumer that reads on from its last position: it saw all, in order."""
    reader = open_session()

    def run(session: psycopg.Connection, number: int) -> None:
        for count in range(40):
            with session.transaction(force_rollback=count % 7 == number % 7):
                write(session, f"a-{number}")
                write(session, f"a-{count}")

    writers = [background(run, open_session(), number) for number in range(8)]
    query = "SELECT global_position FROM get_category_messages('a', %s, -1)"
    seen: list[int] = []
    running = True
    while running:
        running = not all(writer.done() for writer in writers)
        seen += [row[0] for row in reader.execute(query, (seen[-1] + 1 if seen else 1,))]
    for writer in writers:
        writer.result()
    assert seen == [row[0] for row in reader.execute("SELECT global_position FROM messages ORDER BY 1")]


def test_positions_of_a_stream_have_no_gap(
    connection: psycopg.Connection, open_session: Any, one: Callable[..., Any], write: Any, background: Any
) -> None:
    """However many write to one stream at once, its positions are 0, 1, 2 … in the order of the global ones."""

    def run(session: psycopg.Connection) -> None:
        for count in range(25):
            with session.transaction(force_rollback=count % 5 == 0):
                write(session, "a-1")

    for writer in [background(run, open_session()) for _ in range(4)]:
        writer.result()
    positions = one(connection, "SELECT array_agg(position ORDER BY global_position) FROM messages")
    assert positions == list(range(4 * 20))
