"""SQLite's and LMDB's bare drivers doing what our stores do: the same rows, keys and values, and none of the checks.

They take rows that lie ready in memory, as tuples of Python values; what the driver can't take itself, such as LMDB's
keys, is made of them in the simplest way.
"""

from __future__ import annotations

import sqlite3
import struct
import uuid
from collections.abc import Iterable, Iterator
from hashlib import md5
from itertools import pairwise
from pathlib import Path
from typing import Any

import lmdb

from evtool import sqltext

# global_position, position, time, stream_name, type, data, metadata, id, correlation
Row = tuple[int, int, str, str, str, str | None, str | None, str, str | None]

NOW = "2025-07-15T10:00:00.000000Z"
_CHUNK = 10_000


class BareSQLite:
    """sqlite3 alone, on a file with our tables and settings."""

    _INSERT = """
        INSERT INTO messages (global_position, position, time, stream_name, type, data, metadata, id, correlation)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
    """
    _SELECT = "SELECT id, stream_name, type, position, global_position, data, metadata, time FROM messages"

    def __init__(self, path: Path) -> None:
        """Opens the file, new or as our store left it."""
        self.connection = sqlite3.connect(path, isolation_level=None)
        self.connection.execute("PRAGMA journal_mode = WAL")
        self.connection.execute("PRAGMA synchronous = NORMAL")
        self.connection.execute("PRAGMA cache_size = -32768")
        if self.connection.execute("PRAGMA user_version").fetchone()[0] == 0:
            self.connection.executescript(sqltext.read("sqlite/namespace_0001.sql"))
            self.connection.execute("PRAGMA user_version = 1")

    def load(self, rows: list[Row]) -> None:
        """Inserts rows in one transaction."""
        self.connection.execute("BEGIN IMMEDIATE")
        self.connection.executemany(self._INSERT, rows)
        self.connection.execute("COMMIT")

    def write(self, stream: str, data: list[str]) -> None:
        """Writes messages at the end of a stream."""
        execute = self.connection.execute
        execute("BEGIN IMMEDIATE")
        version = execute("SELECT max(position) FROM messages WHERE stream_name = ?", (stream,)).fetchone()[0]
        last = execute("SELECT max(global_position) FROM messages").fetchone()[0] or 0
        first = 0 if version is None else version + 1
        for n, text in enumerate(data):
            row = (last + 1 + n, first + n, NOW, stream, "Deposited", text, None, str(uuid.uuid4()), None)
            execute(self._INSERT, row)
        execute("COMMIT")

    def stream(self, name: str, limit: int) -> list[Any]:
        """The first messages of a stream."""
        query = f"{self._SELECT} WHERE stream_name = ? AND position >= 0 ORDER BY position LIMIT ?"
        return self.connection.execute(query, (name, limit)).fetchall()

    def category(self, name: str, limit: int) -> list[Any]:
        """The first messages of a category."""
        query = f"{self._SELECT} WHERE category = ? AND global_position >= 1 ORDER BY global_position LIMIT ?"
        return self.connection.execute(query, (name, limit)).fetchall()

    def all(self) -> Iterator[Any]:
        """All messages, in global order."""
        return self.connection.execute(f"{self._SELECT} ORDER BY global_position")

    def close(self) -> None:
        """Closes it."""
        self.connection.close()


_CATEGORIES, _STREAMS, _BY_CATEGORY, _POSITIONS, _IDS, _MESSAGES = (bytes([kind]) for kind in range(1, 7))
_NUMBER = struct.Struct(">Q")
_HEADER = struct.Struct(">QQIII")
_STREAM_ROW = struct.Struct(">8s8sQ8s")
_CATEGORY_ROW = struct.Struct(">8sQQ")
_COUNTERS = b"\0counters"
_ROOT = bytes(8)
_ID = 36
_TIME = len(NOW)


