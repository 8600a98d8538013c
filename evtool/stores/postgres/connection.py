"""Connections to PostgreSQL: how a DSN is read, and what every connection is set to."""

from __future__ import annotations

import contextlib
import os
import re
import threading
from collections.abc import Iterator
from typing import Any

import psycopg
from psycopg import conninfo, sql
from psycopg.pq import TransactionStatus
from psycopg.types.string import TextLoader
from psycopg_pool import ConnectionPool, PoolClosed, PoolTimeout

from evtool import settings
from evtool.errors import InvalidDsn, ServerUnsuitable, StoreUnreachable
from evtool.stores.postgres.locks import Lock
from evtool.stores.postgres.translation import one_line, translated

Connection = psycopg.Connection[tuple[Any, ...]]

MINIMUM_SERVER = 150000
"""PostgreSQL 15: what the functions are written for and tested on."""

_PORTS = re.compile(r"[0-9,]*")
_CONNECT_SECONDS = "10"
# More than that many threads of one program wait for each other's connections.
_POOL_SIZE = 16
_POOL_SECONDS = 30.0
# How long the session of an export waits for another one.
_KEPT_SECONDS = 2.0


# Only where the session is the one that libpq was greeted by: behind a pooler it would be anybody's. Operators and
# functions are named by schema, for the search_path is still the role's.
_SETTINGS = sql.SQL("""
    SELECT pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', false),
      pg_catalog.set_config('default_transaction_isolation', 'read committed', false)
    WHERE pg_catalog.pg_backend_pid() OPERATOR(pg_catalog.=) {}
""")
_LOCAL_SETTINGS = "SET LOCAL search_path = pg_catalog, pg_temp"

# The pools of a process that has forked since: their connections are the parent's, and not to be touched, not even to
# be closed, which losing the last reference would do.
_abandoned: list[object] = []


class BehindPooler(psycopg.Connection[tuple[Any, ...]]):
    """A connection to a pooler, such as PgBouncer, that gives each transaction another session of the server.

    So nothing is set for the session, nothing is prepared, and every statement is in a transaction that begins with
    what `_prepare` sets elsewhere: two more round trips.
    """

    @contextlib.contextmanager
    def transaction(
        self, savepoint_name: str | None = None, force_rollback: bool = False
    ) -> Iterator[psycopg.Transaction]:
        """As psycopg's, with the settings of evtool's connections."""
        is_outer = self.info.transaction_status == TransactionStatus.IDLE
        with super().transaction(savepoint_name, force_rollback) as transaction:
            if is_outer:
                super().execute(_LOCAL_SETTINGS)
            yield transaction

    def execute(self, query: Any, params: Any = None, **options: Any) -> psycopg.Cursor[tuple[Any, ...]]:
        """As psycopg's, in a transaction."""
        if self.info.transaction_status != TransactionStatus.IDLE:
            return super().execute(query, params, **options)
        with self.transaction():
            return super().execute(query, params, **options)


