"""The namespaces of an LMDB store: the registry, and the environment of each.

No name becomes a path: a folder is called after the schema's ASCII letters, digits and `_`, and a token that is new for
every namespace. So `../x` is just a name, names that a case-folding file system takes for one don't meet, and a folder
that a crash has left over is never taken for another namespace's.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from evtool import contract, names, times
from evtool.errors import NamespaceExists, NamespaceNotFound, NamespaceRefused, NotMigrated
from evtool.model import Namespace
from evtool.stores.lmdb import layout, turns
from evtool.stores.lmdb.building import Building
from evtool.stores.lmdb.environment import MAP_SIZE, Environment, Transaction
from evtool.stores.lmdb.environments import environment
from evtool.stores.lmdb.handle import VERSION, not_migrated

_REGISTRY = "registry"
# Names may be longer than keys.
_BY_NAME = b"n"
_BY_SCHEMA = b"s"

_T = TypeVar("_T")


class Database:
    """An environment, and how it comes into being when it is first used."""

    def __init__(self, env: Environment, make: Callable[[Environment], None] | None) -> None:
        """Opens nothing yet.

        Args:
            env: the environment.
            make: makes it, if it may be made. None is one that only `migrate` makes.
        """
        self._env = env
        self._make = make
        self.newest = VERSION
        self.path = env.path
        self.version = env.version
        self.close = env.close

    @contextlib.contextmanager
    def reading(self) -> Iterator[Transaction]:
        """A short read transaction; see `Environment.reading`."""
        self._see_to_it()
        with self._env.reading() as transaction:
            yield transaction

    def copy(self, folder: Path) -> None:
        """Copies it into a folder that isn't there yet, as it is at this moment."""
        self._see_to_it()
        self._env.copy(folder)

    def migrate(self) -> int:
        """Brings it to the newest layout, or makes it; returns the version that it had."""
        if self._make is None:
            return self._env.migrate(create=True)
        if self._env.version() != 0:
            # somebody may remove it at this moment, which whoever makes it is told of
            with contextlib.suppress(NotMigrated):
                return self._env.migrate(create=False)
        self._make(self._env)
        return 0

    def write(self, action: Callable[[Transaction], _T], *, once: bool = False, keep: bool = True) -> _T:
        """Does something in a write transaction; see `Environment.write`."""
        self._see_to_it()
        return self._env.write(action, once=once, keep=keep)

    def _see_to_it(self) -> None:
        """Makes what isn't there, which a crash may have kept from it."""
        if self._env.made or self._env.version() != 0:
            return
        if self._make is None:
            raise not_migrated()
        self._make(self._env)