class BareLMDB:
    """lmdb alone, with our keys and values."""

    def __init__(self, path: Path) -> None:
        """Opens an environment, new or as our store left it."""
        self.environment = lmdb.open(str(path), map_size=1 << 34)

    def load(self, rows: list[Row]) -> None:
        """Makes pairs of rows and puts them, some at a time, in one transaction."""
        streams: dict[str, list[Any]] = {}
        categories: dict[str, list[Any]] = {}
        with self.environment.begin(write=True) as transaction:
            cursor = transaction.cursor()
            for start in range(0, len(rows), _CHUNK):
                messages, others = [], []
                for arrival, row in enumerate(rows[start : start + _CHUNK], start + 1):
                    gpos, pos, time, name, type_, data, metadata, id_, correlation = row
                    stream = streams.get(name)
                    if stream is None:
                        stream = streams[name] = _new_stream(name, len(streams) + 1, categories)
                    stream[2] = max(stream[2], pos)
                    stream[4][2] += 1
                    key = _NUMBER.pack(gpos)
                    messages.append((_MESSAGES + key, _value(arrival, id_, time, name, type_, pos, data, metadata)))
                    others += (
                        (_IDS + bytes.fromhex(id_.replace("-", "")), key),
                        (_POSITIONS + stream[0] + _NUMBER.pack(pos), key),
                        (
                            _BY_CATEGORY + stream[1] + key,
                            stream[3] if correlation is None else stream[3] + b"=" + correlation.encode(),
                        ),
                    )
                others.sort()
                cursor.putmulti(messages, append=True)
                cursor.putmulti(others)
            names = [(_STREAMS + _ROOT + name.encode(), _STREAM_ROW.pack(*row[:4])) for name, row in streams.items()]
            cursor.putmulti(sorted(names))
            for name, row in categories.items():
                transaction.put(_CATEGORIES + _ROOT + name.encode(), _CATEGORY_ROW.pack(*row))

    def load_pairs(self, pairs: list[tuple[bytes, bytes]]) -> None:
        """Puts pairs that lie ready and sorted, which is the least that can be done."""
        with self.environment.begin(write=True) as transaction:
            transaction.cursor().putmulti(pairs, append=True)

    def pairs(self) -> list[tuple[bytes, bytes]]:
        """All pairs, sorted."""
        with self.environment.begin() as transaction:
            return [(bytes(key), bytes(value)) for key, value in transaction.cursor()]

    def write(self, stream: str, data: list[str]) -> None:
        """Writes messages at the end of a stream."""
        with self.environment.begin(write=True) as transaction:
            get, put = transaction.get, transaction.put
            arrivals, numbers = struct.unpack(">QQ", get(_COUNTERS) or bytes(16))
            category_key = _CATEGORIES + _ROOT + stream.split("-", 1)[0].encode()
            stream_key = _STREAMS + _ROOT + stream.encode()
            found, category = get(stream_key), get(category_key)
            number, streams, messages = (
                (_NUMBER.pack(numbers + 1), 0, 0) if category is None else _CATEGORY_ROW.unpack(category)
            )
            if found is None:
                own, version, divided = _NUMBER.pack(numbers + 2), -1, _hash(stream)
                numbers, streams = numbers + 2, streams + 1
            else:
                own, number, version, divided = _STREAM_ROW.unpack(found)
            cursor = transaction.cursor()
            last = _NUMBER.unpack(cursor.key()[1:])[0] if cursor.last() and cursor.key()[:1] == _MESSAGES else 0
            for n, text in enumerate(data, 1):
                id_ = str(uuid.uuid4())
                key = _NUMBER.pack(last + n)
                value = _value(arrivals + n, id_, NOW, stream, "Deposited", version + n, text, None)
                put(_MESSAGES + key, value, append=True)
                put(_IDS + bytes.fromhex(id_.replace("-", "")), key)
                put(_POSITIONS + own + _NUMBER.pack(version + n), key)
                put(_BY_CATEGORY + number + key, divided)
            put(stream_key, _STREAM_ROW.pack(own, number, version + len(data), divided))
            put(category_key, _CATEGORY_ROW.pack(number, streams, messages + len(data)))
            put(_COUNTERS, struct.pack(">QQ", arrivals + len(data), numbers))

    def stream(self, name: str, limit: int) -> list[Any]:
        """The first messages of a stream."""
        with self.environment.begin() as transaction:
            found = transaction.get(_STREAMS + _ROOT + name.encode())
            owner = _POSITIONS + found[:8]
            cursor = transaction.cursor()
            cursor.set_range(owner)
            keys = []
            for key, value in cursor:
                if len(keys) == limit or not key.startswith(owner):
                    break
                keys.append(value)
            return [_row(key, transaction.get(_MESSAGES + key)) for key in keys]

    def category(self, name: str, limit: int) -> list[Any]:
        """The first messages of a category."""
        with self.environment.begin() as transaction:
            found = transaction.get(_CATEGORIES + _ROOT + name.encode())
            owner = _BY_CATEGORY + found[:8]
            cursor = transaction.cursor()
            cursor.set_range(owner)
            keys = []
            for key in cursor.iternext(keys=True, values=False):
                if len(keys) == limit or not key.startswith(owner):
                    break
                keys.append(key[9:])
            return [_row(key, transaction.get(_MESSAGES + key)) for key in keys]

    def all(self) -> Iterator[Any]:
        """All messages, in global order."""
        with self.environment.begin() as transaction:
            cursor = transaction.cursor()
            cursor.set_range(_MESSAGES)
            for key, value in cursor:
                yield _row(key[1:], value)

    def close(self) -> None:
        """Closes it."""
        self.environment.close()


