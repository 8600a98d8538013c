"""The namespaces of a SQLite store: the registry, and the database of each.

No name becomes a path: a file is called after the schema's ASCII letters, digits and `_`, and a token that is new for
every namespace. So `../x` is just a name, names that a case-folding file system takes for one don't meet, and a file
that a crash has left over is never taken for another namespace's.
"""

from __future__ import annotations

import contextlib
import re
import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from evtool import contract, names, times
from evtool.errors import NamespaceExists, NamespaceNotFound, NamespaceRefused
from evtool.model import Namespace
from evtool.stores.sqlite.database import Database

_REGISTRY_FILE = "registry.sqlite"
_SUFFIX = ".sqlite"

_LIST = "SELECT name, schema_name, created_at FROM namespaces ORDER BY name"
_GET = "SELECT name, schema_name, created_at, file FROM namespaces WHERE name = ?"
_OWNER = "SELECT name FROM namespaces WHERE schema_name = ?"
_ADD = "INSERT INTO namespaces (name, schema_name, file, created_at) VALUES (?, ?, ?, ?)"
_REMOVE = "DELETE FROM namespaces WHERE name = ? RETURNING file"


class Namespaces:
    """The registry of a folder, or of a store in memory."""

    def __init__(self, folder: Path | None) -> None:
        """Opens nothing yet.

        Args:
            folder: where the files are; None is memory.
        """
        self.folder = folder
        self.registry = Database(folder / _REGISTRY_FILE if folder else None, "registry", create=None)
        self._open: dict[str, Database] = {}

    def list(self) -> list[Namespace]:
        """All of them, by name."""
        with self.registry.reading() as connection:
            return [_namespace(*row) for row in connection.execute(_LIST)]

    def get(self, name: str) -> Namespace:
        """One of them.

        Raises:
            NamespaceNotFound: there is none of that name.
        """
        return self._find(name)[0]

    def create(self, name: str, schema: str | None, like: str | None = None) -> Namespace:
        """Enters a namespace; its database is made when it is first used, or at once as a copy of another's.

        Raises:
            NamespaceExists, NamespaceRefused, NamespaceNotFound: see `Store.create_namespace`.
        """
        names.check_namespace(name)
        schema = names.schema_name(name) if schema is None else names.check_schema(schema)
        created = times.render(datetime.now(UTC))
        file = f"{re.sub('[^a-z0-9_]+', '_', schema.lower())[:32]}-{secrets.token_hex(6)}{_SUFFIX}"
        with contextlib.ExitStack() as undo:
            if like is not None:
                # before anybody can find it: a crash in between leaves a file that nobody looks for
                copy = self._database(name, file)
                undo.callback(copy.delete)
                undo.callback(self._open.pop, file, None)
                self.database(like).copy_to(copy)
            with self.registry.writing() as connection:
                if connection.execute(_GET, (name,)).fetchone() is not None:
                    raise NamespaceExists(f'there is a namespace "{name}" already', hint="see: evtool ns list")
                owner = connection.execute(_OWNER, (schema,)).fetchone()
                if owner is not None:
                    raise NamespaceRefused(
                        f"The schema {schema} belongs to the namespace '{owner[0]}'",
                        hint="name another schema with --schema",
                    )
                connection.execute(_ADD, (name, schema, file, created))
            undo.pop_all()
        return _namespace(name, schema, created)

    def delete(self, name: str) -> None:
        """Removes a namespace and its file.

        Raises:
            NamespaceNotFound: there is none of that name.
        """
        database = self.database(name)
        with self.registry.writing() as connection:
            removed = connection.execute(_REMOVE, (name,)).fetchone()
            if removed is None:
                raise _missing(name)
        self._open.pop(removed[0], None)
        # after the registry has let go of it: a crash in between leaves a file that nobody looks for
        database.delete()

    def database(self, name: str) -> Database:
        """The database of a namespace.

        Raises:
            NamespaceNotFound: there is none of that name.
        """
        _, file = self._find(name)
        opened = file in self._open
        database = self._database(name, file)
        if self.folder is None and not opened:
            # It may have been deleted before it was opened. Nothing else would tell in memory; for files `_make` does.
            try:
                current = self._find(name)[1]
            except NamespaceNotFound:
                current = None
            if current != file:
                self._open.pop(file, None)
                raise _missing(name)
        return database

    def _database(self, name: str, file: str) -> Database:
        found = self._open.get(file)
        if found is None:
            path = self.folder / file if self.folder else None
            # of two threads that come here the second takes the first one's; no lock, which a fork could leave locked
            found = self._open.setdefault(file, Database(path, "namespace", create=partial(self._make, name, file)))
        return found

    def _make(self, name: str, file: str, make: Callable[[], int]) -> None:
        """Makes the file of a namespace while nobody can delete it: else what is written to it could get lost."""
        with self.registry.writing() as connection:
            row = connection.execute(_GET, (name,)).fetchone()
            if row is None or row[3] != file:
                raise _missing(name)
            make()

    def close(self) -> None:
        """Closes all databases."""
        databases = [*self._open.values()]
        self._open.clear()
        for database in [*databases, self.registry]:
            database.close()

    def _find(self, name: str) -> tuple[Namespace, str]:
        contract.namespace_to_find(name)
        with self.registry.reading() as connection:
            row = connection.execute(_GET, (name,)).fetchone()
        if row is None:
            raise _missing(name)
        return _namespace(*row[:3]), row[3]


def _namespace(name: str, schema: str, created: str) -> Namespace:
    return Namespace(name, schema, datetime.fromisoformat(created))


def _missing(name: str) -> NamespaceNotFound:
    return NamespaceNotFound(
        f'there is no namespace "{name}"', hint="see: evtool ns list; make it: evtool ns create NAME"
    )
