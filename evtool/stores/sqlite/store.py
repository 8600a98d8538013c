"""A store in SQLite, with the contract of the stored procedures in Python and its queries in SQL."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from sqlite3 import Connection
from typing import Any, TypeVar

from evtool import contract, names, times
from evtool.errors import MessageExists, NamespaceNotFound
from evtool.imports import ImportPlan, ImportRecord, ImportSummary
from evtool.model import (
    CategoryInfo,
    ExportBlock,
    Message,
    NewMessage,
    Selection,
    StreamInfo,
    Watermark,
)
from evtool.ndjson import Record
from evtool.store import Ability
from evtool.stores.local import LocalStore, check_category_read, check_stream_read, first_position, json_checked
from evtool.stores.sqlite import exporting, importing
from evtool.stores.sqlite.database import Database
from evtool.stores.sqlite.namespaces import Namespaces
from evtool.stores.sqlite.translation import translated

_MESSAGE = "SELECT id, stream_name, type, position, global_position, data, metadata, time FROM messages"
_VERSION = "SELECT max(position) FROM messages WHERE stream_name = ?"
_INSERT = """
    INSERT INTO messages (global_position, id, stream_name, type, position, data, metadata, correlation, time)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_STREAM = f"{_MESSAGE} WHERE stream_name = ? AND position >= ? ORDER BY position LIMIT ?"
_CATEGORY = f"{_MESSAGE} WHERE category = ? AND global_position >= ?"
_ALL = f"{_MESSAGE} WHERE global_position >= ? ORDER BY global_position LIMIT ?"
_LAST = f"{_MESSAGE} WHERE stream_name = ? ORDER BY position DESC LIMIT 1"
_LAST_OF_TYPE = f"{_MESSAGE} WHERE stream_name = ? AND type = ? ORDER BY position DESC LIMIT 1"
_LAST_POSITION = "SELECT max(global_position) FROM messages"
_HAS_ID = "SELECT 1 FROM messages WHERE id = ?"

_COUNTED = "SELECT stream_name, count(*) FROM messages GROUP BY stream_name"

# Each step of the recursion is one descent in messages_stream: what it costs hangs on the streams listed, not on the
# messages that they have.
_STREAMS = """
    WITH RECURSIVE streams (stream_name) AS (
      SELECT min(stream_name) FROM messages WHERE stream_name >= :first AND stream_name > :after
      UNION ALL
      SELECT (SELECT min(m.stream_name) FROM messages m WHERE m.stream_name > s.stream_name)
      FROM streams s WHERE substr(s.stream_name, 1, length(:first)) = :first
    )
    SELECT s.stream_name, (SELECT max(m.position) FROM messages m WHERE m.stream_name = s.stream_name)
    FROM streams s WHERE substr(s.stream_name, 1, length(:first)) = :first
    LIMIT :limit
"""

_WATERMARK = (
    "SELECT coalesce((SELECT max(global_position) FROM messages), 0), (SELECT coalesce(max(number), 0) FROM imports)"
)
_SIZE = "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"
_IMPORTS = """
    SELECT number, imported_at, source, fingerprint, options, last_line, imported, skipped, first_position,
      last_position, replaced, complete
    FROM imports WHERE number > ? AND (? IS NULL OR fingerprint = ?) ORDER BY number
"""

_PLAN = ImportPlan()

_ANY_ROW = -1
"""SQLite's LIMIT for all."""

_T = TypeVar("_T")