class Connector:
    """Opens connections to one database: a pool for calls, single ones for journeys."""

    def __init__(self, dsn: str) -> None:
        """Reads the DSN; nothing is connected yet.

        Args:
            dsn: postgresql://…, or libpq's key=value, or "" for the PG* variables alone.

        Raises:
            InvalidDsn: libpq does not understand it.
        """
        self._kept: Connection | None = None
        self._end: threading.Timer | None = None
        self._parameters = _parameters(dsn)
        self._class: type[Connection] = psycopg.Connection[tuple[Any, ...]]
        self._pool: ConnectionPool[Connection] | None = None
        self._closings = 0
        self._pid = os.getpid()
        self._lock = Lock()

    @contextlib.contextmanager
    def pooled(self) -> Iterator[Connection]:
        """A connection in autocommit for a single call, given back afterwards."""
        try:
            with self._get_pool().connection() as connection:
                yield connection
        except PoolClosed as error:
            raise StoreUnreachable("the store was closed meanwhile", hint="open it again") from error
        except PoolTimeout as error:
            raise StoreUnreachable("no connection to the database could be had", hint="try again later") from error

    def open(self) -> Connection:
        """A connection of one's own, in autocommit; the caller closes it.

        Raises:
            StoreUnreachable: no server, no login.
            ServerUnsuitable: the server is older than PostgreSQL 15.
        """
        self._let_go()
        with translated():
            connection = self._class.connect(**self._parameters)
        try:
            with translated():
                # a server that goes down may take the connection, but not what it is set to
                prepared = _prepare(connection)
            if not prepared:
                connection.close()
                self._class = BehindPooler
                self._parameters["prepare_threshold"] = None
                return self.open()
            if connection.info.server_version < MINIMUM_SERVER:
                found = connection.info.parameter_status("server_version")
                hint = "evtool needs PostgreSQL 15 or newer"
                raise ServerUnsuitable(f"PostgreSQL {found} is too old", hint=hint)  # noqa: TRY301 - closed below
        except BaseException:
            connection.close()
            raise
        return connection

    @contextlib.contextmanager
    def lent(self) -> Iterator[Connection]:
        """A connection of one's own, in autocommit, that is kept for a moment if all goes well, for the next who asks.

        A new session maps each page of the server's memory anew that it looks at, which takes longer than to read a
        small part of a large table. One is kept at the most, so whoever holds it keeps nobody waiting; and whoever
        opens another one ends it first, so there are never more sessions than without.

        Raises:
            StoreUnreachable, ServerUnsuitable: as `open` does.
        """
        closings = self._closings
        connection = self._take_kept() or self.open()
        try:
            yield connection
            connection.isolation_level, connection.read_only = psycopg.IsolationLevel.READ_COMMITTED, None
        except BaseException:
            connection.close()
            raise
        with self._lock:
            if self._kept is None and self._closings == closings and self._pid == os.getpid():
                self._kept = connection
                self._end = threading.Timer(_KEPT_SECONDS, self._let_go)
                self._end.daemon = True
                self._end.start()
                return
        connection.close()

    def close(self) -> None:
        """Closes the pool, and what is kept."""
        with self._lock:
            self._notice_fork()
            pool, self._pool = self._pool, None
            self._closings += 1
        self._let_go()
        if pool is not None:
            pool.close()

    def _let_go(self) -> None:
        """Closes what is kept."""
        kept = self._taken()
        if kept is not None:
            kept.close()

    def _take_kept(self) -> Connection | None:
        """The one that is kept, if the server hasn't closed it meanwhile."""
        kept = self._taken()
        if kept is not None:
            try:
                kept.execute("")
            except psycopg.Error:
                kept.close()
                return None
        return kept

    def _taken(self) -> Connection | None:
        with self._lock:
            self._notice_fork()
            kept, self._kept = self._kept, None
            if self._end is not None:
                self._end.cancel()
                self._end = None
        return kept

    def _notice_fork(self) -> None:
        if self._pid != os.getpid():
            _abandoned.extend((self._pool, self._kept))
            self._pool, self._kept, self._end, self._pid = None, None, None, os.getpid()

    def _get_pool(self) -> ConnectionPool[Connection]:
        with self._lock:
            self._notice_fork()
            if self._pool is None:
                self._pool = self._open_pool()
            return self._pool

    def _open_pool(self) -> ConnectionPool[Connection]:
        # A pool retries a failing connection in the background and reports a time-out in the end, without the reason.
        # One connection of our own says at once what is wrong.
        self.open().close()
        return ConnectionPool(
            connection_class=self._class,
            kwargs=self._parameters,
            min_size=0,
            max_size=_POOL_SIZE,
            timeout=_POOL_SECONDS,
            configure=_configure,
            open=True,
            name="evtool",
        )


def _parameters(dsn: str) -> dict[str, Any]:
    try:
        given: dict[str, Any] = conninfo.conninfo_to_dict(dsn)
    except (psycopg.Error, UnicodeEncodeError):
        # not "from error": libpq's message may quote the DSN, password and all, and -v would show it
        raise InvalidDsn(
            "the DSN is not one that PostgreSQL understands",
            hint="write postgresql://user@host:5432/database, or: host=… dbname=… user=…",
        ) from None
    if "://" in dsn and ("@" in str(given.get("host", "")) or not _PORTS.fullmatch(str(given.get("port", "")))):
        # libpq would say which host or port it did not find: the rest of a password with @ or / in it
        raise InvalidDsn(
            "the DSN names a host or a port that can't be one",
            hint="in a URL, write the special characters of a password as %40 (@), %2F (/), %3A (:)",
        )
    parameters = {**given, "client_encoding": "UTF8", "autocommit": True}
    parameters.setdefault("application_name", "evtool")
    if not settings.connect_timeout_is_set():
        parameters.setdefault("connect_timeout", _CONNECT_SECONDS)
    return parameters


def _prepare(connection: Connection) -> bool:
    """Sets what every connection needs; returns whether its session is its own.

    JSON stays text: psycopg would make floats of its numbers. Transactions are READ COMMITTED, as the functions need
    them, whatever the role's or the database's default is. And no operator of a schema in the role's search_path stands
    in for PostgreSQL's own: somebody could have made it there to be run by whoever exports.
    """
    connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
    if not isinstance(connection, BehindPooler):
        settings_of_session = _SETTINGS.format(sql.Literal(connection.info.backend_pid))
        # no parameters, and so nothing that is prepared
        if connection.execute(settings_of_session).fetchone() is None:
            return False
    connection.adapters.register_loader("jsonb", TextLoader)
    connection.adapters.register_loader("json", TextLoader)
    return True


def _configure(connection: Connection) -> None:
    _prepare(connection)


class Notices:
    """What the server says in NOTICEs while a block runs."""

    def __init__(self, connection: Connection) -> None:
        self.texts: list[str] = []
        self._connection = connection

    def __enter__(self) -> list[str]:
        """Starts listening; returns the list that fills."""
        self._connection.add_notice_handler(self._hear)
        return self.texts

    def __exit__(self, *_: object) -> None:
        """Stops listening."""
        self._connection.remove_notice_handler(self._hear)

    def _hear(self, diagnostic: psycopg.errors.Diagnostic) -> None:
        # evtool's functions speak by RAISE NOTICE; PostgreSQL's own (00000, "already exists, skipping") are no news
        text = one_line(diagnostic.message_primary or "")
        hint = one_line(diagnostic.message_hint or "")
        self.texts.append(f"{text} ({hint})" if hint else text)
