"""What an environment of a namespace holds. Numbers in keys are big-endian, so that their order is that of the bytes.

A key begins with a byte that says what it is:

    MESSAGES     + global position                      → the message, see messages.py
    IDS          + id (16 bytes)                        → global position
    POSITIONS    + stream's number + position           → global position
    BY_CATEGORY  + category's number + global position  → the hash that consumer groups divide, and the correlation
    STREAMS      + name                                 → the stream's number, its category's, its version, the hash
    CATEGORIES   + name                                 → the category's number, how many streams and messages it has

Names are trees, see naming.py; streams and categories have numbers so that no name makes a key too long. Messages come
last of all, so that a new one goes to the very end.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from evtool import contract, names
from evtool.model import CategoryInfo, StreamInfo
from evtool.stores.lmdb import naming
from evtool.stores.lmdb.environment import Transaction

CATEGORIES = b"\1"
STREAMS = b"\2"
BY_CATEGORY = b"\3"
POSITIONS = b"\4"
IDS = b"\5"
MESSAGES = b"\6"

NUMBER = 8
"""Bytes of a number in a key."""

NOBODY = b"\xff" * NUMBER
"""The hash of a stream without an id, which no consumer group has."""

NO_CORRELATION = b""
_CORRELATION = b"="
_HASH = NUMBER

_COUNTERS = b"\0counters"
_GREATEST = b"\0greatest"

_STREAM_ROW = struct.Struct(">8s8sQ8s")
_CATEGORY_ROW = struct.Struct(">8sQQ")
_COUNTER_ROW = struct.Struct(">QQ")


def number(value: int) -> bytes:
    """A number as a key."""
    return value.to_bytes(NUMBER, "big")


def unnumber(key: bytes) -> int:
    """A number of a key."""
    return int.from_bytes(key, "big")


def hash_of(stream_name: str) -> bytes:
    """What consumer groups divide, without its sign."""
    cardinal = names.cardinal_id(stream_name)
    return NOBODY if cardinal is None else number(abs(names.hash_64(cardinal)))


def in_group(entry: bytes, member: int, size: int) -> bool:
    """Whether an entry of by_category is a member's."""
    found = entry[:_HASH]
    return found != NOBODY and unnumber(found) % size == member


def correlation_entry(correlation: str | None) -> bytes:
    """What follows the hash in an entry of by_category: no correlation differs from an empty one."""
    return NO_CORRELATION if correlation is None else _CORRELATION + correlation.encode()


def is_correlated(entry: bytes, correlation: bytes) -> bool:
    """Whether an entry of by_category has what `correlation_entry` made."""
    return entry[_HASH:] == correlation


class Category:
    """A category that messages are written to."""

    __slots__ = ("messages", "name", "number", "streams")

    def __init__(self, name: bytes, number: bytes, streams: int = 0, messages: int = 0) -> None:
        self.name = name
        self.number = number
        self.streams = streams
        self.messages = messages


class Stream:
    """A stream that messages are written to; -1 is the version of a new one.

    Attributes:
        positions: what its keys under POSITIONS begin with.
        by_category: what those of its category begin with.
    """

    __slots__ = ("by_category", "category", "hash", "name", "number", "positions", "version")

    def __init__(self, name: bytes, number: bytes, category: Category, divided: bytes, version: int = -1) -> None:
        self.name = name
        self.number = number
        self.category = category
        self.hash = divided
        self.version = version
        self.positions = POSITIONS + number
        self.by_category = BY_CATEGORY + category.number


