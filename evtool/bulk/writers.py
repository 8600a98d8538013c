"""The three forms of a file: what stands before, between and behind records, and around the values of one."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from json.encoder import encode_basestring

from evtool.compression import without_suffix

_BOM = b"\xef\xbb\xbf"


class Format(enum.Enum):
    """The form of a file."""

    NDJSON = "ndjson"
    """An object a line."""

    JSON = "json"
    """An array of objects, indented by two spaces."""

    CSV = "csv"
    """RFC 4180: a header, CRLF, quotes where they are needed. Null is nothing, an empty text is `""`."""

    @classmethod
    def of(cls, name: str) -> Format:
        """The form that a file's name asks for, perhaps before the suffix of a compression; NDJSON without any."""
        bare = without_suffix(name)
        return next((one for one in cls if bare.endswith(f".{one.value}")), cls.NDJSON)

    @property
    def is_json(self) -> bool:
        """Whether its cells are JSON values."""
        return self is not Format.CSV


def frame(format: Format, columns: Sequence[str]) -> list[bytes]:
    """What stands in a record before, between and behind its values; the last one ends with a line break.

    A record of JSON ends with a comma, which the last of a file must not have: see `Writer`.

    Args:
        format: of the file.
        columns: their names, in order.
    """
    if format is Format.CSV:
        return [b"", *[b","] * (len(columns) - 1), b"\r\n"]
    keys = [encode_basestring(name).encode() for name in columns]
    first, between, colon, last = (
        (b"{", b",", b":", b"}\n") if format is Format.NDJSON else (b"  {\n    ", b",\n    ", b": ", b"\n  },\n")
    )
    return [first + keys[0] + colon, *[between + key + colon for key in keys[1:]], last]


class Writer:
    """What a file has around its records."""

    def __init__(self, format: Format, columns: Sequence[str], *, bom: bool = False) -> None:
        """Prepares the beginning.

        Args:
            format: of the file.
            columns: their names, in order.
            bom: begin with a byte-order mark, as Excel wants a CSV to.
        """
        self._is_array = format is Format.JSON
        self._opening = _BOM if bom else b""
        if format is Format.CSV:
            self._opening += b",".join(csv_quoted(name.encode()) for name in columns) + b"\r\n"
        self._written = False

    def begin(self) -> bytes:
        """What stands before the first record."""
        return self._opening + (b"[" if self._is_array else b"")

    def records(self, text: bytes) -> bytes:
        """Some records, as `frame` has them. The comma of the last one waits for another."""
        if not self._is_array:
            return text
        before, self._written = b",\n" if self._written else b"\n", True
        return before + text.removesuffix(b",\n")

    def end(self) -> bytes:
        """What stands behind the last record."""
        if not self._is_array:
            return b""
        return b"\n]\n" if self._written else b"]\n"


def csv_quoted(text: bytes) -> bytes:
    """A text as a field of CSV: in quotes where it needs them, and where it is empty, to be told from null."""
    if not text or b'"' in text or b"," in text or b"\n" in text or b"\r" in text:
        return b'"%b"' % text.replace(b'"', b'""')
    return text