class Namespaces:
    """The registry of a folder."""

    def __init__(self, folder: Path, map_size: int = MAP_SIZE) -> None:
        """Opens nothing yet.

        Args:
            folder: where the environments are.
            map_size: how large their maps are at the least.
        """
        self.folder = folder
        self._map_size = map_size
        registry = environment(folder / _REGISTRY, map_size)
        self.registry = Database(registry, None)
        self._environments: dict[str, Environment] = {}

    def list(self) -> list[Namespace]:
        """All of them, by name."""
        with self.registry.reading() as transaction:
            rows = [json.loads(value) for _, value in layout.entries(transaction, _BY_NAME)]
        return sorted((_namespace(row) for row in rows), key=lambda namespace: namespace.name)

    def get(self, name: str) -> Namespace:
        """One of them.

        Raises:
            NamespaceNotFound: there is none of that name.
        """
        return _namespace(self._find(name))

    def create(self, name: str, schema: str | None, like: str | None = None) -> Namespace:
        """Enters a namespace; its environment is made when it is first used, or at once as a copy of another's.

        Raises:
            NamespaceExists, NamespaceRefused, NamespaceNotFound: see `Store.create_namespace`.
        """
        names.check_namespace(name)
        schema = names.schema_name(name) if schema is None else names.check_schema(schema)
        row = {
            "name": name,
            "schema": schema,
            "folder": f"{re.sub('[^a-z0-9_]+', '_', schema.lower())[:32]}-{secrets.token_hex(6)}",
            "created_at": times.render(datetime.now(UTC)),
        }

        def add(transaction: Transaction) -> None:
            if _row(transaction, name) is not None:
                raise NamespaceExists(f'there is a namespace "{name}" already', hint="see: evtool ns list")
            owner = transaction.get(_BY_SCHEMA + schema.encode())
            if owner is not None:
                raise NamespaceRefused(
                    f"The schema {schema} belongs to the namespace '{owner.decode()}'",
                    hint="name another schema with --schema",
                )
            transaction.put(_key(name), json.dumps(row).encode())
            transaction.put(_BY_SCHEMA + schema.encode(), name.encode())

        with contextlib.ExitStack() as undo:
            if like is not None:
                # before anybody can find it: a crash in between leaves a folder that nobody looks for
                folder = self.folder / row["folder"]
                undo.callback(shutil.rmtree, folder, ignore_errors=True)
                self.database(like).copy(folder)
            self.registry.write(add)
            undo.pop_all()
        return _namespace(row)

    def delete(self, name: str) -> None:
        """Removes a namespace and its environment.

        Raises:
            NamespaceNotFound: there is none of that name.
            StoreTimeout: an import is at work for too long; nothing was removed.
        """

        def remove(transaction: Transaction) -> str:
            row = _row(transaction, name)
            if row is None:
                raise _missing(name)
            transaction.delete(_key(name))
            transaction.delete(_BY_SCHEMA + row["schema"].encode())
            folder: str = row["folder"]
            return folder

        # before anything is removed: afterwards there would be nothing to try again
        with turns.importing(self.folder / self._find(name)["folder"]):
            pass
        folder: str | None = self.registry.write(remove)
        # after the registry has let go of it: a crash in between leaves a folder that nobody looks for
        while folder is not None:
            successor = self._environment(folder).delete()
            self._environments.pop(folder, None)
            folder = successor

    def database(self, name: str) -> Database:
        """The database of a namespace.

        Raises:
            NamespaceNotFound: there is none of that name.
        """
        folder: str = self._find(name)["folder"]
        # whoever moved the messages may have been killed before the registry knew
        while (successor := self._environment(folder).successor()) is not None:
            self.settle(name, folder, successor)
            folder = successor
        return Database(self._environment(folder), partial(self._make, name, folder))

    def build(self, database: Database) -> Building:
        """Begins an environment that is to take a namespace's place; see building.py."""
        return Building(database.path, self._map_size)

    def settle(self, name: str, folder: str, successor: str) -> None:
        """Enters the folder to which a namespace's messages have moved, and removes the one where they were."""

        def move(transaction: Transaction) -> bool:
            row = _row(transaction, name)
            if row is None or row["folder"] != folder:
                # deleted meanwhile, with both folders, or entered by somebody else
                return False
            transaction.put(_key(name), json.dumps(row | {"folder": successor}).encode())
            return True

        if self.registry.write(move):
            self._environment(folder).remove()
            self._environments.pop(folder, None)

    def close(self) -> None:
        """Closes all environments."""
        environments = [*self._environments.values()]
        self._environments.clear()
        for one in environments:
            one.close()
        self.registry.close()

    def _environment(self, folder: str) -> Environment:
        # no lock here, which a fork could leave locked for ever in the child; `environment` has one that is fit for it
        found = self._environments.get(folder)
        if found is None:
            found = self._environments[folder] = environment(self.folder / folder, self._map_size)
        return found

    def _make(self, name: str, folder: str, env: Environment) -> None:
        """Makes the environment of a namespace while nobody can delete it: else what is written could get lost."""

        def make_while_registered(transaction: Transaction) -> None:
            row = _row(transaction, name)
            if row is None or row["folder"] != folder:
                raise _missing(name)
            env.migrate(create=True)

        self.registry.write(make_while_registered)

    def _find(self, name: str) -> dict[str, str]:
        contract.namespace_to_find(name)
        with self.registry.reading() as transaction:
            row = _row(transaction, name)
        if row is None:
            raise _missing(name)
        return row


def _key(name: str) -> bytes:
    return _BY_NAME + hashlib.sha256(name.encode()).digest()


def _row(transaction: Transaction, name: str) -> dict[str, Any] | None:
    value = transaction.get(_key(name))
    return None if value is None else json.loads(value)


def _namespace(row: dict[str, str]) -> Namespace:
    return Namespace(row["name"], row["schema"], datetime.fromisoformat(row["created_at"]))


def _missing(name: str) -> NamespaceNotFound:
    return NamespaceNotFound(
        f'there is no namespace "{name}"', hint="see: evtool ns list; make it: evtool ns create NAME"
    )
