"""What the tests of the stored procedures share: plain psycopg sessions, as any Message DB client has them."""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

import psycopg
import pytest
from psycopg import sql

DEADLINE = 30.0
"""Seconds after which what was waited for is taken to never come."""

Open = Callable[..., psycopg.Connection]


class Write(Protocol):
    """Calls write_message on a session; everything but the stream has a default."""

    def __call__(
        self,
        session: psycopg.Connection,
        stream_name: str | None,
        type: str | None = "Happened",
        data: str | None = "{}",
        metadata: str | None = None,
        expected_version: int | None = None,
        id: str | None = "new",
    ) -> int:
        """Returns the position in the stream."""


@pytest.fixture
def open_session(dsn: str, namespace: str) -> Iterator[Open]:
    """Opens sessions in autocommit, with the test's namespace alone in their search_path."""
    with contextlib.ExitStack() as opened:

        def make(**parameters: Any) -> psycopg.Connection:
            session = psycopg.connect(dsn, autocommit=True, **parameters)
            opened.callback(session.close)
            session.execute(sql.SQL("SET search_path = {}").format(sql.Identifier(namespace)))
            # a test that would wait for ever fails instead
            session.execute("SET statement_timeout = '60s'")
            return session

        yield make


@pytest.fixture
def write() -> Write:
    """write_message with defaults; the id "new" is a fresh one."""

    def call(
        session: psycopg.Connection,
        stream_name: str | None,
        type: str | None = "Happened",
        data: str | None = "{}",
        metadata: str | None = None,
        expected_version: int | None = None,
        id: str | None = "new",
    ) -> int:
        values = (
            str(uuid.uuid4()) if id == "new" else id,
            stream_name,
            type,
            data,
            metadata,
            expected_version,
        )
        row = session.execute("SELECT write_message(%s, %s, %s, %s::jsonb, %s::jsonb, %s)", values).fetchone()
        assert row is not None
        return int(row[0])

    return call


@pytest.fixture
def one() -> Callable[..., Any]:
    """The only value of a query's only row."""

    def ask(session: psycopg.Connection, query: Any, *values: Any) -> Any:
        rows = session.execute(query, values).fetchall()
        assert len(rows) == 1
        assert len(rows[0]) == 1
        return rows[0][0]

    return ask


@pytest.fixture
def refused() -> Callable[..., Any]:
    """The diagnostics of a query that must fail."""

    def ask(session: psycopg.Connection, query: Any, *values: Any) -> Any:
        with pytest.raises(psycopg.Error) as caught:
            session.execute(query, values)
        return caught.value.diag

    return ask


@pytest.fixture
def until() -> Callable[[Callable[[], Any]], Any]:
    """Asks again until the answer is true, and returns it; fails after the deadline."""

    def wait(condition: Callable[[], Any]) -> Any:
        end = time.monotonic() + DEADLINE
        while not (answer := condition()):
            assert time.monotonic() < end, "it never became true"
            time.sleep(0.002)
        return answer

    return wait


@pytest.fixture
def waits(connection: psycopg.Connection, until: Callable[..., Any]) -> Callable[..., None]:
    """Returns once a session waits for a lock (or for what is named instead)."""

    def wait(session: psycopg.Connection, event: str = "Lock") -> None:
        query = "SELECT wait_event_type = %s OR wait_event = %s FROM pg_stat_activity WHERE pid = %s"
        until(lambda: connection.execute(query, (event, event, session.info.backend_pid)).fetchone() == (True,))

    return wait


@pytest.fixture
def background() -> Iterator[Callable[..., Future[Any]]]:
    """Runs a call in a thread and returns its future; every thread has ended when the test has."""
    with ThreadPoolExecutor(16) as pool:
        yield pool.submit


@pytest.fixture
def notices() -> Callable[..., contextlib.AbstractContextManager[list[str]]]:
    """What a session hears in NOTICEs inside a block."""

    @contextlib.contextmanager
    def listen(session: psycopg.Connection) -> Iterator[list[str]]:
        heard: list[str] = []

        def hear(diagnostic: psycopg.errors.Diagnostic) -> None:
            heard.append(diagnostic.message_primary or "")

        session.add_notice_handler(hear)
        try:
            yield heard
        finally:
            session.remove_notice_handler(hear)

    return listen


@pytest.fixture
def spent(connection: psycopg.Connection) -> Callable[[], int]:
    """How many global positions have been drawn in the namespace so far."""

    def ask() -> int:
        query = "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM messages_global_position_seq"
        row = connection.execute(query).fetchone()
        assert row is not None
        return int(row[0])

    return ask
