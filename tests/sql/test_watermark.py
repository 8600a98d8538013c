"""watermark: the global position up to which everything is decided."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from psycopg import sql

WATERMARK = "SELECT watermark()"


def test_it_is_zero_where_nothing_was_written(connection: psycopg.Connection, one: Callable[..., Any]) -> None:
    """A namespace in which no position was drawn has the watermark 0."""
    assert one(connection, WATERMARK) == 0


def test_it_is_the_position_of_the_last_message(
    connection: psycopg.Connection, write: Any, one: Callable[..., Any]
) -> None:
    """Positions that were spent on nothing don't count: a crash may have the sequence draw them again."""
    write(connection, "a-1")
    with connection.transaction(force_rollback=True):
        write(connection, "a-1")
    assert one(connection, WATERMARK) == 1
    write(connection, "a-1")
    assert one(connection, WATERMARK) == 3


@pytest.mark.parametrize("rollback", [False, True])
def test_it_waits_for_a_writer_to_end(
    open_session: Any, write: Any, one: Callable[..., Any], background: Any, waits: Any, rollback: bool
) -> None:
    """While a writer is undecided there is no watermark; commit or rollback, it comes right after."""
    writer, reader = open_session(), open_session()
    with writer.transaction(force_rollback=rollback):
        write(writer, "a-1")
        asked = background(one, reader, WATERMARK)
        waits(reader, "PgSleep")
        assert not asked.done()
    assert asked.result(30) == (0 if rollback else 1)


def test_it_does_not_wait_for_later_writers(
    open_session: Any, write: Any, one: Callable[..., Any], background: Any, waits: Any
) -> None:
    """Whoever begins to write after the question draws positions above the answer, so nobody waits for them."""
    writer, later, reader = open_session(), open_session(), open_session()
    with later.transaction():
        with writer.transaction():
            write(writer, "a-1")
            asked = background(one, reader, WATERMARK)
            waits(reader, "PgSleep")
            write(later, "b-1")
        assert asked.result(30) == 1


def test_a_session_that_writes_again_and_again_is_waited_for_once(
    open_session: Any, write: Any, one: Callable[..., Any], background: Any, waits: Any
) -> None:
    """The transaction is waited for, not the session: its next transaction is a later writer."""
    writer, reader = open_session(), open_session()
    writer.execute("BEGIN")
    write(writer, "a-1")
    asked = background(one, reader, WATERMARK)
    waits(reader, "PgSleep")
    writer.execute("COMMIT")
    writer.execute("BEGIN")
    write(writer, "a-1")
    assert asked.result(30) == 1
    writer.execute("ROLLBACK")


@pytest.mark.parametrize("mode", ["ROW EXCLUSIVE", "SHARE ROW EXCLUSIVE", "EXCLUSIVE", "ACCESS EXCLUSIVE"])
def test_it_waits_for_every_lock_that_lets_write(
    open_session: Any, one: Callable[..., Any], refused: Any, mode: str
) -> None:
    """Direct inserts, imports and what rewrites the table hold such locks; all are waited for."""
    holder, reader = open_session(), open_session()
    with holder.transaction():
        holder.execute(sql.SQL("LOCK TABLE messages IN {} MODE").format(sql.SQL(mode)))
        assert refused(reader, "SELECT watermark('10 ms')").constraint_name == "watermark_timeout"
    assert one(reader, WATERMARK) == 0


@pytest.mark.parametrize("mode", ["ACCESS SHARE", "ROW SHARE", "SHARE UPDATE EXCLUSIVE", "SHARE"])
def test_it_does_not_wait_for_readers_vacuum_and_index_builds(
    open_session: Any, one: Callable[..., Any], mode: str
) -> None:
    """Who can't add a message is not waited for: SELECT, SELECT FOR UPDATE, VACUUM, CREATE INDEX."""
    holder, reader = open_session(), open_session()
    with holder.transaction():
        holder.execute(sql.SQL("LOCK TABLE messages IN {} MODE").format(sql.SQL(mode)))
        assert one(reader, "SELECT watermark('0')") == 0


def test_it_does_not_wait_for_a_writer_that_waits(
    open_session: Any, write: Any, one: Callable[..., Any], background: Any, waits: Any
) -> None:
    """A writer that has not got the table's lock yet has drawn nothing, and will draw above."""
    holder, writer, reader = open_session(), open_session(), open_session()
    with holder.transaction():
        holder.execute("LOCK TABLE messages IN SHARE MODE")
        writing = background(write, writer, "a-1")
        waits(writer)
        assert one(reader, "SELECT watermark('0')") == 0
    assert writing.result(30) == 0


def test_it_does_not_wait_for_other_namespaces(
    open_session: Any, write: Any, one: Callable[..., Any], shared_store: Any, namespace: str
) -> None:
    """A writer of another namespace in the database is none of ours."""
    other = shared_store.create_namespace(f"{namespace}_other").schema
    writer, reader = open_session(), open_session()
    writer.execute(sql.SQL("SET search_path = {}").format(sql.Identifier(other)))
    with writer.transaction():
        write(writer, "a-1")
        assert one(reader, "SELECT watermark('0')") == 0


def test_it_does_not_wait_for_its_own_transaction(
    connection: psycopg.Connection, write: Any, one: Callable[..., Any]
) -> None:
    """Who has written in this transaction sees its own messages up to the watermark."""
    with connection.transaction():
        write(connection, "a-1")
        assert one(connection, "SELECT watermark('0')") == 1


