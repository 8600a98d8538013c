"""What stores of files of their own have in common: a registry of namespaces, a database for each, and migrations."""

from __future__ import annotations

import abc
import contextlib
import heapq
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from evtool import contract, json_values, settings
from evtool.errors import ConditionNotActivated, NamespaceExists, NamespaceNotFound
from evtool.model import (
    Breakdown,
    MigrationStep,
    Namespace,
    NamespaceState,
    Selection,
    StreamInfo,
    Unit,
    json_text,
)
from evtool.store import Store
from evtool.tallying import Tally, unit_for


class Versioned(Protocol):
    """A database whose tables, or layout, have a version."""

    @property
    def newest(self) -> int:
        """The version that this evtool ships."""

    def version(self) -> int:
        """The version that it has; 0 where there is nothing.

        Raises:
            NamespaceNotFound: it was deleted.
        """

    def migrate(self) -> int:
        """Brings it to the newest version; returns the one that it had."""


class Registry(Protocol):
    """The namespaces of a store, and where each is."""

    @property
    def folder(self) -> Path | None:
        """Where the files are; None is memory."""

    @property
    def registry(self) -> Versioned:
        """The database that lists the namespaces."""

    def list(self) -> list[Namespace]:
        """All of them, by name."""

    def get(self, name: str) -> Namespace:
        """One of them."""

    def create(self, name: str, schema: str | None, like: str | None = None) -> Namespace:
        """Enters one; its database is made when it is first used, or at once as a copy of another's."""

    def delete(self, name: str) -> None:
        """Removes one, with all that is in it."""

    def database(self, name: str) -> Versioned:
        """The database of one."""

    def close(self) -> None:
        """Closes everything."""


class LocalStore(Store):
    """A namespace of a store of files. See `Store` for what its methods do."""

    def __init__(self, namespaces: Registry, namespace: str | None) -> None:
        """Opens nothing yet.

        Args:
            namespaces: where namespaces are found.
            namespace: its name; None for EVTOOL_NAMESPACE, else message_store.
        """
        self._namespace = settings.namespace(namespace)
        self._registry = namespaces

    @abc.abstractmethod
    def _translated(self) -> AbstractContextManager[None]:
        """Makes errors of the library those of the contract."""

    @property
    def namespace(self) -> str:
        """The namespace that the messages are in."""
        return self._namespace

    def identity(self) -> str:
        """See `Store.identity`: the folder itself, whatever path led to it, and the name in it."""
        self.get_namespace(self._namespace)
        folder = self._registry.folder
        if folder is None:
            return f"memory {id(self._registry)} {self._namespace}"
        with self._translated():
            found = folder.stat()
        return f"folder {found.st_dev} {found.st_ino} {self._namespace}"

    def close(self) -> None:
        """Closes all files."""
        self._registry.close()

    def breakdown(self, unit: Unit | None = None, longest: int = 10) -> Breakdown:
        """See `Store.breakdown`."""
        whole = self.statistics()
        chosen = unit or unit_for(whole.first_time, whole.last_time)
        tally = Tally(chosen)
        lines = self.export(Selection())
        with contextlib.closing(lines):  # type: ignore[type-var]
            for block in lines:
                tally.add(block.lines)
        streams = tuple(heapq.nlargest(longest, self._streams(), key=lambda one: one.version))
        counts = (tally.counts("category"), tally.counts("type"))
        return Breakdown(*counts, streams, chosen, tally.counts("span"), self._disk_size(), None)

    def _streams(self) -> Iterator[StreamInfo]:
        after = None
        while page := self.list_streams(after=after):
            yield from page
            after = page[-1].stream_name

    @abc.abstractmethod
    def _disk_size(self) -> int:
        """How many bytes the namespace's database takes."""

    def list_namespaces(self) -> list[Namespace]:
        """See `Store.list_namespaces`."""
        with self._translated():
            return self._registry.list()

    def get_namespace(self, name: str) -> Namespace:
        """See `Store.get_namespace`."""
        with self._translated():
            return self._registry.get(name)

    def create_namespace(self, name: str, schema: str | None = None, *, like: str | None = None) -> Namespace:
        """See `Store.create_namespace`."""
        with self._translated():
            return self._registry.create(name, schema, like)

    def delete_namespace(self, name: str) -> None:
        """See `Store.delete_namespace`."""
        with self._translated():
            self._registry.delete(name)

    def migrate(self) -> list[MigrationStep]:
        """See `Store.migrate`."""
        with self._translated():
            return list(self._migrate())

    def migration_status(self) -> list[NamespaceState]:
        """See `Store.migration_status`."""
        with self._translated():
            registry = self._registry.registry
            found = registry.version()
            states = [_state(None, "registry", found, registry.newest)]
            # an older registry has to be migrated before its namespaces can be listed, and a newer one can't be read
            if found == registry.newest:
                for one in self._registry.list():
                    # somebody may delete it meanwhile
                    with contextlib.suppress(NamespaceNotFound):
                        database = self._registry.database(one.name)
                        # a database that was never used is made when it is
                        found = database.version() or database.newest
                        states.append(_state(one.name, one.schema, found, database.newest))
            return states

    def _migrate(self) -> Iterator[MigrationStep]:
        registry = self._registry.registry
        yield _step(None, "registry", registry.migrate(), registry.newest)
        namespaces = self._registry.list()
        if not namespaces:
            # somebody who migrates at the same time may have been quicker
            with contextlib.suppress(NamespaceExists):
                made = self._registry.create(settings.DEFAULT_NAMESPACE, None)
                yield _step(made.name, made.schema, 0, self._registry.database(made.name).newest)
            namespaces = [one for one in self._registry.list() if one.name != settings.DEFAULT_NAMESPACE]
        for one in namespaces:
            # somebody may delete it meanwhile
            with contextlib.suppress(NamespaceNotFound):
                database = self._registry.database(one.name)
                found = database.migrate()
                yield _step(one.name, one.schema, found or database.newest, database.newest)


