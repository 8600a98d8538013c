"""The three forms of a file: what stands before, between and behind records, and within one."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from json.encoder import encode_basestring

from evtool.bulk.cells import csv_quoted
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


class Writer:
    """Puts cells together as the bytes of a file."""

    def __init__(self, format: Format, columns: Sequence[str], *, bom: bool = False) -> None:
        """Prepares the template of a record.

        Args:
            format: of the file.
            columns: their names, in order.
            bom: begin with a byte-order mark, as Excel wants a CSV to.
        """
        keys = [encode_basestring(name).encode().replace(b"%", b"%%") for name in columns]
        self._between = b""
        self._opening = _BOM if bom else b""
        self._closing = self._nothing = b""
        if format is Format.NDJSON:
            self._record = b"{%b}\n" % b",".join(key + b":%b" for key in keys)
        elif format is Format.JSON:
            self._record = b"\n  {\n%b\n  }" % b",\n".join(b"    " + key + b": %b" for key in keys)
            self._between = b","
            self._opening += b"["
            self._closing, self._nothing = b"\n]\n", b"]\n"
        else:
            self._record = b",".join([b"%b"] * len(columns)) + b"\r\n"
            self._opening += b",".join(csv_quoted(name.encode()) for name in columns) + b"\r\n"
        self._block = self._between + self._record
        self._written = 0

    def begin(self) -> bytes:
        """What stands before the first record."""
        return self._opening

    def records(self, count: int, cells: Sequence[bytes]) -> bytes:
        """Some records.

        Args:
            count: how many.
            cells: theirs, record by record.
        """
        block = self._block * count % tuple(cells)
        if not self._written and self._between:
            block = block[len(self._between) :]
        self._written += count
        return block

    def end(self) -> bytes:
        """What stands behind the last record."""
        return self._closing if self._written else self._nothing
