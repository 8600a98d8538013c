"""What the tests of adoption share: a store of Message DB, its clients, and who adopts it."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import psycopg
from psycopg import sql

from evtool.stores.postgres import PostgresStore
from evtool.testing import reference

CHECKOUT = Path(__file__).resolve().parents[2]
CACHE = CHECKOUT / ".cache"
DEADLINE = 60.0
MINUTE = timedelta(minutes=1)
WRITE = "SELECT write_message(%s::varchar, %s::varchar, %s::varchar, %s::jsonb, %s::jsonb, %s::bigint)"
# Every call of Message DB's clients, unqualified, as they make them.
CALLS = [
    "SELECT * FROM get_stream_messages('account-1', 0, 10)",
    "SELECT * FROM get_category_messages('account', 1, 10)",
    "SELECT * FROM get_category_messages('account', 1, 10, 'other', 0, 2)",
    "SELECT * FROM get_last_stream_message('account-1')",
    "SELECT stream_version('account-1')",
    "SELECT acquire_lock('account-1'), category('a-1'), id('a-1'), cardinal_id('a-1'), is_category('a'), hash_64('a')",
    "SELECT message_store_version()",
    "SELECT * FROM messages WHERE stream_name = 'account-1'",
    "SELECT * FROM stream_summary, type_summary, category_type_summary",
]


def as_client(dsn: str, role: str = "message_store") -> psycopg.Connection:
    """A session of Message DB's clients."""
    session = psycopg.connect(dsn, autocommit=True)
    session.execute(sql.SQL("SET SESSION AUTHORIZATION {}").format(sql.Identifier(role)))
    session.execute("SET search_path = message_store, public")
    return session


def write(session: psycopg.Connection, stream: str, expected: int | None = None, data: str = "{}") -> int:
    row = session.execute(WRITE, (str(uuid.uuid4()), stream, "T", data, None, expected)).fetchone()
    assert row is not None
    return int(row[0])


def adopt(dsn: str, schema: str = "message_store", name: str | None = None, wait: timedelta = MINUTE) -> list[str]:
    with PostgresStore(dsn) as store:
        return list(store.administration().adopt(schema, name or schema, wait))


@contextlib.contextmanager
def message_db(dsn: str) -> Iterator[psycopg.Connection]:
    """A superuser's session on a database where Message DB was installed, with 60 messages of its client."""
    with psycopg.connect(dsn, autocommit=True) as session:
        reference.install(session, reference.fetch(CACHE))
        with as_client(dsn) as writing:
            for number in range(60):
                write(writing, f"account-{number % 7}", data=f'{{"n": {number}}}')
        yield session
