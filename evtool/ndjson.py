"""The lines of an export file: fields `id stream type pos gpos data meta time`, one message a line.

Reading is strict, because what it lets through is written to a store: every field must be there and no other,
and each of its type. The parser is msgspec, typed, which leaves `data` and `meta` as the bytes they are.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, Protocol

import msgspec

from evtool import json_values, times
from evtool.errors import ImportRefused
from evtool.model import MAX_POSITION, Message, NewMessage

BLOCK_BYTES = 1 << 18
# Lines that are read together. The server must not run out of rows meanwhile: a socket holds about three times as much.
_LINES_BYTES = 1 << 16
MAX_LINE_BYTES = 1 << 28
"""256 MiB: jsonb takes no longer value, so no longer line can be a message."""

Raw = msgspec.Raw
"""JSON as it stands in a line: bytes by its buffer."""

_SHOWN_CHARACTERS = 80
_UUID = re.compile(r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}")
_PLAIN = re.compile(r'[^\x00-\x1f"\\]*')
_BOM = b"\xef\xbb\xbf"


class Record(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A line of an export file. `data` and `meta` are JSON as it stands in the line."""

    id: str
    stream: str
    type: str
    pos: int
    gpos: int
    data: msgspec.Raw
    meta: msgspec.Raw
    time: str


class CheckedRecord(Record, forbid_unknown_fields=True, gc=False):
    """A record that `read` has made: its JSON is such that every store takes it."""


class Readable(Protocol):
    """Anything that hands out bytes, such as a file opened in binary mode."""

    def read(self, size: int = -1, /) -> bytes:
        """Up to `size` bytes; b"" at the end."""
        ...


_decoder = msgspec.json.Decoder(CheckedRecord)
_unchecked = msgspec.json.Decoder(Record)

_FIELDS = ("id", "stream", "type", "pos", "gpos", "data", "meta", "time")
_COMPACT = len('{"id":"","stream":"","type":"","pos":,"gpos":,"data":,"meta":,"time":""}') + 36

_HEX_AS_ZERO = bytes.maketrans(b"0123456789abcdefABCDEF", b"0" * 22)
_UUID_SHAPE = b"00000000-0000-0000-0000-000000000000"


def read(stream: Readable) -> Iterator[Record]:
    """The records of an export file, in order, each checked.

    Record n is line n of the file: empty lines are taken only at its end.

    Args:
        stream: NDJSON, not compressed. A byte-order mark and CRLF are taken; the last newline may be missing.

    Yields:
        Records with `time` in canonical form.

    Raises:
        ImportRefused: INVALID_JSON, INVALID_RECORD or INVALID_TIME, with the line.
    """
    return chain.from_iterable(read_blocks(stream))


def read_blocks(stream: Readable) -> Iterator[Sequence[Record]]:
    """As `read`, some records at a time: what stands before a faulty line comes before the error."""
    before = blank = 0
    for lines in _numbered(_blocks(stream)):
        records = None if blank else _read_together(lines)
        if records is None:
            # one of them is not as evtool writes it: line by line, to tell which, and what is wrong with it if anything
            records = []
            try:
                for number, line in enumerate(lines, before + 1):
                    record = _read_line(line.removesuffix(b"\n"), number, blank)
                    if record is None:
                        blank = blank or number
                    else:
                        records.append(record)
            except ImportRefused:
                yield records
                raise
        yield records
        before += len(lines)


def _read_together(lines: list[bytes]) -> list[CheckedRecord] | None:
    """The records of lines if they are certainly all right, which nearly all are; None if one perhaps isn't.

    Each check is made once for all lines, which is several times as fast as line by line.
    """
    try:
        # of what stands outside of data and meta, this finds bytes that are not UTF-8, and half of a surrogate pair
        records = list(map(_decoder.decode, lines))
        ids = [record.id for record in records]
        names = "".join([record.stream for record in records] + [record.type for record in records])
        positions = [record.pos for record in records]
        global_positions = [record.gpos for record in records]
        values = [record.data for record in records] + [record.meta for record in records]
        moments = [record.time for record in records]
        certain = (
            "\0" not in names
            and json_values.are_harmless(values)
            and set(map(len, ids)) == {len(_UUID_SHAPE)}
            and "".join(ids).encode().translate(_HEX_AS_ZERO) == _UUID_SHAPE * len(ids)
            and 0 <= min(positions) <= max(positions) <= MAX_POSITION
            and 1 <= min(global_positions) <= max(global_positions) < MAX_POSITION
        )
        if not certain:
            return None
        fields = len(records) * _COMPACT + len(names.encode()) + sum(map(len, moments)) + sum(map(len, values))
        fields += _digits(positions) + _digits(global_positions)
        # only the last line of a file has no newline
        if fields + len(lines) - (not lines[-1].endswith(b"\n")) != sum(map(len, lines)):
            for line in lines:
                _check_once(line, 0)
        if not times.are_canonical(moments):
            for record in records:
                record.time = times.canonical(record.time)
    except (ValueError, RecursionError, ImportRefused):
        return None
    return records