@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK"])
def test_a_prepared_transaction_is_a_writer(
    open_session: Any,
    write: Any,
    one: Callable[..., Any],
    background: Any,
    waits: Any,
    refused: Any,
    end: str,
    namespace: str,
) -> None:
    """A transaction that was prepared is undecided until its second phase, though no session holds it any more."""
    writer, reader = open_session(), open_session()
    writer.execute("BEGIN")
    write(writer, "a-1")
    writer.execute(sql.SQL("PREPARE TRANSACTION {}").format(sql.Literal(namespace)))
    try:
        writer.close()
        diag = refused(reader, "SELECT watermark('10 ms')")
        assert diag.message_primary == "Other writers are still busy after 00:00:00.01 (pid: prepared)"
        asked = background(one, reader, WATERMARK)
        waits(reader, "PgSleep")
    finally:
        second = open_session()
        second.execute(sql.SQL(f"{end} PREPARED {{}}").format(sql.Literal(namespace)))
    assert asked.result(30) == (1 if end == "COMMIT" else 0)


def test_a_writer_that_prepares_meanwhile_is_still_waited_for(
    open_session: Any, write: Any, one: Callable[..., Any], background: Any, waits: Any, namespace: str
) -> None:
    """A transaction loses its session's name by PREPARE, but not its place among those that are waited for."""
    writer, reader = open_session(), open_session()
    writer.execute("BEGIN")
    write(writer, "a-1")
    reader.execute("SET message_store.watermark_timeout = '500 ms'")
    asked = background(one, reader, WATERMARK)
    waits(reader, "PgSleep")
    writer.execute(sql.SQL("PREPARE TRANSACTION {}").format(sql.Literal(namespace)))
    try:
        error = asked.exception(30)
        assert isinstance(error, psycopg.errors.LockNotAvailable)
        assert error.diag.message_primary is not None
        assert "prepared" in error.diag.message_primary
    finally:
        writer.execute(sql.SQL("ROLLBACK PREPARED {}").format(sql.Literal(namespace)))


def test_a_later_writer_that_prepares_is_not_waited_for(
    open_session: Any, write: Any, one: Callable[..., Any], background: Any, waits: Any, namespace: str
) -> None:
    """A transaction that began to write after the question may be prepared for as long as it likes."""
    writer, later, reader = open_session(), open_session(), open_session()
    with writer.transaction():
        write(writer, "a-1")
        asked = background(one, reader, WATERMARK)
        waits(reader, "PgSleep")
        later.execute("BEGIN")
        write(later, "b-1")
        later.execute(sql.SQL("PREPARE TRANSACTION {}").format(sql.Literal(namespace)))
    try:
        assert asked.result(30) == 1
    finally:
        later.execute(sql.SQL("ROLLBACK PREPARED {}").format(sql.Literal(namespace)))


@pytest.mark.parametrize(
    ("setting", "call", "told"),
    [
        ("'20 ms'", "watermark()", "00:00:00.02"),
        ("'20 ms'", "watermark(NULL)", "00:00:00.02"),
        ("'1 hour'", "watermark('30 ms')", "00:00:00.03"),
        ("''", "watermark(timeout => '10 ms')", "00:00:00.01"),
        ("'0'", "watermark()", "00:00:00"),
    ],
)
def test_the_time_to_wait_is_the_arguments_then_the_settings(
    open_session: Any, write: Any, refused: Any, setting: str, call: str, told: str
) -> None:
    """Past it comes 55P03, which names the busy sessions; the argument counts before the setting."""
    writer, reader = open_session(), open_session()
    reader.execute(f"SET message_store.watermark_timeout = {setting}")
    with writer.transaction():
        write(writer, "a-1")
        diag = refused(reader, f"SELECT {call}")
    assert diag.sqlstate == "55P03"
    pid = writer.info.backend_pid
    assert diag.message_primary == f"Other writers are still busy after {told} (pid: {pid})"
    assert diag.constraint_name == "watermark_timeout"
    assert "message_store.watermark_timeout" in diag.message_hint


@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
@pytest.mark.parametrize("call", ["watermark()", "get_all_messages()"])
def test_a_snapshot_older_than_the_wait_is_refused(
    connection: psycopg.Connection, refused: Any, level: str, call: str
) -> None:
    """With one snapshot for the whole transaction a gap would go unseen, so it is an error that says so."""
    connection.execute(f"BEGIN ISOLATION LEVEL {level}")
    diag = refused(connection, f"SELECT {call}")
    connection.execute("ROLLBACK")
    assert diag.sqlstate == "25000"
    assert diag.message_primary == f"A gap-safe read needs READ COMMITTED; this transaction is {level}"
    assert diag.constraint_name == "isolation"


def test_it_can_be_cancelled_while_it_waits(
    connection: psycopg.Connection, open_session: Any, write: Any, background: Any, waits: Any
) -> None:
    """A reader that waits ends at once when it is told to."""
    writer, reader = open_session(), open_session()
    with writer.transaction():
        write(writer, "a-1")
        asked = background(reader.execute, WATERMARK)
        waits(reader, "PgSleep")
        connection.execute("SELECT pg_cancel_backend(%s)", (reader.info.backend_pid,))
        assert isinstance(asked.exception(30), psycopg.errors.QueryCanceled)
