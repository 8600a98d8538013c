"""CSV into records: RFC 4180, the physical line of each record, and a verdict for what can't be taken apart.

A quoted field may hold line breaks. Where a quote is opened and never properly closed, only the physical line on which
that record starts is refused, and reading goes on with the next line: one stray quote costs a line, never the rest of
the file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from evtool.bulk.records import Fault, Record
from evtool.errors import ImportRefused
from evtool.ndjson import BLOCK_BYTES, Readable

MAX_RECORD_BYTES = 1 << 23
"""8 MiB: no record is longer, so that a hostile file can't fill the memory. A quote that isn't closed within that is
taken for one that never is."""

# What the report shows of a longer one.
_SHOWN_BYTES = 1000
_BOM = b"\xef\xbb\xbf"
_QUOTED = re.compile(rb'"([^"]*+(?:""[^"]*+)*+)"')
_UNQUOTED = re.compile(rb'[^",\r\n]*+')

_NEVER_CLOSED = Fault("invalid_csv", "a quote is opened on this line and never closed")
_AFTER_QUOTE = Fault("invalid_csv", "there is something between a closing quote and the next comma")
_STRAY_QUOTE = Fault("invalid_csv", "there is a quote inside a field that doesn't begin with one")
_STRAY_RETURN = Fault("invalid_csv", "there is a carriage return outside quotes")
_TOO_LONG = Fault("invalid_csv", f"the record is longer than {MAX_RECORD_BYTES} bytes")
_NUL = Fault("invalid_csv", "the record holds a NUL, which PostgreSQL can't store")
_NOT_UTF8 = Fault("invalid_utf8", "the record is not valid UTF-8")


class _Incomplete(Exception):
    """The record goes on behind what has been read."""


class CsvFramer:
    """The records of a CSV file.

    Attributes:
        columns: the names in the header, or those that were given.
    """

    def __init__(self, stream: Readable, columns: Sequence[str] | None = None) -> None:
        """Reads the header.

        Args:
            stream: not compressed. A byte-order mark is taken, LF and CRLF too, and the last newline may be missing.
            columns: the names of the columns, for a file without a header.

        Raises:
            ImportRefused: the file has no header, or one that can't be read.
        """
        self._stream = stream
        self._data = b""
        self._at = 0
        self._line = 1
        self._ended = False
        self._refill()
        self._data = self._data.removeprefix(_BOM)
        self.columns: tuple[str, ...] = tuple(columns) if columns is not None else self._header()

    def __iter__(self) -> Iterator[Record]:
        """Hands out the records, in order."""
        width = len(self.columns)
        while True:
            end = len(self._data) if self._ended else self._data.rfind(b"\n") + 1
            if self._at >= end:
                if self._ended:
                    return
                self._refill()
                continue
            yield from self._block(end, width)

    def _header(self) -> tuple[str, ...]:
        while True:
            try:
                found = self._take_apart()
            except _Incomplete:
                self._refill()
                continue
            if isinstance(found, Fault):
                raise _refused(f"the header can't be read: {found.message}")
            fields, after, breaks = found
            if len(fields) > 1 or fields[0] is not None or after == self._at:
                break
            # a blank line
            self._at = after
            self._line += breaks
        try:
            names = tuple((field or b"").decode() for field in fields)
        except UnicodeDecodeError as error:
            raise _refused("the header is not valid UTF-8") from error
        if not any(names):
            raise _refused("the file has no header")
        for name in names:
            if names.count(name) > 1:
                raise _refused(f'the header names "{name}" twice')
        self._at = after
        self._line += breaks
        return names

    def _refill(self) -> None:
        """Reads more, and forgets what is done. The more is held already, the more is read at once."""
        held = len(self._data) - self._at
        block = self._stream.read(max(BLOCK_BYTES, min(held, MAX_RECORD_BYTES // 2)))
        self._data = self._data[self._at :] + block
        self._at = 0
        self._ended = not block

    def _block(self, end: int, width: int) -> Iterator[Record]:
        """The records that begin before `end`, where a line ends."""
        block = self._data[self._at : end]
        plain = b'"' not in block and b"\r" not in block and b"\0" not in block
        if plain and len(block) <= MAX_RECORD_BYTES and _is_utf8(block):
            # most blocks of most files
            yield from self._plain_block(block, end, width)
            return
        while self._at < end:
            try:
                found = self._take_apart()
            except _Incomplete:
                self._refill()
                return
            line = self._line
            if isinstance(found, Fault):
                raw, self._at = self._physical_line()
                self._line += 1
                yield Record(line, [], _shown(raw), found)
                continue
            parts, after, breaks = found
            if after - self._at > MAX_RECORD_BYTES:
                raw, self._at = self._data[self._at : self._at + _SHOWN_BYTES], after
                self._line += breaks
                yield Record(line, [], _shown(raw), _TOO_LONG)
                continue
            raw = self._data[self._at : after].removesuffix(b"\n").removesuffix(b"\r")
            self._at = after
            self._line += breaks
            if not raw and width > 1:
                # a blank line is no record
                continue
            if b"\0" in raw:
                yield Record(line, [], _shown(raw), _NUL)
            elif not _is_utf8(raw):
                yield Record(line, [], _shown(raw), _NOT_UTF8)
            elif len(parts) != width:
                yield Record(line, [], raw, _ragged(len(parts), width))
            else:
                yield Record(line, parts, raw)

    def _plain_block(self, block: bytes, end: int, width: int) -> Iterator[Record]:
        """The records of a block without quotes."""
        lines = block.split(b"\n")
        if not lines[-1]:
            lines.pop()
        first = self._line
        self._at = end
        self._line += len(lines)
        for number, text in enumerate(lines, first):
            fields: list[bytes | None] = [*text.split(b",")]
            if len(fields) != width:
                if text or width == 1:
                    yield Record(number, [], text, _ragged(len(fields), width))
            elif b"" in fields:
                if text or width == 1:
                    yield Record(number, [field or None for field in fields], None)
            else:
                yield Record(number, fields, None)

    def _take_apart(  # noqa: PLR0912 - a branch for each way in which a field can end
        self,
    ) -> tuple[list[bytes | None], int, int] | Fault:
        """The fields of the record that begins here, where it ends, and how many lines it takes; or what is wrong.

        Raises:
            _Incomplete: more must be read first.
        """
        data, at, size = self._data, self._at, len(self._data)
        fields: list[bytes | None] = []
        breaks = 0
        while True:
            if data[at : at + 1] == b'"':
                match = _QUOTED.match(data, at)
                if match is None or (match.end() == size and not self._ended):
                    if not self._ended and size - self._at < MAX_RECORD_BYTES:
                        raise _Incomplete
                    if match is None:
                        return _NEVER_CLOSED
                value = match[1]
                breaks += value.count(b"\n")
                fields.append(value.replace(b'""', b'"') if b'"' in value else value)
                fault = _AFTER_QUOTE
            else:
                match = _UNQUOTED.match(data, at)
                assert match is not None
                fields.append(match[0] or None)
                fault = _STRAY_QUOTE
            at = match.end()
            next_ = data[at : at + 1]
            if next_ == b",":
                at += 1
            elif next_ == b"\n":
                return fields, at + 1, breaks + 1
            elif next_ == b"\r":
                if data[at + 1 : at + 2] == b"\n":
                    return fields, at + 2, breaks + 1
                if at + 1 == size:
                    if not self._ended:
                        raise _Incomplete
                    return fields, at + 1, breaks + 1
                return _STRAY_RETURN
            elif not next_:
                if self._ended:
                    return fields, at, breaks + 1
                if size - self._at < MAX_RECORD_BYTES:
                    raise _Incomplete
                return _TOO_LONG
            else:
                return fault

    def _physical_line(self) -> tuple[bytes, int]:
        """The text of this physical line, or its beginning if it is very long, and where the next one begins."""
        while (end := self._data.find(b"\n", self._at)) < 0 and not self._ended:
            if len(self._data) - self._at < MAX_RECORD_BYTES:
                self._refill()
                continue
            start = self._data[self._at : self._at + _SHOWN_BYTES]
            while end < 0 and not self._ended:
                self._data, self._at = self._stream.read(BLOCK_BYTES), 0
                self._ended = not self._data
                end = self._data.find(b"\n")
            return start, end + 1
        if end < 0:
            return self._data[self._at :].removesuffix(b"\r"), len(self._data)
        return self._data[self._at : end].removesuffix(b"\r"), end + 1


def _ragged(found: int, width: int) -> Fault:
    return Fault("invalid_csv", f"the record has {found} fields, and the header {width}")


def _is_utf8(text: bytes) -> bool:
    if text.isascii():
        return True
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _shown(raw: bytes) -> bytes:
    r"""A text that PostgreSQL can store: bytes that aren't UTF-8 become \xe9, and NUL \x00."""
    return raw.decode(errors="backslashreplace").replace("\0", "\\x00").encode()


def _refused(message: str) -> ImportRefused:
    return ImportRefused(
        "INVALID_RECORD", message, line=1, hint="the first line names the columns; or name them with --columns"
    )
