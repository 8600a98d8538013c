"""get_all_messages: every stream, in global order, without a gap that fills later."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from psycopg import sql


def _globals(session: psycopg.Connection, call: str = "") -> list[int]:
    return [row[0] for row in session.execute(f"SELECT global_position FROM get_all_messages({call})")]


def _plain(session: psycopg.Connection, after: int) -> list[int]:
    """What a consumer reads that trusts the table: everything behind the last position that it saw."""
    query = "SELECT global_position FROM messages WHERE global_position > %s ORDER BY global_position"
    return [row[0] for row in session.execute(query, (after,))]


@pytest.fixture
def mixed(connection: psycopg.Connection, write: Any) -> psycopg.Connection:
    """A session on a namespace with messages at 1, 2, 4, 5 and 6, of several categories."""
    write(connection, "a-1")
    write(connection, "b-1")
    with connection.transaction(force_rollback=True):
        write(connection, "a-1")
    for name in ("a-2", "", "c"):
        write(connection, name)
    return connection


@pytest.mark.parametrize(
    ("call", "positions"),
    [
        ("", [1, 2, 4, 5, 6]),
        ("3", [4, 5, 6]),
        ("NULL, 2", [1, 2]),
        ("2, 2", [2, 4]),
        ("2, -1", [2, 4, 5, 6]),
        ("1, 0", []),
        ("1, NULL", [1, 2, 4, 5, 6]),
        ("-7", [1, 2, 4, 5, 6]),
        ("7", []),
        ('batch_size => 1, "position" => 3', [4]),
    ],
)
def test_position_and_batch_size(mixed: psycopg.Connection, call: str, positions: list[int]) -> None:
    """Global positions from the argument on, in order, as many as asked for; NULL is the default, -1 no limit."""
    assert _globals(mixed, call) == positions


def test_a_batch_size_below_minus_one_is_refused(mixed: psycopg.Connection, refused: Callable[..., Any]) -> None:
    """Below -1 is 2201W, as for the other reads."""
    assert refused(mixed, "SELECT * FROM get_all_messages(1, -2)").sqlstate == "2201W"


@pytest.mark.parametrize("batch_size", ["", "1, NULL"])
def test_the_default_batch_is_a_thousand(connection: psycopg.Connection, batch_size: str) -> None:
    """Without a batch size, and with NULL, at most 1000 messages come."""
    connection.execute(
        "INSERT INTO messages (position, stream_name, type) SELECT n, 'a-1', 'T' FROM generate_series(0, 1004) AS n"
    )
    assert _globals(connection, batch_size) == list(range(1, 1001))


def test_it_returns_messages(mixed: psycopg.Connection) -> None:
    """The rows are those that the other reads return."""
    mine = mixed.execute("SELECT * FROM get_all_messages() WHERE stream_name = 'a-1'").fetchall()
    assert mine == mixed.execute("SELECT * FROM get_stream_messages('a-1')").fetchall()


def test_a_call_from_another_path_reads_here(mixed: psycopg.Connection, namespace: str) -> None:
    """A schema-qualified call works whatever the search_path, and in a READ ONLY transaction."""
    call = sql.SQL("SELECT count(*) FROM {}()").format(sql.Identifier(namespace, "get_all_messages"))
    with mixed.transaction():
        mixed.execute("SET LOCAL search_path = pg_catalog")
        mixed.execute("SET TRANSACTION READ ONLY")
        assert mixed.execute(call).fetchone() == (5,)


def test_debugging_tells_the_arguments(mixed: psycopg.Connection, notices: Any) -> None:
    """With message_store.debug_get on, it says in NOTICEs what it was given."""
    mixed.execute("SET message_store.debug_get = 'on'")
    with notices(mixed) as heard:
        _globals(mixed, "NULL, 5")
    assert heard == ["» get_all_messages", "position ($1): 1", "batch_size ($2): 5"]


@pytest.mark.parametrize("rollback", [False, True])
def test_it_waits_for_what_is_undecided(
    open_session: Any, write: Any, background: Any, waits: Any, rollback: bool
) -> None:
    """Below a committed message another is still open: the read returns when that is committed or rolled back."""
    first, second, reader = open_session(), open_session(), open_session()
    with first.transaction(force_rollback=rollback):
        write(first, "a-1")
        write(second, "b-1")
        asked = background(_globals, reader)
        waits(reader, "PgSleep")
        assert not asked.done()
    assert asked.result(30) == ([2] if rollback else [1, 2])


def test_without_the_watermark_a_message_is_lost(open_session: Any, write: Any) -> None:
    """Why it waits: a consumer of the plain table passes an open position, and never sees what commits there."""
    first, second, reader = open_session(), open_session(), open_session()
    with first.transaction():
        write(first, "a-1")
        write(second, "b-1")
        seen = _plain(reader, 0)
    seen += _plain(reader, seen[-1])
    assert seen == [2]
    assert _globals(reader) == [1, 2]


def test_what_commits_after_the_question_comes_next_time(
    open_session: Any, write: Any, background: Any, waits: Any
) -> None:
    """A message above the watermark is left for the next call, even if it is committed when the wait ends."""
    first, second, reader = open_session(), open_session(), open_session()
    with first.transaction():
        write(first, "a-1")
        asked = background(_globals, reader)
        waits(reader, "PgSleep")
        write(second, "b-1")
    assert asked.result(30) == [1]
    assert _globals(reader, "2") == [2]


def test_a_writer_that_stays_busy_is_an_error(open_session: Any, write: Any, refused: Any) -> None:
    """Past message_store.watermark_timeout it is 55P03, and never a partial answer."""
    first, second, reader = open_session(), open_session(), open_session()
    reader.execute("SET message_store.watermark_timeout = '20 ms'")
    with first.transaction():
        write(first, "a-1")
        write(second, "b-1")
        diag = refused(reader, "SELECT * FROM get_all_messages()")
    assert (diag.sqlstate, diag.constraint_name) == ("55P03", "watermark_timeout")
    assert _globals(reader) == [1, 2]


def test_a_reader_that_polls_misses_nothing(open_session: Any, write: Any, background: Any) -> None:
    """Eight writers, some of whose transactions roll back, and a reader that polls: it saw what the table holds."""
    chance = random.Random(20250715)
    seeds = [chance.random() for _ in range(8)]
    reader = open_session()
    enough = threading.Event()

    def run(session: psycopg.Connection, category: str, seed: float) -> int:
        own = random.Random(seed)
        written = 0
        while not enough.is_set():
            messages, rollback = own.randint(1, 3), own.random() < 0.2
            with session.transaction(force_rollback=rollback):
                for _ in range(messages):
                    write(session, f"{category}-1")
            written += 0 if rollback else messages
        return written

    writers = [background(run, open_session(), f"category{number}", seed) for number, seed in enumerate(seeds)]
    seen: list[int] = []
    try:
        for _ in range(40):
            seen += _globals(reader, f"{seen[-1] + 1 if seen else 1}, 100")
    finally:
        enough.set()
    written = sum(writer.result() for writer in writers)
    seen += _globals(reader, f"{seen[-1] + 1 if seen else 1}, -1")
    assert seen == _plain(reader, 0)
    assert len(seen) == written > 0
