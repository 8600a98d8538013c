"""A SQLite database, file or memory: its connections, its transactions, and the version of its tables.

The version is PRAGMA user_version: 0 is a file without tables, -1 a namespace that was deleted while others have its
file open; they find that out with the next thing they do, instead of writing into a file that has no name any more.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from evtool import sqltext
from evtool.contract import in_consumer_group
from evtool.errors import DatabaseTooNew, NamespaceNotFound, NotMigrated, PermissionDenied, StoreUnreachable
from evtool.stores.gate import Gate
from evtool.stores.sqlite import forking

DELETED = -1
VERSIONS = {"registry": 1, "namespace": 2}
"""The newest of each kind of database: as many as there are files sql/sqlite/KIND_000N.sql."""

_BUSY_SECONDS = 60.0
_RETRY_SECONDS = 0.005
# More than the default of 2 MB: an import touches three indexes at random. Well below what a client may take.
_CACHE_KIB = 32768

_T = TypeVar("_T")


class Database:
    """A SQLite database that several threads and processes use."""

    def __init__(self, path: Path | None, kind: str, *, create: Callable[[Callable[[], int]], None] | None) -> None:
        """Opens nothing yet.

        Args:
            path: the file; None is a database in memory.
            kind: `registry` or `namespace`, the name of its SQL files.
            create: calls what it is given, which makes the file and its tables, if the file may be made; it is called
                when the file is first needed. None is a database that only `migrate` makes.
        """
        self.path = path
        self.newest = VERSIONS[kind]
        self._kind = kind
        self._create = create
        self._deleted = False
        self._made = False
        self._gate = Gate()
        self._idle: list[sqlite3.Connection] = []
        self._forked_inside = False
        self._memory_lock = threading.RLock()
        self._memory = self._connect() if path is None else None
        forking.register(self)
        if self._memory is not None:
            self.migrate()

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection in a read transaction: one snapshot.

        Raises:
            NotMigrated, DatabaseTooNew, NamespaceNotFound: the tables are not what they must be.
        """
        self._make()
        with self._connection() as connection, _transaction(connection, "BEGIN"):
            self._check(connection)
            yield connection

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A connection in a write transaction; other writers wait for it.

        Raises:
            NotMigrated, DatabaseTooNew, NamespaceNotFound: the tables are not what they must be.
        """
        self._make()
        with self._connection() as connection, _transaction(connection, "BEGIN IMMEDIATE"):
            self._check(connection)
            yield connection

    def export(self, pages: Callable[[sqlite3.Connection], Iterator[_T]]) -> Iterator[_T]:
        """What is read in one snapshot, page by page.

        A database in memory has one connection: there all pages are read at once, so that whoever looks at them may
        write meanwhile, in this thread or another.
        """
        with self.reading() as connection:
            if self._memory is None:
                process = os.getpid()
                for page in pages(connection):
                    yield page
                    forking.check_process(process)
                return
            read = list(pages(connection))
        yield from read

    def version(self) -> int:
        """The version of the tables; 0 where there are none.

        Raises:
            NamespaceNotFound: the namespace was deleted.
        """
        if self.path is not None and not self.path.exists():
            return 0
        with self._connection() as connection:
            found = _version(connection)
        if found == DELETED:
            raise _deleted()
        return found

    def migrate(self) -> int:
        """Brings the tables to the newest version; returns the one that they had.

        Raises:
            DatabaseTooNew: a newer evtool made them.
            PermissionDenied, StoreUnreachable: the file can't be made.
        """
        if self.path is not None:
            _touch(self.path)
        with self._connection() as connection, _transaction(connection, "BEGIN IMMEDIATE"):
            found = _version(connection)
            if 0 <= found < self.newest:
                self._upgrade(connection, found)
            self._check(connection)
            return found

    def copy_to(self, other: Database) -> None:
        """Makes another database, which nobody uses yet, what this one is at this moment.

        Raises:
            NotMigrated, DatabaseTooNew, NamespaceNotFound: the tables are not what they must be.
            PermissionDenied, StoreUnreachable: its file can't be made.
        """
        with self.reading() as connection:
            if other.path is not None:
                _touch(other.path)
            with other._connection() as copy:
                connection.backup(copy)

    def delete(self) -> None:
        """Tells whoever has the file open that it is gone, closes it, removes it and what SQLite keeps beside it."""
        if self.path is not None and self.path.exists():
            gone = (sqlite3.Error, NamespaceNotFound)
            with contextlib.suppress(*gone), self._connection() as connection:  # noqa: SIM117 - in this order
                with _transaction(connection, "BEGIN IMMEDIATE"):
                    connection.execute(f"PRAGMA user_version = {DELETED}")
        self._deleted = True
        self.close()
        if self.path is not None:
            for suffix in ("", "-wal", "-shm", "-journal"):
                self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)

    def close(self) -> None:
        """Closes the connections that nobody uses."""
        with self._gate.lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()
        if self._memory is not None:
            # never under a thread that is inside a statement: the driver would read what SQLite has freed
            with self._memory_lock:
                self._memory.close()

    def before_fork(self) -> None:
        """Waits for a moment until nobody uses it, closes what is idle, and keeps everybody out."""
        self._gate.before_fork()
        while self._idle:
            with contextlib.suppress(sqlite3.Error):
                self._idle.pop().close()

    def after_fork(self, *, child: bool) -> None:
        """Lets everybody in again; not in a child process, if it was in use when that was forked."""
        if child and not self._gate.empty:
            self._forked_inside = True
            if self.path is not None:
                forking.forbid(self.path)
        self._gate.after_fork(child=child)

    def _make(self) -> None:
        """Sees to it that the file is there, with its tables, which a crash may have kept from it."""
        if self.path is None or self._deleted or (self._made and self.path.exists()):
            return
        if self.version() == 0:
            if self._create is None:
                raise _not_migrated()
            self._create(self.migrate)
        self._made = True

    @contextlib.contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        self._require_name()
        if self._forked_inside:
            raise forking.forked()
        process = os.getpid()
        with self._gate.lock:
            self._gate.let_pass()
            connection = self._idle.pop() if self._idle else None
            self._gate.enter()
        try:
            if self._memory is not None:
                # a database in memory lives and dies with its one connection
                with self._memory_lock:
                    self._require_name()
                    yield self._memory
                return
            connection = connection or self._connect()
            yield connection
            forking.check_process(process)
        except BaseException as error:
            if connection is not None:
                if os.getpid() == process:
                    connection.close()
                else:
                    forking.abandon(connection)
            if isinstance(error, sqlite3.Error) and self.path is not None and not self.path.exists():
                # removed between two looks at it, of which SQLite makes whatever it meets first
                raise (_not_migrated() if self._create is None else _deleted()) from error
            raise
        else:
            with self._gate.lock:
                self._idle.append(connection)
        finally:
            with self._gate.lock:
                self._gate.leave()

    def _require_name(self) -> None:
        if self._deleted:
            raise _deleted()

    def _connect(self) -> sqlite3.Connection:
        if self.path is not None:
            forking.check(self.path)
        # only `migrate` makes a file: else one that was just deleted would come back, empty
        name = ":memory:" if self.path is None else f"{self.path.absolute().as_uri()}?mode=rw"
        connection = sqlite3.connect(
            name, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False, cached_statements=64, uri=True
        )
        try:
            if self.path is not None:
                _switch_to_wal(connection)
                # With WAL this loses nothing when a process dies; a power cut may take the last commits, never more.
                connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
            connection.create_function("in_consumer_group", 3, in_consumer_group, deterministic=True)
        except BaseException:
            connection.close()
            raise
        return connection

    def _upgrade(self, connection: sqlite3.Connection, found: int) -> None:
        for number in range(found + 1, self.newest + 1):
            for statement in _statements(sqltext.read(f"sqlite/{self._kind}_{number:04}.sql")):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number}")

    def _check(self, connection: sqlite3.Connection) -> None:
        found = _version(connection)
        if found == self.newest:
            return
        if found == DELETED:
            raise _deleted()
        if found > self.newest:
            raise DatabaseTooNew(
                f"{self.path} has structure {found:04}, and this evtool knows {self.newest:04} at the most",
                hint="a newer evtool migrated it: upgrade evtool",
            )
        raise _not_migrated()


def _touch(path: Path) -> None:
    hint = "check the folder and its permissions"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    except PermissionError as error:
        raise PermissionDenied(f"{path} can't be made or changed", hint=hint) from error
    except OSError as error:
        raise StoreUnreachable(f"{path} can't be made: {error.strerror}", hint=hint) from error


def _deleted() -> NamespaceNotFound:
    return NamespaceNotFound("the namespace was deleted", hint="see: evtool ns list")


def _not_migrated() -> NotMigrated:
    return NotMigrated(
        "this store has no namespaces of evtool yet, or older ones", hint="run: evtool migrate, with this --dsn"
    )


def _version(connection: sqlite3.Connection) -> int:
    found: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return found


def _switch_to_wal(connection: sqlite3.Connection) -> None:
    """Turns a new file into one with a write-ahead log; SQLite doesn't wait for others who do so at the same time."""
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(_RETRY_SECONDS)
        else:
            return


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection, begin: str) -> Iterator[None]:
    process = os.getpid()
    connection.execute(begin)
    try:
        yield
        forking.check_process(process)
    except BaseException:
        if os.getpid() != process:
            raise
        # SQLite may have rolled back by itself, when the disk is full for one
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _statements(text: str) -> Iterator[str]:
    """The statements of a SQL file. executescript would commit the transaction that they belong to."""
    statement = ""
    for line in text.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