def _new_stream(name: str, number: int, categories: dict[str, list[Any]]) -> list[Any]:
    text = name.split("-", 1)[0]
    category = categories.get(text)
    if category is None:
        category = categories[text] = [_NUMBER.pack(1 << 32 | len(categories)), 0, 0]
    category[1] += 1
    return [_NUMBER.pack(number), category[0], -1, _hash(name), category]


def _hash(name: str) -> bytes:
    _, hyphen, rest = name.partition("-")
    if not hyphen:
        return b"\xff" * 8
    digest = md5(rest.split("+", 1)[0].encode(), usedforsecurity=False).digest()
    return _NUMBER.pack(abs(int.from_bytes(digest[:8], "big", signed=True)))


def _value(
    arrival: int, id_: str, time: str, stream: str, type_: str, position: int, data: str | None, metadata: str | None
) -> bytes:
    name, kind, text = stream.encode(), type_.encode(), b"" if data is None else data.encode()
    header = _HEADER.pack(arrival, position, len(name), len(kind), len(text))
    return b"".join(
        (header, id_.encode(), time.encode(), name, kind, text, b"" if metadata is None else metadata.encode())
    )


def _row(key: bytes, value: bytes) -> tuple[Any, ...]:
    _, position, stream, type_, data = _HEADER.unpack_from(value)
    ends: list[int] = []
    for size in (_HEADER.size, _ID, _TIME, stream, type_, data):
        ends.append(size + (ends[-1] if ends else 0))
    id_, time, name, kind, text = (value[a:b].decode() for a, b in pairwise(ends))
    return (id_, name, kind, position, _NUMBER.unpack(key)[0], text or None, value[ends[-1] :].decode() or None, time)


def rows_of(records: Iterable[Any], correlation_of: Any) -> list[Row]:
    """Records as rows that lie ready."""
    rows = []
    for record in records:
        data, metadata = (None if raw == b"null" else raw.decode() for raw in (bytes(record.data), bytes(record.meta)))
        id_, correlation = record.id.lower(), correlation_of(metadata)
        rows.append(
            (record.gpos, record.pos, record.time, record.stream, record.type, data, metadata, id_, correlation)
        )
    return rows
