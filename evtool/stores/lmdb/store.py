"""A store in LMDB, with the contract of the stored procedures in Python and its indexes as tables of keys."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from evtool import contract, times
from evtool.errors import MessageExists, NamespaceNotFound, NotMigrated
from evtool.imports import ImportPlan, ImportRecord, ImportSummary
from evtool.model import (
    CategoryInfo,
    ExportBlock,
    Message,
    Namespace,
    NewMessage,
    Selection,
    StreamInfo,
    Watermark,
)
from evtool.ndjson import Record
from evtool.store import Ability
from evtool.stores.lmdb import exporting, importing, layout, messages, recording
from evtool.stores.lmdb.environment import MAP_SIZE, Transaction
from evtool.stores.lmdb.handle import DATA, Moved, deleted
from evtool.stores.lmdb.layout import BY_CATEGORY, IDS, MESSAGES, POSITIONS, Writer
from evtool.stores.lmdb.namespaces import Database, Namespaces
from evtool.stores.lmdb.translation import translated
from evtool.stores.local import LocalStore, check_category_read, check_stream_read, first_position, json_checked

_PLAN = ImportPlan()

_T = TypeVar("_T")


class LMDBStore(LocalStore):
    """A namespace of an LMDB store. See `Store` for what its methods do."""

    def __init__(
        self,
        folder: Path,
        namespace: str | None = None,
        *,
        namespaces: Namespaces | None = None,
        map_size: int = MAP_SIZE,
    ) -> None:
        """Opens nothing yet.

        Args:
            folder: where the environments of the registry and the namespaces are.
            namespace: its name; None for EVTOOL_NAMESPACE, else message_store.
            namespaces: those of another store of the same folder, to be shared.
            map_size: how large the maps are to begin with. They grow; a file never gets larger than what is in it.
        """
        self._namespaces = namespaces or Namespaces(folder, map_size)
        super().__init__(self._namespaces, namespace)
        self._database: Database | None = None

    def _translated(self) -> AbstractContextManager[None]:
        return translated()

    @property
    def kind(self) -> str:
        """LMDB."""
        return "lmdb"

    def _disk_size(self) -> int:
        self._read(lambda _: None)
        with translated():
            return (self._open().path / DATA).stat().st_size

    def structure_version(self) -> str:
        """See `Store.structure_version`."""
        self._read(lambda _: None)
        with translated():
            return f"{self._open().version():04}"

    def in_namespace(self, name: str) -> LMDBStore:
        """A store of another namespace on the same environments."""
        return LMDBStore(self._namespaces.folder, name, namespaces=self._namespaces)

    def write_message(
        self,
        id: str | None,
        stream_name: str,
        type: str,
        data: Any,
        metadata: Any = None,
        expected_version: int | None = None,
    ) -> int:
        """See `Store.write_message`."""
        message = NewMessage(type, data, metadata, str(uuid.uuid4()) if id is None else id)
        return self.write_messages(stream_name, [message], expected_version)[0]

    def write_messages(
        self, stream_name: str, messages: Sequence[NewMessage], expected_version: int | None = None
    ) -> list[int]:
        """See `Store.write_messages`."""
        # as in PostgreSQL, values that aren't of their type are refused before anything else
        contract.check_names(stream_name, *(text for message in messages for text in (message.id, message.type)))
        contract.check_bigints(expected_version)
        values = [(json_checked(message.data), json_checked(message.metadata)) for message in messages]

        def write(transaction: Transaction) -> list[int]:
            found = layout.find_stream(transaction, stream_name)
            version = -1 if found is None else found[1]
            contract.check_expected_version(stream_name, expected_version, None if found is None else version)
            ids = [
                str(uuid.uuid4()) if message.id is None else contract.canonical_id(message.id) for message in messages
            ]
            writer = Writer(transaction)
            now = times.render(datetime.now(UTC))
            for message, id_, (data, metadata) in zip(messages, ids, values, strict=True):
                contract.check_present(stream_name, message.type)
                _append(transaction, writer, stream_name, message.type, id_, data, metadata, now)
            writer.flush()
            return list(range(version + 1, version + 1 + len(messages)))

        return self._write(write)

    def get_stream_messages(
        self, stream_name: str, position: int | None = 0, batch_size: int | None = 1000, condition: str | None = None
    ) -> list[Message]:
        """See `Store.get_stream_messages`."""
        check_stream_read(stream_name, position, batch_size, condition)
        first, limit = first_position(position, 0), contract.limit_of(batch_size)

        def read(transaction: Transaction) -> list[Message]:
            found = layout.find_stream(transaction, stream_name)
            if found is None:
                return []
            entries = layout.entries(transaction, POSITIONS + found[0], first)
            return [_message(transaction, key) for _, key in islice(entries, limit)]

        return self._read(read)

    def get_category_messages(
        self,
        category: str,
        position: int | None = 1,
        batch_size: int | None = 1000,
        correlation: str | None = None,
        consumer_group_member: int | None = None,
        consumer_group_size: int | None = None,
        condition: str | None = None,
    ) -> list[Message]:
        """See `Store.get_category_messages`."""
        group = (consumer_group_member, consumer_group_size)
        check_category_read(category, position, batch_size, correlation, *group, condition)
        first, limit = first_position(position, 1), contract.limit_of(batch_size)
        correlated = layout.correlation_entry(correlation)

        def read(transaction: Transaction) -> list[Message]:
            number = layout.find_category(transaction, category)
            if number is None:
                return []
            entries = layout.entries(transaction, BY_CATEGORY + number, first)
            # what doesn't belong to the page is told by its entry: its message isn't touched
            if correlation is not None:
                entries = (entry for entry in entries if layout.is_correlated(entry[1], correlated))
            if consumer_group_member is not None and consumer_group_size is not None:
                member, size = consumer_group_member, consumer_group_size
                entries = (entry for entry in entries if layout.in_group(entry[1], member, size))
            return [_message(transaction, key) for key, _ in islice(entries, limit)]

        return self._read(read)

    def get_all_messages(self, position: int | None = 1, batch_size: int | None = 1000) -> list[Message]:
        """See `Store.get_all_messages`. One writer at a time commits in the order of positions: there are no gaps."""
        first, limit = first_position(position, 1), contract.limit_of(batch_size)

        def read(transaction: Transaction) -> list[Message]:
            pairs = islice(layout.entries(transaction, MESSAGES, first), limit)
            return [messages.message(messages.unpack(key, value)) for key, value in pairs]

        return self._read(read)

    def get_last_stream_message(self, stream_name: str, type: str | None = None) -> Message | None:
        """See `Store.get_last_stream_message`."""
        contract.check_names(stream_name, type)
        wanted = None if type is None else type.encode()

        def read(transaction: Transaction) -> Message | None:
            found = layout.find_stream(transaction, stream_name)
            if found is None:
                return None
            for key in layout.backwards(transaction, *found):
                value = layout.find_message(transaction, key)
                if wanted is None or messages.has_type(value, wanted):
                    return messages.message(messages.unpack(key, value))
            return None

        return self._read(read)

    def stream_version(self, stream_name: str) -> int | None:
        """See `Store.stream_version`."""
        contract.check_names(stream_name)
        found = self._read(lambda transaction: layout.find_stream(transaction, stream_name))
        return None if found is None else found[1]

    def list_streams(self, prefix: str = "", after: str | None = None, limit: int = 1000) -> list[StreamInfo]:
        """See `Store.list_streams`."""
        contract.check_names(prefix, after)
        prefix, size = prefix or "", contract.limit_of(limit)
        return self._read(lambda transaction: list(layout.list_streams(transaction, prefix, after, size)))

    def list_categories(self) -> list[CategoryInfo]:
        """See `Store.list_categories`."""
        return self._read(lambda transaction: list(layout.list_categories(transaction)))

    def last_position(self) -> int | None:
        """See `Store.last_position`."""
        return self._read(layout.last_position) or None

    def watermark(self) -> Watermark:
        """See `Store.watermark`."""
        return self._read(lambda transaction: Watermark(layout.last_position(transaction), recording.last(transaction)))

    def export(
        self, selection: Selection, watermark: Watermark | None = None, *, jobs: int = 1
    ) -> Iterator[ExportBlock]:
        """See `Store.export`."""
        if jobs > 1:
            self.require(Ability.PARALLEL_EXPORT)
        contract.check_names(*selection.texts)
        last = None if watermark is None else watermark.position

        def begin() -> tuple[Namespace, Iterator[ExportBlock]]:
            namespace = self._namespaces.get(self._namespace)
            return namespace, exporting.begin(self._open(), selection, last)

        namespace, blocks = self._retried(begin)
        with translated():
            try:
                yield from blocks
            except (NamespaceNotFound, NotMigrated) as error:
                # the environment is gone, with the namespace or because its messages have moved: the registry knows
                if self._namespaces.get(self._namespace) != namespace:
                    raise deleted() from error
                raise Moved from error

    def import_batch(self, records: Iterable[Record], plan: ImportPlan = _PLAN) -> ImportSummary:
        """See `Store.import_batch`."""
        begun = False

        def run(transaction: Transaction) -> ImportSummary:
            nonlocal begun
            begun = True
            return importing.import_batch(transaction, records, plan, lambda: self._namespaces.build(self._open()))

        def attempt() -> ImportSummary:
            return self._open().write(run, once=True, keep=not plan.dry_run)

        # what was begun can't be tried again, since records are read once
        summary = self._retried(attempt, unless=lambda: begun)
        # enters the folder to which they may have moved; who deletes the namespace meanwhile, deletes what was imported
        self._database = None
        with contextlib.suppress(NamespaceNotFound):
            self._read(lambda _: None)
        return summary

    def import_records(self, after: int = 0, fingerprint: str | None = None) -> list[ImportRecord]:
        """See `Store.import_records`."""
        contract.check_bigint(after)
        contract.check_names(fingerprint)
        return self._read(lambda transaction: list(recording.records(transaction, after, fingerprint)))

    def _read(self, action: Callable[[Transaction], _T]) -> _T:
        def read() -> _T:
            with self._open().reading() as transaction:
                return action(transaction)

        return self._retried(read)

    def _write(self, action: Callable[[Transaction], _T]) -> _T:
        return self._retried(lambda: self._open().write(action))

    def _retried(self, action: Callable[[], _T], unless: Callable[[], bool] = lambda: False) -> _T:
        gone: Path | None = None
        with translated():
            while True:
                # what the registry says of the namespace is final
                database = self._open()
                try:
                    return action()
                except (NamespaceNotFound, NotMigrated, Moved) as error:
                    # deleted since it was opened, and perhaps made anew, in another folder; or its messages have moved
                    self._database = None
                    if unless() or (not isinstance(error, Moved) and database.path == gone):
                        raise
                    gone = None if isinstance(error, Moved) else database.path

    def _open(self) -> Database:
        # without a lock, which a fork could leave locked for ever in the child; two may look it up, to the same end
        database = self._database
        if database is None:
            database = self._database = self._namespaces.database(self._namespace)
        return database


def _append(
    transaction: Transaction,
    writer: Writer,
    stream_name: str,
    type_: str,
    id_: str,
    data: str | None,
    metadata: str | None,
    time: str,
) -> None:
    """Writes a message at the end of its stream and of the namespace."""
    id_key = IDS + uuid.UUID(id_).bytes
    if transaction.get(id_key) is not None:
        raise MessageExists("a message with this id exists", constraint="id", hint="each message is written once")
    stream = writer.stream(stream_name)
    stream.version = contract.check_bigint(stream.version + 1)
    stream.category.messages += 1
    writer.arrivals += 1
    key = layout.number(contract.check_bigint(layout.last_used(transaction) + 1))
    value = messages.pack(
        writer.arrivals,
        id_,
        time,
        stream.name,
        type_.encode(),
        stream.version,
        b"" if data is None else data.encode(),
        b"" if metadata is None else metadata.encode(),
    )
    entry = layout.correlation_entry(contract.correlation_of(metadata))
    transaction.put(MESSAGES + key, value, append=True)
    transaction.put(id_key, key)
    transaction.put(stream.positions + layout.number(stream.version), key)
    transaction.put(stream.by_category + key, stream.hash + entry)


def _message(transaction: Transaction, key: bytes) -> Message:
    return messages.message(messages.unpack(key, layout.find_message(transaction, key)))