def json_checked(value: Any) -> str | None:
    """A value of `data` or `metadata` as JSON text that jsonb would take.

    Raises:
        InvalidMessage: it would not.
    """
    text = json_text(value)
    return None if text is None else json_values.check(text)


def first_position(position: int | None, default: int) -> int:
    """The position to read from.

    Raises:
        InvalidArgument: it is beyond a bigint.
    """
    return default if position is None else contract.check_bigint(position)


def check_stream_read(
    stream_name: str | None, position: int | None, batch_size: int | None, condition: str | None
) -> None:
    """Checks what `get_stream_messages` is given, but for a batch_size below -1, which comes last.

    Raises:
        InvalidMessage, InvalidArgument: a value is not of its type, which comes first.
        NotAStream, ConditionNotActivated: in this order.
    """
    contract.check_names(stream_name, condition)
    contract.check_bigints(position, batch_size)
    contract.check_stream(stream_name)
    _refuse_condition(condition)


def check_category_read(
    category: str | None,
    position: int | None,
    batch_size: int | None,
    correlation: str | None,
    member: int | None,
    size: int | None,
    condition: str | None,
) -> None:
    """Checks what `get_category_messages` is given, but for a batch_size below -1, which comes last.

    Raises:
        InvalidMessage, InvalidArgument: a value is not of its type, which comes first.
        NotACategory, InvalidCorrelation, InvalidConsumerGroup, ConditionNotActivated: in this order.
        InvalidArgument: the group is too large.
    """
    contract.check_names(category, correlation, condition)
    contract.check_bigints(position, batch_size, member, size)
    contract.check_category(category)
    contract.check_correlation(correlation)
    contract.check_consumer_group(member, size)
    _refuse_condition(condition)
    contract.check_group_size(size)


def _refuse_condition(condition: str | None) -> None:
    if condition is not None:
        raise ConditionNotActivated(
            "Retrieval with SQL condition is not activated", hint="this store has none; filter what it returns"
        )


def _state(name: str | None, schema: str, found: int, newest: int) -> NamespaceState:
    versions = tuple(f"{number:04}" for number in range(found + 1, newest + 1))
    note = f"a newer evtool made structure {found:04}: upgrade evtool" if found > newest else None
    functions = "outdated" if note else "current"
    return NamespaceState(name, schema, f"{found:04}" if found else None, versions, functions, roles=True, note=note)


def _step(name: str | None, schema: str, found: int, newest: int) -> MigrationStep:
    action = "current" if found == newest else "upgraded" if found else "created"
    return MigrationStep(name, schema, action, f"{newest:04}")
