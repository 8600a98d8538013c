"""evtool.wait_for_transactions: returns when nobody is left who was busy when it was called."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import psycopg
import pytest

WAIT = "SELECT evtool.wait_for_transactions(%s::interval)"


@pytest.fixture
def alone(server: Any, make_database: Callable[..., str]) -> str:
    """A database of the test's own, with a registry: other tests' transactions are none of its."""
    import evtool

    dsn = make_database()
    with evtool.connect(dsn) as store:
        store.migrate()
    return dsn


def _open(dsn: str) -> psycopg.Connection:
    return psycopg.connect(dsn, autocommit=True)


def test_with_nobody_busy_it_returns_at_once(alone: str) -> None:
    """Neither idle sessions nor the caller's own transaction are waited for."""
    with _open(alone) as idle, _open(alone) as session, session.transaction():
        idle.execute("SELECT 1")
        session.execute("CREATE TABLE public.own (x int)")
        session.execute(WAIT, ("0 s",))


@pytest.mark.parametrize("busy_with", ["SELECT 1", "CREATE TABLE public.x (x int)"])
def test_it_waits_for_those_who_are_busy_and_for_no_later_one(
    alone: str, background: Callable[..., Future[Any]], waits: Any, until: Any, busy_with: str
) -> None:
    """A transaction that has only read counts as well; one that begins during the wait doesn't."""
    with _open(alone) as busy, _open(alone) as later, _open(alone) as session, _open(alone) as watching:
        busy.execute("BEGIN")
        busy.execute(busy_with)
        waiting = background(session.execute, WAIT, ("30 s",))
        query = "SELECT wait_event = 'PgSleep' FROM pg_stat_activity WHERE pid = %s"
        until(lambda: watching.execute(query, (session.info.backend_pid,)).fetchone() == (True,))
        later.execute("BEGIN")
        later.execute("SELECT 1")
        assert not waiting.done()
        busy.execute("COMMIT")
        waiting.result(30)
        later.execute("COMMIT")


def test_it_waits_for_those_who_are_prepared_meanwhile(
    alone: str, background: Callable[..., Future[Any]], until: Any
) -> None:
    """PREPARE TRANSACTION leaves the session and not the wait; nor does one that was prepared before."""
    with _open(alone) as busy, _open(alone) as session, _open(alone) as watching:
        query = "SELECT wait_event = 'PgSleep' FROM pg_stat_activity WHERE pid = %s"
        busy.execute("BEGIN")
        busy.execute("CREATE TABLE public.x (x int)")
        waiting = background(session.execute, WAIT, ("30 s",))
        until(lambda: watching.execute(query, (session.info.backend_pid,)).fetchone() == (True,))
        busy.execute("PREPARE TRANSACTION 'adopted meanwhile'")
        with pytest.raises(psycopg.errors.LockNotAvailable, match="prepared: adopted meanwhile"):
            watching.execute(WAIT, ("100 ms",))
        assert not waiting.done()
        watching.execute("COMMIT PREPARED 'adopted meanwhile'")
        waiting.result(30)


def test_who_stays_busy_is_named(alone: str) -> None:
    """After the timeout it raises 55P03 with the pids."""
    with _open(alone) as busy, _open(alone) as session:
        busy.execute("BEGIN")
        busy.execute("SELECT 1")
        with pytest.raises(psycopg.errors.LockNotAvailable, match=f"pid: {busy.info.backend_pid};") as caught:
            session.execute(WAIT, ("100 ms",))
        assert caught.value.diag.constraint_name == "busy_transactions"
