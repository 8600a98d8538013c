"""What every store promises: one contract, whatever keeps the messages.

Names, arguments, defaults, the order of checks and the errors are Message DB's; what it lacks (`write_messages`,
`get_all_messages`, import and export, namespaces) is evtool's. A store is bound to one namespace.
"""

from __future__ import annotations

import abc
import contextlib
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, Self

from evtool import ndjson
from evtool.abilities import Ability
from evtool.administration import Administration
from evtool.errors import NotAble
from evtool.imports import ImportPlan, ImportRecord, ImportSummary
from evtool.model import (
    Breakdown,
    CategoryInfo,
    ExportBlock,
    Message,
    MigrationStep,
    Namespace,
    NamespaceState,
    NewMessage,
    Selection,
    Statistics,
    StreamInfo,
    Unit,
    Watermark,
)
from evtool.ndjson import Record

__all__ = ["Ability", "Store"]

_PLAN = ImportPlan()


class Store(abc.ABC):
    """Messages in streams, in one namespace of a database.

    Every method may raise StoreUnreachable, StoreTimeout, PermissionDenied, NotMigrated and NamespaceNotFound.
    Methods that write are one transaction each: done or not done. A store may be used by several threads.
    """

    @property
    @abc.abstractmethod
    def namespace(self) -> str:
        """The namespace that the messages are in."""

    @abc.abstractmethod
    def identity(self) -> str:
        """What tells the namespace from every other, and is the same however its database was addressed.

        It holds for as long as the database's server runs; nothing else is to be read from it.

        Raises:
            NamespaceNotFound: there is none of that name.
        """

    @property
    @abc.abstractmethod
    def kind(self) -> str:
        """What keeps the messages: postgresql, sqlite or lmdb. For people and for records, not to be asked in code."""

    @abc.abstractmethod
    def structure_version(self) -> str:
        """The version of the namespace's tables.

        Raises:
            NamespaceNotFound: there is none of that name.
        """

    @abc.abstractmethod
    def in_namespace(self, name: str) -> Store:
        """A store on the same database and connections, in another namespace. Close only the first."""

    @abc.abstractmethod
    def close(self) -> None:
        """Gives back all connections. The store can't be used afterwards."""

    def __enter__(self) -> Self:
        """Returns the store itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Closes the store."""
        self.close()

    @property
    def abilities(self) -> frozenset[Ability]:
        """What this store can do beyond the contract."""
        return frozenset()

    def require(self, ability: Ability) -> None:
        """Asks for an ability.

        Raises:
            NotAble: the store lacks it.
        """
        if ability not in self.abilities:
            raise NotAble(f"this store has no {ability.value}", hint="a PostgreSQL store does")

    def administration(self) -> Administration:
        """Fleets, roles and adoption, on this store's connections.

        Raises:
            NotAble: the store lacks Ability.ADMINISTRATION.
        """
        self.require(Ability.ADMINISTRATION)
        raise AssertionError("a store with this ability overrides this method")

    # Writing

    @abc.abstractmethod
    def write_message(
        self,
        id: str | None,
        stream_name: str,
        type: str,
        data: Any,
        metadata: Any = None,
        expected_version: int | None = None,
    ) -> int:
        """Writes a message at the end of a stream.

        Args:
            id: a UUID; None gets a new one.
            stream_name: the stream.
            type: the message's type.
            data: JSON text (str or bytes), or a value to be encoded; None is no data.
            metadata: likewise.
            expected_version: the stream's last position; -1 where there must be no stream; None for any.

        Returns:
            The message's position in the stream; the first is 0.

        Raises:
            WrongExpectedVersion: the stream is at another version.
            MessageExists: the id is taken.
            InvalidMessage: the id is no UUID, the JSON is none, or the type is missing.
        """

    @abc.abstractmethod
    def write_messages(
        self, stream_name: str, messages: Sequence[NewMessage], expected_version: int | None = None
    ) -> list[int]:
        """Writes a batch at the end of one stream, all or none.

        Args:
            stream_name: the stream.
            messages: in order; none is fine.
            expected_version: as for `write_message`, for the batch as a whole.

        Returns:
            Their positions in the stream, in order.

        Raises:
            WrongExpectedVersion, MessageExists, InvalidMessage: as for `write_message`.
        """

    # Reading

    @abc.abstractmethod
    def get_stream_messages(
        self, stream_name: str, position: int | None = 0, batch_size: int | None = 1000, condition: str | None = None
    ) -> list[Message]:
        """The messages of a stream from a position on, in order.

        Args:
            stream_name: the stream; it must have an id.
            position: the first position wanted.
            batch_size: how many at the most; -1 for all.
            condition: SQL over the columns of messages, where the store can and its settings allow it.

        Raises:
            NotAStream: the name is a category's.
            ConditionNotActivated: there is a condition and it isn't allowed.
            InvalidArgument: batch_size is below -1, or the condition is no SQL.
        """

    @abc.abstractmethod
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
        """The messages of a category from a global position on, in global order.

        Args:
            category: the category.
            position: the first global position wanted.
            batch_size: how many at the most; -1 for all.
            correlation: only messages whose metadata's correlationStreamName is of this category.
            consumer_group_member: from 0; only streams whose cardinal id hashes to this member.
            consumer_group_size: how many members there are.
            condition: as for `get_stream_messages`.

        Raises:
            NotACategory, InvalidCorrelation, InvalidConsumerGroup, ConditionNotActivated: checked in this order.
            InvalidArgument: batch_size is below -1, or the condition is no SQL.
        """

    @abc.abstractmethod
    def get_all_messages(self, position: int | None = 1, batch_size: int | None = 1000) -> list[Message]:
        """The messages of all streams from a global position on, in global order, gap-safe.

        What it returns is final: no message with a smaller global position can appear later. For that it waits for
        writers that are busy when it is called.

        Raises:
            StoreTimeout: they stay busy for too long.
            ServerUnsuitable: the server is a standby.
        """

    @abc.abstractmethod
    def get_last_stream_message(self, stream_name: str, type: str | None = None) -> Message | None:
        """The last message of a stream, or the last of a type in it; None where there is none."""

    @abc.abstractmethod
    def stream_version(self, stream_name: str) -> int | None:
        """The position of a stream's last message; None where there is no such stream."""

    @abc.abstractmethod
    def list_streams(self, prefix: str = "", after: str | None = None, limit: int = 1000) -> list[StreamInfo]:
        """Streams in the order of their names' bytes.

        Args:
            prefix: only streams whose name begins so.
            after: only streams behind this name; give the last one's to have the next page.
            limit: how many at the most; -1 for all.
        """

    @abc.abstractmethod
    def list_categories(self) -> list[CategoryInfo]:
        """All categories, in the order of their names' bytes."""

    @abc.abstractmethod
    def last_position(self) -> int | None:
        """The greatest global position of a message; None where there is no message."""

    def statistics(self) -> Statistics:
        """What the namespace holds, in numbers: what is committed now, whatever writers are busy with."""
        categories = self.list_categories()
        last_position = self.last_position()
        if last_position is None:
            return Statistics(0, 0, 0)
        first, last = (self._place(position, last_position) for position in (1, last_position))
        return Statistics(
            messages=sum(one.messages for one in categories),
            streams=sum(one.streams for one in categories),
            categories=len(categories),
            first_position=first[0] if first else None,
            last_position=last_position,
            first_time=first[1] if first else None,
            last_time=last[1] if last else None,
        )

    @abc.abstractmethod
    def breakdown(self, unit: Unit | None = None, longest: int = 10) -> Breakdown:
        """What the namespace holds, by category, type, stream and time, and what it takes; every message is looked at.

        Args:
            unit: the spans of time by which messages are counted; None takes one that suits.
            longest: how many of the longest streams are told.
        """

    def _place(self, start: int, end: int) -> tuple[int, datetime] | None:
        """The position and the time of the first message from a position to another; None where there is none."""
        # get_all_messages would wait for writers that don't matter here, and a standby would refuse it
        lines = self.export(Selection(from_position=start, to_position=end), Watermark(end, 0))
        with contextlib.closing(lines):  # type: ignore[type-var]
            for block in lines:
                # not by Python's JSON: data may hold a number that is too long for it
                [line] = ndjson.decode(block.lines[: block.lines.index(b"\n")])
                return line.gpos, datetime.fromisoformat(line.time)
        return None

    # Moving

    @abc.abstractmethod
    def watermark(self) -> Watermark:
        """Up to where the namespace is final, and the last import on record. Waits for writers that are busy.

        Raises:
            StoreTimeout: they stay busy for too long.
            ServerUnsuitable: the server is a standby.
        """

    @abc.abstractmethod
    def export(
        self, selection: Selection, watermark: Watermark | None = None, *, jobs: int = 1
    ) -> Iterator[ExportBlock]:
        """The lines of an export: one snapshot, one pass, in global order, gap-safe, each message once.

        Close the iterator if it isn't read to its end.

        Args:
            selection: which messages.
            watermark: an earlier one of this namespace, to go on with an export up to the same end; None takes it now.
            jobs: over how many connections it is read, at the most; the lines are the same.

        Raises:
            NotAble: more than one, and the store lacks Ability.PARALLEL_EXPORT.
        """

    @abc.abstractmethod
    def import_batch(self, records: Iterable[Record], plan: ImportPlan = _PLAN) -> ImportSummary:
        """Writes messages at the positions that they bring, all or none, moves the sequence above them, and records it.

        Args:
            records: checked by `ndjson.read`; the n-th is called line `plan.first_line + n - 1` in errors.
            plan: how.

        Raises:
            ImportRefused: POSITION_EXISTS, ID_EXISTS, STREAM_POSITION_EXISTS, or what the store finds in a value.
        """

    @abc.abstractmethod
    def import_records(self, after: int = 0, fingerprint: str | None = None) -> list[ImportRecord]:
        """The imports on record, in the order of their numbers.

        Args:
            after: only those with a greater number.
            fingerprint: only those of this file.
        """

    # Namespaces and migrations

    @abc.abstractmethod
    def list_namespaces(self) -> list[Namespace]:
        """All namespaces, by name."""

    @abc.abstractmethod
    def get_namespace(self, name: str) -> Namespace:
        """A namespace.

        Raises:
            NamespaceNotFound: there is none of that name.
        """

    @abc.abstractmethod
    def create_namespace(self, name: str, schema: str | None = None, *, like: str | None = None) -> Namespace:
        """Makes a namespace.

        Args:
            name: any text without control characters.
            schema: where it lives; None derives it from the name.
            like: a namespace with whose messages, at their positions, it begins; None begins it empty.

        Raises:
            NamespaceExists: there is one of that name.
            NamespaceNotFound: there is none to be like.
            NamespaceRefused: the name or the schema can't be used, with the reason.
        """

    @abc.abstractmethod
    def delete_namespace(self, name: str) -> None:
        """Removes a namespace and every message in it.

        Raises:
            NamespaceNotFound: there is none of that name.
        """

    @abc.abstractmethod
    def migrate(self) -> list[MigrationStep]:
        """Brings the registry and every namespace to what this version ships; a fresh database gets both.

        Raises:
            DatabaseTooNew: the registry, or a namespace, was migrated by a newer evtool.
            MigrationFailed: a step failed. Namespaces are migrated each for itself: the others are done nevertheless.
        """

    def migration_script(self) -> str:
        """The SQL that `migrate` would run, complete and runnable by psql.

        Raises:
            NotAble: the store lacks Ability.SQL_SCRIPTS.
        """
        self.require(Ability.SQL_SCRIPTS)
        raise AssertionError("a store with this ability overrides this method")

    @abc.abstractmethod
    def migration_status(self) -> list[NamespaceState]:
        """How the registry (first) and every namespace stand to what this version ships."""
