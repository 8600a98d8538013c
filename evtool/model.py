"""What stores hold and journeys carry: messages, namespaces, and the choice of messages to export."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from evtool.errors import EvtoolError, InvalidArgument, InvalidCorrelation, InvalidMessage, NotACategory
from evtool.names import CATEGORY_HINT, is_category

MAX_POSITION = 2**63 - 1
"""The greatest position: that of a bigint."""

ANY_VERSION = None
NO_STREAM = -1
"""The expected_version of a stream that must not exist yet."""


@dataclass(frozen=True, slots=True)
class Message:
    """A message as a store returns it: the fields of the SQL type `message`.

    Attributes:
        id: the UUID, lower case with hyphens.
        stream_name: the stream.
        type: the message's type.
        position: in the stream, from 0.
        global_position: in the namespace, from 1, with gaps.
        data: JSON text, or None. Text, so that no number loses a digit on its way.
        metadata: JSON text, or None.
        time: when it was written, UTC, to the microsecond.
    """

    id: str
    stream_name: str
    type: str
    position: int
    global_position: int
    data: str | None
    metadata: str | None
    time: datetime


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A message to be written with others by `write_messages`.

    Attributes:
        type: the message's type.
        data: JSON text (str or bytes), or a value to be encoded as JSON; None is no data.
        metadata: likewise.
        id: a UUID; None gets a new one.
    """

    type: str
    data: Any = None
    metadata: Any = None
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Namespace:
    """A namespace and where it lives.

    Attributes:
        name: as the user calls it.
        schema: the PostgreSQL schema that holds it.
        created_at: when it was made, UTC.
        notes: what the store had to say when it was made.
    """

    name: str
    schema: str
    created_at: datetime
    notes: tuple[str, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """A stream of a namespace.

    Attributes:
        stream_name: its name.
        version: the position of its last message.
    """

    stream_name: str
    version: int


@dataclass(frozen=True, slots=True)
class CategoryInfo:
    """A category of a namespace.

    Attributes:
        category: its name.
        streams: how many streams it has.
        messages: how many messages they have.
    """

    category: str
    streams: int
    messages: int


@dataclass(frozen=True, slots=True)
class Statistics:
    """What a namespace holds, in numbers.

    Attributes:
        messages: how many messages.
        streams: how many streams.
        categories: how many categories.
        first_position: the smallest global position; None where there are no messages, and so the others.
        last_position: the greatest.
        first_time: when the message at the first position was written, UTC.
        last_time: when the message at the last position was written, UTC.
    """

    messages: int
    streams: int
    categories: int
    first_position: int | None = None
    last_position: int | None = None
    first_time: datetime | None = None
    last_time: datetime | None = None


Unit = Literal["minute", "hour", "day", "month", "year"]
"""A span of time by which messages are counted, in UTC."""


@dataclass(frozen=True, slots=True)
class Count:
    """Messages that have something in common.

    Attributes:
        name: what: a category, a type, or the beginning of a span of time, as `2025-07-15T00:00:00Z`.
        messages: how many.
        bytes: of their data and metadata, as the store keeps them.
    """

    name: str
    messages: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Breakdown:
    """What a namespace holds, by what it is.

    Attributes:
        categories: the one with the most messages first.
        types: likewise.
        longest_streams: those with the greatest versions.
        unit: by which spans of time it was counted.
        spans: those that have messages, the earliest first.
        disk: how many bytes the namespace's messages take on disk, with indexes.
        indexes: how many of them the indexes; None where they can't be told apart.
    """

    categories: tuple[Count, ...]
    types: tuple[Count, ...]
    longest_streams: tuple[StreamInfo, ...]
    unit: Unit
    spans: tuple[Count, ...]
    disk: int
    indexes: int | None

    @property
    def bytes(self) -> int:
        """How many bytes all data and metadata take, as the store keeps them."""
        return sum(one.bytes for one in self.types)


@dataclass(frozen=True, slots=True)
class Selection:
    """Which messages to export. Empty fields don't restrict.

    All that are given must hold; of several categories, streams or types one is enough.

    Attributes:
        categories: names of categories; () is all messages.
        streams: names of streams.
        types: message types.
        correlation: the category of metadata's correlationStreamName.
        since: the first time wanted, inclusive, with a time zone.
        until: the end of the time wanted, exclusive, with a time zone.
        from_position: the first global position wanted, inclusive.
        to_position: the last global position wanted, inclusive.
    """

    categories: tuple[str, ...] = ()
    since: datetime | None = None
    until: datetime | None = None
    streams: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    correlation: str | None = None
    from_position: int | None = None
    to_position: int | None = None

    def __post_init__(self) -> None:
        """Refuses what could only be a mistake.

        Raises:
            NotACategory: a category holds a hyphen.
            InvalidCorrelation: the correlation does.
            InvalidArgument: a text in place of several, a time without a zone, `since` after `until`, a position that
                there can't be, or the first behind the last.
        """
        several: tuple[object, ...] = (self.categories, self.streams, self.types)
        if any(isinstance(names, str) for names in several):
            # its characters would be taken for names, and nothing be found
            raise InvalidArgument("categories, streams and types are several names", hint='write ("account",)')
        for category in self.categories:
            if not is_category(category):
                raise NotACategory(f"Must be a category: {category}", hint=CATEGORY_HINT)
        if self.correlation is not None and not is_category(self.correlation):
            raise InvalidCorrelation(
                f"Correlation must be a category (Correlation: {self.correlation})", hint=CATEGORY_HINT
            )
        for moment in (self.since, self.until):
            if moment is not None and moment.tzinfo is None:
                raise InvalidArgument("since and until need a time zone", hint="use datetime.now(UTC) or tzinfo=UTC")
        if self.since and self.until and self.since > self.until:
            raise InvalidArgument("since is after until", hint="since is the earlier of the two")
        for position in (self.from_position, self.to_position):
            if position is not None and not 0 <= position <= MAX_POSITION:
                raise InvalidArgument(
                    "a number is out of range", hint="global positions begin at 1 and are of the type bigint"
                )
        if self.from_position is not None and self.to_position is not None and self.from_position > self.to_position:
            raise InvalidArgument("from_position is behind to_position", hint="from_position is the smaller of the two")

    @property
    def texts(self) -> tuple[str, ...]:
        """All the names in it."""
        return (
            *self.categories,
            *self.streams,
            *self.types,
            *(() if self.correlation is None else (self.correlation,)),
        )


@dataclass(frozen=True, slots=True)
class Watermark:
    """Up to where a namespace is final.

    Attributes:
        position: everything at or below it is committed now or never will be; 0 where there is nothing.
        imports: the number of the last import on record; 0 where there is none. What an import with a greater number
            placed at or below `position` came later.
    """

    position: int
    imports: int


@dataclass(frozen=True, slots=True)
class ExportBlock:
    """Some whole lines of an export, in global order.

    Attributes:
        lines: NDJSON, ending in a newline.
        count: how many lines.
        last_position: the global position of the last.
    """

    lines: bytes
    count: int
    last_position: int


@dataclass(frozen=True, slots=True)
class NamespaceState:
    """How a namespace, or the registry, stands to what this version ships.

    Attributes:
        name: the namespace; None for the registry, and for the schemas of bulk imports and jobs.
        schema: its schema.
        structure: the version of its tables; None where there are none.
        pending: the versions of structure still to come, in order.
        functions: "current", "outdated" (installed by another version), "changed" (by hand), or "missing".
        roles: whether its group roles exist.
        note: what stands in the way, if anything.
    """

    name: str | None
    schema: str
    structure: str | None
    pending: tuple[str, ...] = field(default=())
    functions: str = "missing"
    roles: bool = True
    note: str | None = None

    @property
    def current(self) -> bool:
        """Whether there is nothing to do."""
        return not self.pending and self.functions == "current" and self.structure is not None


@dataclass(frozen=True, slots=True)
class MigrationStep:
    """One thing that a migration did.

    Attributes:
        name: the namespace; None for the registry, and for the schemas of bulk imports and jobs.
        schema: its schema.
        action: "created", "upgraded", "functions replaced", "roles granted", "current", "left alone", "failed", or
            "not tried" where a canary failed or the server went away before.
        structure: the version of its tables now.
        notes: what the server or evtool had to say.
        seconds: how long it took.
        error: why it failed.
    """

    name: str | None
    schema: str
    action: str
    structure: str | None
    notes: tuple[str, ...] = ()
    seconds: float = field(default=0.0, compare=False)
    error: EvtoolError | None = None


@dataclass(frozen=True, slots=True)
class MigrationPlan:
    """Which namespaces are migrated, and how.

    Attributes:
        namespaces: only these; none is all.
        jobs: how many at the same time, on a connection each.
        canary: that many that have something to do go first, one by one; if one fails, the others are not tried.
    """

    namespaces: tuple[str, ...] = ()
    jobs: int = 1
    canary: int = 0


def json_text(value: Any) -> str | None:
    """A value of `data` or `metadata` as JSON text.

    Args:
        value: str and bytes are taken as JSON text already; None is none; anything else is encoded.

    Returns:
        JSON text, or None for None.

    Raises:
        InvalidMessage: the value has no JSON (NaN, an object of some class, bytes that are not UTF-8).
    """
    if value is None or isinstance(value, str):
        return value
    try:
        if isinstance(value, bytes | bytearray | memoryview):
            return bytes(value).decode()
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError) as error:
        raise InvalidMessage(
            f"this value can't be written as JSON: {type(value).__name__}",
            hint="give JSON text, or dict, list, str, int, float, bool",
        ) from error