class SQLiteStore(LocalStore):
    """A namespace of a SQLite store. See `Store` for what its methods do."""

    def __init__(
        self, folder: Path | None, namespace: str | None = None, *, namespaces: Namespaces | None = None
    ) -> None:
        """Opens nothing yet, except in memory, where the store is made at once.

        Args:
            folder: where the registry and the files of the namespaces are; None is memory.
            namespace: its name; None for EVTOOL_NAMESPACE, else message_store.
            namespaces: those of another store of the same folder, to be shared.
        """
        self._namespaces = namespaces or Namespaces(folder)
        super().__init__(self._namespaces, namespace)
        self._database: Database | None = None
        if folder is None and namespaces is None:
            self.migrate()

    def _translated(self) -> AbstractContextManager[None]:
        return translated()

    @property
    def kind(self) -> str:
        """SQLite."""
        return "sqlite"

    def _disk_size(self) -> int:
        return self._read(lambda c: int(c.execute(_SIZE).fetchone()[0]))

    def structure_version(self) -> str:
        """See `Store.structure_version`."""
        self._find()
        with translated():
            return f"{self._open().version():04}"

    def in_namespace(self, name: str) -> SQLiteStore:
        """A store of another namespace on the same files."""
        return SQLiteStore(self._namespaces.folder, name, namespaces=self._namespaces)

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

        def write(connection: Connection) -> list[int]:
            version: int | None = connection.execute(_VERSION, (stream_name,)).fetchone()[0]
            contract.check_expected_version(stream_name, expected_version, version)
            ids = [
                str(uuid.uuid4()) if message.id is None else contract.canonical_id(message.id) for message in messages
            ]
            first = 0 if version is None else version + 1
            last = connection.execute(importing.LAST_USED).fetchone()[0]
            # SQLite would not refuse positions beyond its integers, but take a free one below
            contract.check_bigints(first + len(messages) - 1, last + len(messages))
            now = times.render(datetime.now(UTC))
            for number, (message, id_, (data, metadata)) in enumerate(zip(messages, ids, values, strict=True)):
                contract.check_present(stream_name, message.type)
                if connection.execute(_HAS_ID, (id_,)).fetchone() is not None:
                    raise MessageExists(
                        "a message with this id exists", constraint="id", hint="each message is written once"
                    )
                correlation = contract.correlation_of(metadata)
                texts = (data, metadata, correlation, now)
                connection.execute(_INSERT, (last + 1 + number, id_, stream_name, message.type, first + number, *texts))
            return list(range(first, first + len(messages)))

        return self._write(write)

    def get_stream_messages(
        self, stream_name: str, position: int | None = 0, batch_size: int | None = 1000, condition: str | None = None
    ) -> list[Message]:
        """See `Store.get_stream_messages`."""
        check_stream_read(stream_name, position, batch_size, condition)
        return self._messages(_STREAM, stream_name, first_position(position, 0), _limit(batch_size))

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
        query = _CATEGORY
        values: list[Any] = [category, first_position(position, 1)]
        if correlation is not None:
            query += " AND correlation = ?"
            values.append(correlation)
        if consumer_group_member is not None:
            query += " AND in_consumer_group(stream_name, ?, ?)"
            values += group
        return self._messages(query + " ORDER BY global_position LIMIT ?", *values, _limit(batch_size))

    def get_all_messages(self, position: int | None = 1, batch_size: int | None = 1000) -> list[Message]:
        """See `Store.get_all_messages`. One writer at a time commits in the order of positions: there are no gaps."""
        return self._messages(_ALL, first_position(position, 1), _limit(batch_size))

    def get_last_stream_message(self, stream_name: str, type: str | None = None) -> Message | None:
        """See `Store.get_last_stream_message`."""
        contract.check_names(stream_name, type)
        if type is None:
            messages = self._messages(_LAST, stream_name)
        else:
            messages = self._messages(_LAST_OF_TYPE, stream_name, type)
        return messages[0] if messages else None

    def stream_version(self, stream_name: str) -> int | None:
        """See `Store.stream_version`."""
        contract.check_names(stream_name)
        version: int | None = self._read(lambda c: c.execute(_VERSION, (stream_name,)).fetchone()[0])
        return version

    def list_streams(self, prefix: str = "", after: str | None = None, limit: int = 1000) -> list[StreamInfo]:
        """See `Store.list_streams`."""
        contract.check_names(prefix, after)
        prefix, size = prefix or "", contract.limit_of(limit)
        values = {"first": prefix, "after": after or "", "limit": _ANY_ROW if size is None else size}
        # the name '' comes first of all, and nothing is before it that it could come after
        query = _STREAMS if after is not None else _STREAMS.replace("AND stream_name > :after", "")
        return self._read(lambda c: [StreamInfo(*row) for row in c.execute(query, values)])

    def list_categories(self) -> list[CategoryInfo]:
        """See `Store.list_categories`."""

        def count(connection: Connection) -> list[CategoryInfo]:
            # Streams come in the order of their names, in which a category's need not stand together: a, a+b-1, a-1.
            # So they are put together here, where SQLite would have to sort.
            found: dict[str, list[int]] = {}
            for stream_name, messages in connection.execute(_COUNTED):
                counts = found.setdefault(names.category(stream_name), [0, 0])
                counts[0] += 1
                counts[1] += messages
            return [CategoryInfo(name, *found[name]) for name in sorted(found, key=str.encode)]

        return self._read(count)

    def last_position(self) -> int | None:
        """See `Store.last_position`."""
        position: int | None = self._read(lambda c: c.execute(_LAST_POSITION).fetchone()[0])
        return position

    def watermark(self) -> Watermark:
        """See `Store.watermark`."""
        return self._read(lambda c: Watermark(*c.execute(_WATERMARK).fetchone()))

    def export(
        self, selection: Selection, watermark: Watermark | None = None, *, jobs: int = 1
    ) -> Iterator[ExportBlock]:
        """See `Store.export`."""
        if jobs > 1:
            self.require(Ability.PARALLEL_EXPORT)
        contract.check_names(*selection.texts)
        last = None if watermark is None else watermark.position
        self._find()
        with translated():
            yield from self._open().export(lambda connection: exporting.export(connection, selection, last))

    def import_batch(self, records: Iterable[Record], plan: ImportPlan = _PLAN) -> ImportSummary:
        """See `Store.import_batch`."""
        # the import itself can't be tried again, since records are read once
        self._find()
        with translated(), self._open().writing() as connection:
            return importing.import_batch(connection, records, plan)

    def import_records(self, after: int = 0, fingerprint: str | None = None) -> list[ImportRecord]:
        """See `Store.import_records`."""
        contract.check_bigint(after)
        contract.check_names(fingerprint)
        return self._read(lambda c: [_record(*row) for row in c.execute(_IMPORTS, (after, fingerprint, fingerprint))])

    def _messages(self, query: str, *values: Any) -> list[Message]:
        return self._read(lambda c: [_message(*row) for row in c.execute(query, values)])

    def _read(self, action: Callable[[Connection], _T]) -> _T:
        def read() -> _T:
            with self._open().reading() as connection:
                return action(connection)

        return self._retried(read)

    def _write(self, action: Callable[[Connection], _T]) -> _T:
        def write() -> _T:
            with self._open().writing() as connection:
                return action(connection)

        return self._retried(write)

    def _find(self) -> None:
        """Finds the namespace's database, anew if need be."""
        self._read(lambda _: None)

    def _retried(self, action: Callable[[], _T]) -> _T:
        with translated():
            try:
                return action()
            except NamespaceNotFound:
                # deleted since it was opened, and perhaps made anew
                self._database = None
                return action()

    def _open(self) -> Database:
        # without a lock, which a fork could leave locked for ever in the child; two may look it up, to the same end
        database = self._database
        if database is None:
            database = self._database = self._namespaces.database(self._namespace)
        return database


def _message(
    id_: str,
    stream_name: str,
    type_: str,
    position: int,
    global_position: int,
    data: str | None,
    metadata: str | None,
    time: str,
) -> Message:
    moment = datetime.fromisoformat(time)
    return Message(id_, stream_name, type_, position, global_position, data, metadata, moment)


def _record(number: int, imported_at: str, *row: Any) -> ImportRecord:
    return ImportRecord(number, datetime.fromisoformat(imported_at), *row[:-2], *map(bool, row[-2:]))


def _limit(batch_size: int | None) -> int:
    limit = contract.limit_of(batch_size)
    return _ANY_ROW if limit is None else limit
