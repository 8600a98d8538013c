"""The database of a test run, and the namespaces that tests get in it."""

from __future__ import annotations

import contextlib
import itertools
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from evtool.connecting import open_store
from evtool.errors import EvtoolError, ImportRefused
from evtool.importing import import_file
from evtool.settings import DEFAULT_NAMESPACE
from evtool.store import Store
from evtool.testing.servers import DatabaseServer, start_server


class Databases:
    """A migrated database for one run of tests in one process.

    Attributes:
        dsn: its URL.
        description: what it is, for people.
        store: a store on it.
    """

    def __init__(self, dsn: str, description: str, store: Store) -> None:
        self.dsn = dsn
        self.description = description
        self.store = store
        # Roles belong to the server, so names must differ from those of other runs on it.
        self._token = secrets.token_hex(4)
        self._numbers = itertools.count(1)
        self._templates: dict[tuple[tuple[Path, int, int], ...], str] = {}

    @classmethod
    @contextlib.contextmanager
    def open(cls, kind: str, folder: Path) -> Iterator[Databases]:
        """Makes a database of a kind, and removes it at the end.

        Args:
            kind: sqlite, lmdb or postgres.
            folder: an empty one, for those that are files.

        Raises:
            StoreUnreachable: no PostgreSQL server can be had, with the reason of each that was tried.
        """
        if kind != "postgres":
            dsn = f"{kind}://{folder}"
            with open_store(dsn, DEFAULT_NAMESPACE) as store:
                store.migrate()
                yield cls(dsn, f"{kind} in {folder}", store)
            return
        with start_server() as server, _database(server) as dsn, open_store(dsn, DEFAULT_NAMESPACE) as store:
            store.migrate()
            yield cls(dsn, server.describe(), store)
            # with its group roles, which would stay behind on the server
            with contextlib.suppress(EvtoolError):
                for one in store.list_namespaces():
                    store.delete_namespace(one.name)

    @contextlib.contextmanager
    def namespace(self, files: tuple[Path, ...] = ()) -> Iterator[str]:
        """Makes a namespace for the time of the block.

        Args:
            files: exports whose messages it begins with. They are imported once, and the store copies what that made.

        Raises:
            ImportRefused: a file can't be imported.
        """
        name = self._name("test")
        if files:
            self.store.create_namespace(name, like=self._template(files))
        else:
            self.store.create_namespace(name)
        yield name
        # a test that has deleted it itself is fine
        with contextlib.suppress(EvtoolError):
            self.store.delete_namespace(name)

    def _template(self, files: tuple[Path, ...]) -> str:
        """A namespace with the messages of files, which nobody writes to."""
        key = tuple((file, file.stat().st_mtime_ns, file.stat().st_size) for file in files)
        found = self._templates.get(key)
        if found is None:
            found = self._name("template")
            self.store.create_namespace(found)
            for file in files:
                try:
                    import_file(self.store.in_namespace(found), os.fspath(file))
                except ImportRefused as error:
                    error.add_note(f"{error.code} in {file}, line {error.line}")
                    self.store.delete_namespace(found)
                    raise
            self._templates[key] = found
        return found

    def _name(self, what: str) -> str:
        return f"{what}_{next(self._numbers)}_{self._token}"


@contextlib.contextmanager
def _database(server: DatabaseServer) -> Iterator[str]:
    """A database of this process's own on a server."""
    import psycopg
    from psycopg import conninfo, sql

    database = f"evtool_test_{os.getpid()}_{secrets.token_hex(4)}"
    name = sql.Identifier(database)
    with psycopg.connect(server.dsn, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(name))
        try:
            yield conninfo.make_conninfo(server.dsn, dbname=database)
        finally:
            admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))
