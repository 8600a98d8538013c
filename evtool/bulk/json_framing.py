"""JSON into records: NDJSON, or one array of objects; the physical line of each, and a verdict for what isn't one.

Values are handed on as the text that they are in the file: numbers with all their digits, and for columns of JSON and
arrays the JSON itself. A text is unescaped.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import msgspec

from evtool.bulk.json_pieces import NOT_JSON, SHOWN_BYTES, Elements, Lines
from evtool.bulk.kinds import Kind, kind_of
from evtool.bulk.records import Fault, Record
from evtool.bulk.resource import Resource
from evtool.ndjson import Readable

_members = msgspec.json.Decoder(dict[str, msgspec.Raw])

_NOT_UTF8 = Fault("invalid_utf8", "the record is not valid UTF-8")
_NOT_AN_OBJECT = Fault("invalid_json", "the record is not a JSON object")
_TWICE = Fault("invalid_json", "a key is in the record twice")
_NUL = Fault("invalid_json", "a text holds \\u0000, which PostgreSQL can't store")
_SURROGATE = Fault("invalid_json", "a text holds half of a surrogate pair")
_TOO_DEEP = Fault("invalid_json", "the record is nested too deeply")
_HALF = re.compile(rb"\\u[dD][89a-fA-F]")
_UNKNOWN = "the record has a key that is no column: "

# The first byte of a value, and what it says it is.
_KINDS = {
    **dict.fromkeys(b"-0123456789", Kind.NUMBER),
    **dict.fromkeys(b"tf", Kind.BOOLEAN),
    ord('"'): Kind.TEXT,
    ord("["): Kind.ARRAY,
    ord("{"): Kind.JSON,
}
_AS_TEXT = {Kind.TEXT, Kind.MOMENT, Kind.LOCAL_MOMENT}


class JsonFramer:
    """The records of an NDJSON file or of a JSON array.

    Attributes:
        columns: all that the resource has and that can be written.
        is_tabular: False, for a record may leave out some.
    """

    def __init__(self, stream: Readable, resource: Resource, *, array: bool, ignore_unknown: bool) -> None:
        """Reads nothing yet.

        Args:
            stream: not compressed. A byte-order mark is taken, and the last newline may be missing.
            resource: whose records they are.
            array: whether the file is one array, and not NDJSON.
            ignore_unknown: pass over keys that are no columns.
        """
        self._pieces = Elements(stream) if array else Lines(stream)
        self._kinds = {column.name: kind_of(column.type) for column in resource.columns if not column.computed}
        self._passed = {column.name for column in resource.columns if column.computed}
        self._ignore_unknown = ignore_unknown
        self.columns = tuple(self._kinds)
        self.is_tabular = False

    def __iter__(self) -> Iterator[Record]:
        """Hands out the records, in order."""
        for line, text, fault in self._pieces:
            yield Record(line, [], _shown(text), fault) if fault is not None else self._record(line, text)

    def reread(self, raw: str) -> Iterator[tuple[str, str]]:
        """The columns and texts of a record that was refused; none where it can't be taken apart."""
        record = self._record(0, raw.encode())
        for name, field in zip(self.columns, record.fields, strict=False):
            if field is not None:
                yield name, field.decode()

    def _record(self, line: int, text: bytes) -> Record:
        try:
            text.isascii() or text.decode()
            members = _members.decode(text)
            once = _each_once(members, text)
        except UnicodeDecodeError:
            return Record(line, [], _shown(text), _NOT_UTF8)
        except msgspec.ValidationError:
            return Record(line, [], text, _NOT_AN_OBJECT if _is_json(text) else _why_not(text))
        except msgspec.DecodeError:
            return Record(line, [], _shown(text), _why_not(text))
        except RecursionError:
            # the two parsers above don't give up at the same depth
            return Record(line, [], _shown(text[:SHOWN_BYTES]), _TOO_DEEP)
        if not once:
            return Record(line, [], text, _TWICE)
        if members.keys() - _FILE == _REJECT and "raw" not in self._kinds:
            return self._mended(line, members)
        fields: list[bytes | None] = []
        mistyped: list[str] = []
        absent: list[str] = []
        for name, kind in self._kinds.items():
            raw = members.pop(name, None)
            if raw is None:
                absent.append(name)
                fields.append(None)
                continue
            value, fits = _value(bytes(raw), kind)
            if isinstance(value, Fault):
                return Record(line, [], text, value)
            if not fits:
                mistyped.append(name)
            fields.append(value)
        if members and not self._ignore_unknown:
            unknown = [name for name in members if name not in self._passed]
            if unknown:
                # a key, unlike a value, may well hold what PostgreSQL can't store
                named = _printable(", ".join(unknown)[:200]) or '""'
                return Record(line, [], text, Fault("unknown_field", _UNKNOWN + named))
        return Record(line, fields, text, None, tuple(mistyped), tuple(absent))

    def _mended(self, line: int, members: dict[str, msgspec.Raw]) -> Record:
        """A record of a file of rejects: its text, perhaps mended, is the record."""
        raw = bytes(members["raw"])
        if not raw.startswith(b'"'):
            return Record(line, [], raw, _NOT_AN_OBJECT)
        text: str = json.loads(raw)
        try:
            return self._record(line, text.encode())
        except UnicodeEncodeError:
            return Record(line, [], raw, _SURROGATE)


