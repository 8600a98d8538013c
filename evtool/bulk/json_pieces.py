"""Where records of JSON begin and end: the lines of NDJSON, or the elements of an array. No verdict on what is in them.

An element is found by its brackets. Where one is broken, brackets and quotes say nothing any more; then the lines do:
most files begin their records alike: one's white space and brace tell where the next one begins.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import msgspec

from evtool.bulk.records import Fault
from evtool.ndjson import BLOCK_BYTES, Readable

MAX_RECORD_BYTES = 1 << 23
"""8 MiB: no record is longer, so that a hostile file can't fill the memory."""

NOT_JSON = Fault("invalid_json", "the record is not valid JSON")
_TOO_LONG = Fault("invalid_json", f"the record is longer than {MAX_RECORD_BYTES} bytes")
_NOT_CLOSED = Fault("invalid_json", "the array is not closed: the file has no end")
_AFTER_ARRAY = Fault("invalid_json", "there is something behind the end of the array")

SHOWN_BYTES = 1000
"""What is kept of a record that is too long."""

Piece = tuple[int, bytes, Fault | None]
"""The line on which something begins, its text, and what is wrong with it as a whole."""

_BOM = b"\xef\xbb\xbf"
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_TOKEN = re.compile(rb'["{}\[\]]')
_SPACE = re.compile(rb"[ \t\r\n,]*+")
# What stands behind a value inside of an object: so what ended there was a part of one.
_INSIDE = re.compile(rb'[ \t\r\n]*+,?+[ \t\r\n]*+(?:[:}]|"[^"\\]*+(?:\\.[^"\\]*+)*+"[ \t\r\n]*+:)')
# What stands behind any other value that has its line to itself.
_BEHIND_VALUE = re.compile(rb"[ \t]*+,?+[ \t]*+(?:[\r\n]|\][ \t\r\n]*\Z|\Z)")
_MARGIN = re.compile(rb"\n([ \t]*)\Z")
_WINDOW = 1 << 16
# An error so near to the end of what was read may come from there being no more of it.
_NEAR = 256
_BRACE = ord("}")
_value = msgspec.json.Decoder(msgspec.Raw)
_values = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=str)


def _is_one_value(text: bytes) -> bool:
    """Whether a text is one value: in a tenth of the time that its brackets take."""
    try:
        _value.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


class Lines:
    """The lines of a file, without the empty ones."""

    def __init__(self, stream: Readable) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[Piece]:
        line = 1
        rest = b""
        too_long = False
        first = True
        while block := self._stream.read(BLOCK_BYTES):
            if first:
                block = block.removeprefix(_BOM)
                first = False
            pieces = (rest + block).split(b"\n")
            rest = pieces.pop()
            for text in pieces:
                if too_long or len(text) > MAX_RECORD_BYTES:
                    yield line, text[:SHOWN_BYTES], _TOO_LONG
                    too_long = False
                elif not (text := text.strip(b" \t\r")):
                    pass
                else:
                    yield line, text, None
                line += 1
            if len(rest) > MAX_RECORD_BYTES:
                # its end is waited for, but it isn't kept
                rest, too_long = rest[:SHOWN_BYTES], True
        if too_long:
            yield line, rest[:SHOWN_BYTES], _TOO_LONG
        elif rest.strip(b" \t\r"):
            yield line, rest.strip(b" \t\r"), None