def _digits(numbers: list[int]) -> int:
    """How many characters some numbers have: as a list prints them, without the brackets and what is between them."""
    return len(str(numbers)) - 2 * len(numbers)


def _read_line(line: bytes, number: int, blank: int) -> CheckedRecord | None:
    """The record of a line; None if it is empty. `blank` is the number of an empty line before it, or 0."""
    try:
        record = _decoder.decode(line)
    except (ValueError, RecursionError) as error:
        if not line.strip():
            return None
        if not blank:
            raise _refusal(line, number, error) from error
    if blank:
        # something stands behind an empty line, so that was not just the end of the file
        hint = "remove empty lines between messages"
        raise ImportRefused("INVALID_JSON", "the line is empty", line=blank, hint=hint)
    if not _UUID.fullmatch(record.id):
        raise _invalid("id is not a UUID", number, record.id)
    if not 0 <= record.pos <= MAX_POSITION:
        raise _invalid("pos is below 0 or beyond a bigint", number, record.pos)
    if not 1 <= record.gpos < MAX_POSITION:
        # the greatest bigint would leave no position for the next message
        raise _invalid("gpos is below 1 or beyond a bigint", number, record.gpos)
    if "\0" in record.stream or "\0" in record.type:
        raise _invalid("stream and type can't hold the character NUL", number)
    _check_text(line, record, number)
    _check_once(line, number)
    try:
        record.time = times.canonical(record.time)
    except ValueError as error:
        raise ImportRefused(
            "INVALID_TIME",
            str(error),
            line=number,
            value=_shown(record.time),
            hint="times are RFC 3339 with a zone, to the microsecond",
        ) from error
    return record


def decode(lines: bytes) -> list[Record]:
    """The records of lines that a store has exported, and that are therefore not checked again.

    Raises:
        ValueError, RecursionError: a line is none.
    """
    return _unchecked.decode_lines(lines)


def first_position(lines: bytes) -> int:
    """The global position in the first of some lines that a store has exported, whatever JSON it holds."""
    # in the names before it, a quote has a backslash
    return int(lines.partition(b',"gpos":')[2].partition(b",")[0])


def _numbered(blocks: Iterator[list[bytes]]) -> Iterator[list[bytes]]:
    """The same blocks; where the stream breaks off, the error says in which line, counted from 1."""
    number = 0
    try:
        for lines in blocks:
            yield lines
            number += len(lines)
    except ImportRefused as error:
        error.line = number + 1
        raise


def _blocks(stream: Readable) -> Iterator[list[bytes]]:
    """Some lines at a time, of any length, with their newline; in constant memory if that is sane."""
    parts: list[bytes] = []
    held = 0
    first = True
    while block := stream.read(_LINES_BYTES):
        if first:
            block = block.removeprefix(_BOM)
            first = False
        # several times as fast as split
        lines = io.BytesIO(block).readlines()
        rest = b"" if not lines or block.endswith(b"\n") else lines.pop()
        if lines:
            lines[0] = b"".join([*parts, lines[0]])
            yield lines
            parts = []
            held = 0
        parts.append(rest)
        held += len(rest)
        if held > MAX_LINE_BYTES:
            # too long for any store: what is held of it is enough to be refused as such
            break
    last = b"".join(parts)
    if last:
        yield [last]


def _refusal(line: bytes, number: int, error: Exception, fields: str = ", ".join(_FIELDS)) -> ImportRefused:
    """Why msgspec did not take a line. Its messages name fields and bytes, never values."""
    if len(line) > MAX_LINE_BYTES:
        return ImportRefused("INVALID_RECORD", f"the line is longer than {MAX_LINE_BYTES} bytes", line=number)
    if isinstance(error, RecursionError):
        return ImportRefused("INVALID_JSON", "the JSON is nested too deeply", line=number)
    if isinstance(error, UnicodeDecodeError):
        return ImportRefused("INVALID_JSON", "the line is not valid UTF-8", line=number)
    if isinstance(error, msgspec.ValidationError) and _is_json(line):
        return ImportRefused(
            "INVALID_RECORD",
            str(error),
            line=number,
            hint=f"a line has exactly the fields {fields}",
        )
    return ImportRefused("INVALID_JSON", str(error), line=number, hint="each line is one JSON object")


