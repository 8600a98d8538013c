"""acquire_lock: the lock that makes the order of commits the order of global positions, a category at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from psycopg import sql


def _locks(session: psycopg.Connection) -> int:
    query = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND pid = pg_backend_pid()"
    row = session.execute(query).fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.parametrize("stream_name", ["account-123", "account", "", "-x", "someStream-123+4"])
def test_it_returns_the_hash_of_the_category(
    connection: psycopg.Connection, one: Callable[..., Any], stream_name: str
) -> None:
    """What it returns is hash_64 of the stream's category, as in Message DB."""
    assert one(connection, "SELECT acquire_lock(%s) = hash_64(category(%s))", stream_name, stream_name) is True


def test_the_lock_ends_with_the_transaction(connection: psycopg.Connection) -> None:
    """The lock is held to the transaction's end, commit or rollback, and no longer."""
    for rollback in (False, True):
        with connection.transaction(force_rollback=rollback):
            connection.execute("SELECT acquire_lock('account-1')")
            assert _locks(connection) == 1
        assert _locks(connection) == 0


def test_null_takes_no_lock(connection: psycopg.Connection, one: Callable[..., Any]) -> None:
    """NULL in: no lock, NULL out."""
    with connection.transaction():
        assert one(connection, "SELECT acquire_lock(NULL)") is None
        assert _locks(connection) == 0


def test_streams_of_a_category_share_the_lock(open_session: Any, background: Any, waits: Any) -> None:
    """A second session waits for the lock of any stream of the category."""
    first, second = open_session(), open_session()
    with first.transaction():
        first.execute("SELECT acquire_lock('account-1')")
        other = background(second.execute, "SELECT acquire_lock('account-2')")
        waits(second)
    other.result(30)


def test_the_lock_is_write_messages(open_session: Any, background: Any, waits: Any, write: Any) -> None:
    """Who holds acquire_lock keeps writers of that category out, and only those."""
    first, second, third = open_session(), open_session(), open_session()
    with first.transaction():
        first.execute("SELECT acquire_lock('account')")
        later = background(write, second, "account-1")
        waits(second)
        assert write(third, "other-1") == 0
    assert later.result(30) == 0


def test_namespaces_do_not_wait_for_each_other(
    open_session: Any, write: Any, shared_store: Any, namespace: str
) -> None:
    """The same category in another namespace of the database has a lock of its own."""
    other = shared_store.create_namespace(f"{namespace}_other").schema
    first, second = open_session(), open_session()
    second.execute(sql.SQL("SET search_path = {}").format(sql.Identifier(other)))
    second.execute("SET lock_timeout = '10s'")
    with first.transaction():
        write(first, "account-1")
        assert write(second, "account-1") == 0


def test_it_works_from_another_path(connection: psycopg.Connection, namespace: str, one: Callable[..., Any]) -> None:
    """A qualified call takes the same lock, whatever the search_path."""
    connection.execute("SET search_path = pg_catalog")
    call = sql.SQL("SELECT {}.acquire_lock('a-1')").format(sql.Identifier(namespace))
    assert one(connection, call) == 919145239626757800


def test_debugging_tells_the_lock(connection: psycopg.Connection, notices: Any) -> None:
    """With message_store.debug_write on, it says in NOTICEs which lock it took."""
    connection.execute("SET message_store.debug_write = 'on'")
    with notices(connection) as heard:
        connection.execute("SELECT acquire_lock('account-1')")
    assert heard == [
        "» acquire_lock",
        "stream_name: account-1",
        "_category: account",
        "_category_name_hash: -2132379389342958165",
    ]