class Writer:
    """The streams and categories that a transaction writes to, in memory until `flush`."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction
        found = transaction.get(_COUNTERS)
        self.arrivals, self._numbers = (0, 0) if found is None else _COUNTER_ROW.unpack(found)
        self.streams: dict[str, Stream] = {}
        self._categories: dict[bytes, Category] = {}

    def use(self, transaction: Transaction) -> None:
        """Goes on in another transaction."""
        self._transaction = transaction

    def stream(self, name: str) -> Stream:
        """A stream by its name; a new one where there is none."""
        held = self.streams.get(name)
        if held is not None:
            return held
        encoded = name.encode()
        found = naming.find(self._transaction, STREAMS, encoded)
        category = self._category(names.category(name).encode())
        if found is None:
            category.streams += 1
            stream = Stream(encoded, self._new_number(), category, hash_of(name))
        else:
            own, _, version, divided = _STREAM_ROW.unpack(found)
            stream = Stream(encoded, own, category, divided, version)
        self.streams[name] = stream
        return stream

    def flush(self) -> None:
        """Writes all that is in memory, and forgets it."""
        put = self._transaction.put
        for stream in self.streams.values():
            key = naming.key_of(self._transaction, STREAMS, stream.name, self._new_number)
            row = _STREAM_ROW.pack(stream.number, stream.category.number, stream.version, stream.hash)
            put(key, row)
        for category in self._categories.values():
            key = naming.key_of(self._transaction, CATEGORIES, category.name, self._new_number)
            put(key, _CATEGORY_ROW.pack(category.number, category.streams, category.messages))
        self.streams.clear()
        self._categories.clear()
        self._transaction.put(_COUNTERS, _COUNTER_ROW.pack(self.arrivals, self._numbers))

    def _category(self, name: bytes) -> Category:
        held = self._categories.get(name)
        if held is None:
            found = naming.find(self._transaction, CATEGORIES, name)
            held = Category(name, self._new_number()) if found is None else Category(name, *_CATEGORY_ROW.unpack(found))
            self._categories[name] = held
        return held

    def _new_number(self) -> bytes:
        self._numbers += 1
        return number(self._numbers)


def copy_counters(source: Transaction, target: Transaction) -> None:
    """Lets an environment go on where another one stands: arrivals, numbers and positions don't mean something else."""
    found = source.get(_COUNTERS)
    if found is not None:
        target.put(_COUNTERS, found)
    target.put(_GREATEST, number(last_used(source)))


def arrivals(transaction: Transaction) -> bytes:
    """How many messages have arrived: the snapshot's last, comparable to `arrival_of`."""
    found = transaction.get(_COUNTERS)
    return bytes(NUMBER) if found is None else found[:NUMBER]


def find_stream(transaction: Transaction, name: str | None) -> tuple[bytes, int] | None:
    """A stream's number and its version, or None."""
    if name is None:
        return None
    found = naming.find(transaction, STREAMS, name.encode())
    if found is None:
        return None
    own, _, version, _ = _STREAM_ROW.unpack(found)
    return own, version


def find_category(transaction: Transaction, name: str | None) -> bytes | None:
    """A category's number, or None."""
    if name is None:
        return None
    found = naming.find(transaction, CATEGORIES, name.encode())
    return None if found is None else found[:NUMBER]


def last_position(transaction: Transaction) -> int:
    """The greatest global position; 0 where there are no messages."""
    cursor = transaction.cursor()
    return unnumber(cursor.key()[1:]) if cursor.last() and cursor.key()[:1] == MESSAGES else 0


def last_used(transaction: Transaction) -> int:
    """The greatest global position that there ever was, also of messages that were replaced; 0 where there was none."""
    found = transaction.get(_GREATEST)
    return max(last_position(transaction), 0 if found is None else unnumber(found))


def entries(transaction: Transaction, owner: bytes, first: int | None = None) -> Iterator[tuple[bytes, bytes]]:
    """What keys have behind `owner`, and values, in order, from a number on."""
    if first is not None and first > contract.MAX_BIGINT:
        return
    cursor = transaction.cursor()
    if not cursor.set_range(owner if first is None else owner + number(max(first, 0))):
        return
    size = len(owner)
    for key, value in cursor:
        if key[:size] != owner:
            return
        yield key[size:], value


def backwards(transaction: Transaction, stream: bytes, last: int) -> Iterator[bytes]:
    """The global positions of a stream, from its last position on backwards."""
    owner = POSITIONS + stream
    cursor = transaction.cursor()
    if not cursor.set_key(owner + number(last)):
        return
    for key, value in cursor.iterprev():
        if key[: len(owner)] != owner:
            return
        yield value


def find_message(transaction: Transaction, global_position: bytes) -> bytes:
    """A message that an index tells of."""
    found = transaction.get(MESSAGES + global_position)
    assert found is not None
    return found


def list_streams(transaction: Transaction, prefix: str, after: str | None, limit: int | None) -> Iterator[StreamInfo]:
    """Streams in the order of their names' bytes; see `Store.list_streams`."""
    first = prefix.encode()
    behind = None if after is None else after.encode()
    start = first if behind is None else max(first, behind)
    count = 0
    for name, row in naming.walk(transaction, STREAMS, start):
        if count == limit or not name.startswith(first):
            return
        if name != behind:
            yield StreamInfo(name.decode(), _STREAM_ROW.unpack(row)[2])
            count += 1


def list_categories(transaction: Transaction) -> Iterator[CategoryInfo]:
    """All categories, in the order of their names' bytes."""
    for name, row in naming.walk(transaction, CATEGORIES):
        yield CategoryInfo(name.decode(), *_CATEGORY_ROW.unpack(row)[1:])


def category_names(transaction: Transaction) -> list[str]:
    """The names of all categories, in the order of their bytes."""
    return [name.decode() for name, _ in naming.walk(transaction, CATEGORIES)]