_REJECT = {"line", "errors", "raw"}
# of several files
_FILE = {"file"}


def _value(value: bytes, kind: Kind) -> tuple[bytes | Fault | None, bool]:
    """A value as text, None for null, and whether it is of the kind that its column has."""
    found = _KINDS.get(value[0])
    if found is None:
        return None, True
    if kind is Kind.JSON:
        return value, True
    if found is Kind.TEXT:
        return (_unescaped(value) if b"\\" in value else value[1:-1]), kind in _AS_TEXT
    return value, kind is found


def _each_once(members: dict[str, msgspec.Raw], text: bytes) -> bool:
    """Whether no key is there twice. A parser keeps the last of two; which one was meant can't be known."""
    pairs = [(json.dumps(name, ensure_ascii=False).encode(), raw) for name, raw in members.items()]
    for between, after in ((b":", b","), (b": ", b", ")):
        if text == b"{" + after.join([name + between + bytes(raw) for name, raw in pairs]) + b"}":
            return True
    keys: list[list[str]] = []

    def keep(found: list[tuple[str, Any]]) -> None:
        # called for each object from the inside out, so that the record itself comes last
        keys[:] = [[name for name, _ in found]]

    json.loads(text, object_pairs_hook=keep, parse_int=str, parse_float=str)
    return len(keys[0]) == len(set(keys[0]))


def _is_json(text: bytes) -> bool:
    # msgspec tells of a wrong type before it has seen the end
    try:
        msgspec.json.decode(text)
    except (ValueError, RecursionError):
        return False
    return True


def _why_not(text: bytes) -> Fault:
    """What is wrong with a text that is not JSON, and where: by the parser that says most."""
    try:
        json.loads(text, parse_int=str, parse_float=str, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        what = error.msg.removesuffix(" at").removesuffix(" starting").replace("\\", "backslash ")
        return Fault(NOT_JSON.code, f"{NOT_JSON.message} at character {error.pos + 1}: {what[0].lower()}{what[1:]}")
    except (ValueError, RecursionError) as error:
        return Fault(NOT_JSON.code, f"{NOT_JSON.message}: {error}") if isinstance(error, _Constant) else NOT_JSON
    # of what the stricter parser refuses this one takes nothing else
    return _SURROGATE if _HALF.search(text) else NOT_JSON


def _no_constant(name: str) -> None:
    raise _Constant(f"{name} is no value")


class _Constant(ValueError):
    """NaN or an infinity."""


def _unescaped(value: bytes) -> bytes | Fault:
    """A JSON string without its quotes and escapes; or why PostgreSQL can't store it."""
    text: str = json.loads(value)
    if "\0" in text:
        return _NUL
    try:
        return text.encode()
    except UnicodeEncodeError:
        return _SURROGATE


def _shown(text: bytes) -> bytes:
    r"""A text that PostgreSQL can store: bytes that aren't UTF-8 become \xe9, and NUL \x00."""
    return _printable(text.decode(errors="backslashreplace")).encode()


def _printable(text: str) -> str:
    return text.replace("\0", "\\x00")
