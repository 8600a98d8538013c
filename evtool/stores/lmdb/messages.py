"""A message as a value of an environment: a header of numbers, and all its texts one after the other."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from datetime import datetime

from evtool.model import Message
from evtool.ndjson import Raw
from evtool.stores.lmdb.layout import NUMBER, Stream, unnumber

# arrival, position, bytes of the stream's name, of the type and of data; 0 bytes of data is none, likewise of metadata
_HEADER = struct.Struct(">QQIII")
_TEXTS = _HEADER.size
# Behind the header, which these don't count: where the id ends and the time begins, and where the stream's name does.
_ID = 36
_STREAM = _ID + 27
_ID_TIME = struct.Struct(f"{_STREAM}s")

_NULL_BYTES = len(b"null")

# the same places in a value
_TIME = _TEXTS + _ID
_NAMES = _TEXTS + _STREAM

Row = tuple[str, str, str, int, int, str | None, str | None, str]
"""id, stream_name, type, position, global_position, data, metadata, time"""
Parts = tuple[bytes, bytes, bytes, int, int, bytes, bytes, bytes]
"""the same as bytes"""


def pack(
    arrival: int, id_: str, time: str, stream: bytes, type_: bytes, position: int, data: bytes, metadata: bytes
) -> bytes:
    """A message as a value. `arrival` says after how many others it was written, whatever its global position is."""
    header = _HEADER.pack(arrival, position, len(stream), len(type_), len(data))
    return b"".join((header, id_.encode(), time.encode(), stream, type_, data, metadata))


def pack_all(
    arrivals: Iterable[int],
    ids: Iterable[str],
    times: Iterable[str],
    streams: Iterable[Stream],
    types: Iterable[str],
    positions: Iterable[int],
    data: Iterable[Raw],
    metadata: Iterable[Raw],
) -> list[bytes]:
    """Many messages as values, from columns; JSON's null is no data, and no metadata."""
    header = _HEADER.pack
    return [
        b"".join(
            (
                header(arrival, position, len(name), len(type_), len(data_)),
                id_time, name, type_, data_, metadata_,
            )
        )
        for arrival, (id_time,), name, type_, position, data_, metadata_ in zip(
            arrivals,
            _ID_TIME.iter_unpack("".join(map(str.__add__, ids, times)).encode()),
            [stream.name for stream in streams],
            map(str.encode, types),
            positions,
            _without_null(data),
            _without_null(metadata),
            strict=True,
        )
    ]  # fmt: skip


def _without_null(column: Iterable[Raw]) -> list[Raw | bytes]:
    return [b"" if len(raw) == _NULL_BYTES and bytes(raw) == b"null" else raw for raw in column]


def unpack(global_position: bytes, value: bytes) -> Row:
    """A message from its key and its value."""
    _, position, stream, type_, data = _HEADER.unpack_from(value)
    texts = value[_TEXTS:].decode()
    stream += _STREAM
    type_ += stream
    data += type_
    if len(texts) == len(value) - _TEXTS:
        # as many characters as bytes, which is the rule: no need to decode each of them
        return (
            texts[:_ID],
            texts[_STREAM:stream],
            texts[stream:type_],
            position,
            unnumber(global_position),
            texts[type_:data] or None,
            texts[data:] or None,
            texts[_ID:_STREAM],
        )
    encoded = value[_TEXTS:]
    return (
        texts[:_ID],
        encoded[_STREAM:stream].decode(),
        encoded[stream:type_].decode(),
        position,
        unnumber(global_position),
        encoded[type_:data].decode() or None,
        encoded[data:].decode() or None,
        texts[_ID:_STREAM],
    )


def parts(global_position: bytes, value: bytes) -> Parts:
    """The same as it stands in a line of an export, but for the names, which may have to be quoted."""
    _, position, stream, type_, data = _HEADER.unpack_from(value)
    stream += _NAMES
    type_ += stream
    data += type_
    return (
        value[_TEXTS:_TIME],
        value[_NAMES:stream],
        value[stream:type_],
        position,
        unnumber(global_position),
        value[type_:data] or b"null",
        value[data:] or b"null",
        value[_TIME:_NAMES],
    )


def message(row: Row) -> Message:
    """A message as stores return it."""
    return Message(*row[:7], datetime.fromisoformat(row[7]))


def arrival_of(value: bytes) -> bytes:
    """When a message arrived, comparable."""
    return value[:NUMBER]


def time_of(value: bytes) -> bytes:
    """When a message was written, comparable."""
    return value[_TIME:_NAMES]


def stream_of(value: bytes) -> bytes:
    """The name of a message's stream."""
    return value[_NAMES : _NAMES + _HEADER.unpack_from(value)[2]]


def type_of(value: bytes) -> bytes:
    """A message's type."""
    _, _, stream, size, _ = _HEADER.unpack_from(value)
    start = _NAMES + stream
    return value[start : start + size]


def has_type(value: bytes, type_: bytes) -> bool:
    """Whether a message is of a type."""
    _, _, stream, size, _ = _HEADER.unpack_from(value)
    start = _NAMES + stream
    return size == len(type_) and value[start : start + size] == type_