class Elements:
    """The elements of an array. A broken one costs itself, or its line."""

    def __init__(self, stream: Readable) -> None:
        """Reads nothing yet."""
        self._stream = stream
        self._data = b""
        self._at = 0
        self._line = 1
        self._ended = False
        # how a record begins on a line of its own, once one has; the next place of that, and how far it was looked for
        self._start: bytes | None = None
        self._other = -1
        self._looked = 0

    def __iter__(self) -> Iterator[Piece]:
        """Hands out the elements, in order."""
        self._refill()
        self._data = self._data.removeprefix(_BOM)
        self._skip()
        is_array = self._data.startswith(b"[", self._at)
        if is_array:
            self._at += 1
        else:
            # who says json and means objects one after the other; the first has no line before it
            self._start = b"\n{"
        while True:
            before = self._skip()
            if self._start is None and (margin := _MARGIN.search(before)) and self._data.startswith(b"{", self._at):
                self._start = b"\n" + margin[1] + b"{"
            if self._at >= len(self._data):
                if is_array:
                    yield self._line, b"", _NOT_CLOSED
                return
            if is_array and self._data.startswith(b"]", self._at):
                behind = self._behind()
                if behind is not None:
                    yield behind
                if behind is None or behind[2] is _AFTER_ARRAY:
                    return
                continue
            yield self._element()

    def _refill(self) -> None:
        held = len(self._data) - self._at
        block = self._stream.read(max(BLOCK_BYTES, min(held, MAX_RECORD_BYTES // 2)))
        self._other, self._looked = self._other - self._at, self._looked - self._at
        self._data = self._data[self._at :] + block
        self._at = 0
        self._ended = not block

    def _next_start(self) -> int:
        """Where another record begins, unless that is inside of this one; -1 where none is in sight."""
        if self._start is None:
            return -1
        if self._other < self._at:
            # nothing is looked at twice, or a file without such places would take for ever
            self._other = self._data.find(self._start, max(self._at, self._looked - len(self._start)))
            self._looked = len(self._data) if self._other < 0 else self._other
        return self._other

    def _skip(self) -> bytes:
        """Goes on behind white space and commas; returns the last of them."""
        skipped = b""
        while True:
            match = _SPACE.match(self._data, self._at)
            assert match is not None
            found = match[0]
            self._line += found.count(b"\n")
            self._at += len(found)
            if self._at < len(self._data) or self._ended:
                return skipped + found
            skipped = (skipped + found)[-SHOWN_BYTES:]
            self._refill()

    def _element(self) -> Piece:
        """The element that begins here."""
        is_object = self._data.startswith(b"{", self._at)
        while True:
            other = self._other if self._other > self._at else self._next_start()
            if is_object and other >= 0:
                text = self._data[self._at : other].rstrip(b" \t\r\n,")
                if _is_one_value(text):
                    return self._taken(self._at + len(text), None)
            end = self._end(other if other >= 0 else len(self._data))
            if end is None and other >= 0:
                # what is no object has no records inside
                goes_on = self._goes_on(other) if is_object else False
                if goes_on is False:
                    return self._taken(other, NOT_JSON)
                if goes_on:
                    end = self._end(len(self._data))
            if end is not None and len(self._data) < end + _NEAR and not self._ended:
                self._refill()
                continue
            if end is not None and self._is_whole(end, is_object=is_object):
                return self._taken(end, None)
            if end is not None and self._start is not None and other >= 0:
                # what is left of a record without its beginning, or one with the wrong bracket
                return self._taken(other, NOT_JSON)
            if self._ended or (end is not None and self._start is None) or self._is_full():
                return self._broken_line()
            self._refill()

    def _is_full(self) -> bool:
        return len(self._data) - self._at > MAX_RECORD_BYTES

    def _taken(self, end: int, fault: Fault | None) -> Piece:
        text, line = self._data[self._at : end].rstrip(b" \t\r\n"), self._line
        self._line += self._data.count(b"\n", self._at, end)
        self._at = end
        return line, text.rstrip(b", \t\r\n") if fault is not None else text, fault

    def _is_whole(self, end: int, *, is_object: bool) -> bool:
        """Whether what ends there is an element, and not a part of one that is broken."""
        if self._start is None:
            # there is nothing to go by but this
            return end > self._at
        if is_object:
            return self._data[end - 1] == _BRACE and _INSIDE.match(self._data, end, end + _NEAR) is None
        return end > self._at and _BEHIND_VALUE.match(self._data, end, end + _NEAR) is not None

    def _goes_on(self, other: int) -> bool | None:
        """Whether the element is valid and goes on where another seems to begin; None if that can't be told yet."""
        size = max(_WINDOW, 2 * (other - self._at))
        while True:
            window = self._data[self._at : self._at + min(size, MAX_RECORD_BYTES)]
            try:
                _values.raw_decode(window.decode("latin-1"))
            except json.JSONDecodeError as error:
                if error.pos < len(window) - _NEAR and window[error.pos : error.pos + 1] != b'"':
                    return False
                # it may be the end of what was read, and a text may be longer
                if len(window) < min(size, MAX_RECORD_BYTES):
                    return False if self._ended else None
                if size >= MAX_RECORD_BYTES:
                    return False
                size *= 4
            except RecursionError:
                return False
            else:
                return True

    def _end(self, limit: int) -> int | None:
        """Where the element that begins here ends, if it does before the limit."""
        depth = 0
        at = self._at
        while True:
            if depth == 0 and self._data[at : at + 1] not in {b"{", b"[", b'"'}:
                # a number, a word, or nothing that JSON knows: up to the comma or the array's end
                ends = [end for end in (self._data.find(one, at, limit) for one in (b",", b"]", b"\n")) if end >= 0]
                if ends:
                    return min(ends)
                return limit if limit < len(self._data) or self._ended else None
            match = _TOKEN.search(self._data, at, limit)
            if match is None:
                return None
            token = match[0]
            at = match.end()
            if token == b'"':
                string = _STRING.match(self._data, match.start(), limit)
                if string is None:
                    return None
                at = string.end()
            else:
                depth += 1 if token in b"{[" else -1
            if depth <= 0:
                return at

    def _broken_line(self) -> Piece:
        """An element without an end costs the line on which it begins; what follows is looked at anew."""
        start: bytes | None = None
        while (end := self._data.find(b"\n", self._at)) < 0 and not self._ended:
            if len(self._data) - self._at > MAX_RECORD_BYTES:
                # the line's end is waited for, but it isn't kept
                start = start or self._data[self._at : self._at + SHOWN_BYTES]
                self._at = len(self._data)
            self._refill()
        end = len(self._data) if end < 0 else end
        piece = self._line, start or self._data[self._at : end], NOT_JSON
        self._at = end
        return piece

    def _behind(self) -> Piece | None:
        """The bracket that ends the array, with what is behind it; None where nothing is.

        Where another record is still to come, it is one bracket too many, and reading goes on there.
        """
        while (other := self._next_start()) < 0 and not self._ended and not self._is_full():
            self._refill()
        if other >= 0:
            return self._taken(other, NOT_JSON)
        before = self._data[self._at + 1 :]
        text = before.lstrip(b" \t\r\n,")
        if not text:
            return None
        line = self._line + before.count(b"\n", 0, len(before) - len(text))
        text = text.rstrip(b" \t\r\n")
        return line, text if len(text) <= MAX_RECORD_BYTES else text[:SHOWN_BYTES], _AFTER_ARRAY