def _is_json(line: bytes) -> bool:
    # msgspec tells of a wrong type before it has seen the end of the line
    try:
        msgspec.json.decode(line)
    except (ValueError, RecursionError):
        return False
    return True


def _invalid(message: str, number: int, value: Any = None) -> ImportRefused:
    return ImportRefused("INVALID_RECORD", message, line=number, value=_shown(value))


def _shown(value: Any) -> Any:
    if isinstance(value, str) and len(value) > _SHOWN_CHARACTERS:
        return value[:_SHOWN_CHARACTERS] + "…"
    return value


def _check_text(line: bytes, record: Record, number: int) -> None:
    """Refuses what jsonb refuses and msgspec doesn't look for: bad UTF-8, and what `json_values.problem` finds."""
    try:
        line.decode()
    except UnicodeDecodeError as error:
        raise ImportRefused("INVALID_JSON", "the line is not valid UTF-8", line=number) from error
    for name, raw in (("data", record.data), ("meta", record.meta)):
        found = json_values.problem(bytes(raw))
        if found is not None:
            raise ImportRefused("INVALID_JSON", f"{name} {found}", line=number)


def _check_once(line: bytes, number: int) -> None:
    """Refuses a field that is there twice. msgspec takes the last; which position was meant can't be known."""
    if b"\\" not in line and all(line.count(b'"%b"' % name.encode()) == 1 for name in _FIELDS):
        return
    objects: list[list[str]] = []

    def keep(pairs: list[tuple[str, Any]]) -> None:
        # called for each object from the inside out, so that the line itself comes last
        objects[:] = [[name for name, _ in pairs]]

    json.loads(line, object_pairs_hook=keep, parse_int=str, parse_float=str)
    for name in _FIELDS:
        if objects[0].count(name) > 1:
            raise ImportRefused("INVALID_RECORD", f"the field {name} is there twice", line=number)


def render(message: Message) -> str:
    """A message as a line of an export file, without the newline."""
    return (
        f'{{"id":"{message.id}","stream":{quoted(message.stream_name)},"type":{quoted(message.type)},'
        f'"pos":{message.position},"gpos":{message.global_position},'
        f'"data":{"null" if message.data is None else message.data},'
        f'"meta":{"null" if message.metadata is None else message.metadata},'
        f'"time":"{times.render(message.time)}"}}'
    )


def line(
    id_: str,
    stream: str,
    type_: str,
    position: int,
    global_position: int,
    data: str | None,
    metadata: str | None,
    time: str,
) -> str:
    """A message as a line of an export file, with the newline, from texts: `time` is canonical already."""
    stream = f'"{stream}"' if _PLAIN.fullmatch(stream) else quoted(stream)
    type_ = f'"{type_}"' if _PLAIN.fullmatch(type_) else quoted(type_)
    return (
        f'{{"id":"{id_}","stream":{stream},"type":{type_},"pos":{position},"gpos":{global_position},'
        f'"data":{"null" if data is None else data},"meta":{"null" if metadata is None else metadata},'
        f'"time":"{time}"}}\n'
    )


def quoted(text: str) -> str:
    """A string in JSON, Unicode as it is, as short as can be."""
    return json.dumps(text, ensure_ascii=False)


class _NewRecord(msgspec.Struct, forbid_unknown_fields=True):
    """A line of a batch to be written."""

    type: str
    data: msgspec.Raw = msgspec.Raw(b"null")
    metadata: msgspec.Raw = msgspec.Raw(b"null")
    id: str | None = None


_new_decoder = msgspec.json.Decoder(_NewRecord)


def read_new(stream: Readable) -> Iterator[NewMessage]:
    """The messages of a batch file: `{"type":…,"data":…,"metadata":…,"id":…}` a line, all but the type optional.

    Raises:
        ImportRefused: INVALID_JSON or INVALID_RECORD, with the line.
    """
    for number, whole in enumerate(chain.from_iterable(_blocks(stream)), 1):
        line = whole.removesuffix(b"\n")
        if not line.strip():
            continue
        try:
            line.decode()
            record = _new_decoder.decode(line)
        except (ValueError, RecursionError) as error:
            raise _refusal(line, number, error, fields="type, and may have data, metadata, id") from error
        data, metadata = (None if bytes(raw) == b"null" else bytes(raw) for raw in (record.data, record.metadata))
        yield NewMessage(record.type, data, metadata, record.id)
