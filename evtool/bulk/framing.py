"""From a file to its records: which format it is in, and which of its columns the table has."""

from __future__ import annotations

import enum
import io
from collections.abc import Iterator, Sequence
from typing import Protocol

from evtool.bulk.csv_framing import CsvFramer
from evtool.bulk.json_framing import JsonFramer
from evtool.bulk.records import Fault, Record
from evtool.bulk.resource import Resource
from evtool.errors import ImportRefused, InvalidArgument
from evtool.ndjson import Readable

HEAD_BYTES = 1 << 16
"""How much of a file's beginning is looked at before its first record is read."""

REJECT_COLUMNS = ("_file", "_line", "_errors", "_raw")
"""What a CSV of rejects has besides the record: an import passes over it."""

_TO_BE_MENDED = Fault("invalid_csv", "the record could not be taken apart, and is still to be mended")


class Format(enum.Enum):
    """How the records of a file are written."""

    CSV = "csv"
    NDJSON = "ndjson"
    JSON = "json"


class Framer(Protocol):
    """Takes a file apart.

    Attributes:
        columns: that the fields of the records are of, in their order.
        is_tabular: whether each record has all of them.
    """

    columns: tuple[str, ...]
    is_tabular: bool

    def __iter__(self) -> Iterator[Record]:
        """Hands out the records, in order."""
        ...

    def reread(self, raw: str) -> Iterator[tuple[str, str]]:
        """The columns and texts of a record that was refused; none where it can't be taken apart."""
        ...


class Rejoined:
    """A stream whose beginning has been read already."""

    def __init__(self, stream: Readable) -> None:
        self._stream = stream
        parts: list[bytes] = []
        while (missing := HEAD_BYTES - sum(map(len, parts))) > 0 and (part := stream.read(missing)):
            parts.append(part)
        self.head = b"".join(parts)
        self._rest = self.head

    def read(self, size: int = -1, /) -> bytes:
        """Up to `size` bytes, from the beginning on."""
        if not self._rest:
            return self._stream.read(size)
        if size < 0:
            size = len(self._rest)
        block, self._rest = self._rest[:size], self._rest[size:]
        return block


def detect(name: str, head: bytes) -> Format:
    """The format of a file: by what it begins with, and where that says nothing by its name.

    Args:
        name: the file's.
        head: its first bytes, not compressed.
    """
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    if start == b"{":
        return Format.NDJSON
    if start == b"[":
        return Format.JSON
    plain = name.lower().removesuffix(".gz").removesuffix(".zst")
    if plain.endswith((".ndjson", ".jsonl")):
        return Format.NDJSON
    return Format.JSON if plain.endswith(".json") else Format.CSV


def open_framer(
    stream: Rejoined, format: Format, resource: Resource, *, columns: Sequence[str] | None, ignore_unknown: bool
) -> Framer:
    """Begins to take a file apart.

    Args:
        stream: the file, not compressed.
        format: how its records are written.
        resource: whose records they are.
        columns: of a CSV without a header.
        ignore_unknown: pass over columns that the resource doesn't have.

    Raises:
        ImportRefused: the header can't be read, or names a column that the resource doesn't have.
        InvalidArgument: columns are named for a file that isn't CSV, or one of them twice.
    """
    if format is Format.CSV:
        if columns is not None and len(set(columns)) < len(columns):
            raise InvalidArgument(
                "--columns names a column twice", hint="each field of a record has a column of its own"
            )
        return _Chosen(CsvFramer(stream, columns), resource, ignore_unknown=ignore_unknown)
    if columns is not None:
        raise InvalidArgument("only a CSV has columns to be named", hint="leave out --columns")
    return JsonFramer(stream, resource, array=format is Format.JSON, ignore_unknown=ignore_unknown)


class _Chosen:
    """A CSV without the columns that aren't the table's to be written."""

    def __init__(self, framer: CsvFramer, resource: Resource, *, ignore_unknown: bool) -> None:
        self._framer = framer
        self.is_tabular = True
        written = {column.name: not column.computed for column in resource.columns}
        for name in framer.columns:
            if name not in written and not ignore_unknown and name not in REJECT_COLUMNS:
                raise ImportRefused(
                    "INVALID_RECORD",
                    f'{resource.name} has no column "{name}"',
                    line=1,
                    hint=f"it has {', '.join(written)}; --ignore-unknown passes over others",
                )
        self._kept = [number for number, name in enumerate(framer.columns) if written.get(name, False)]
        self.columns = tuple(framer.columns[number] for number in self._kept)
        self._raw = framer.columns.index("_raw") if "_raw" in framer.columns else None
        if not self.columns:
            raise ImportRefused("INVALID_RECORD", f"the header names no column of {resource.name}", line=1)

    def reread(self, raw: str) -> Iterator[tuple[str, str]]:
        """The columns and texts of a record that was refused; none where it can't be taken apart."""
        for record in CsvFramer(io.BytesIO(raw.encode()), self._framer.columns):
            for number in self._kept if record.fault is None else ():
                if (field := record.fields[number]) is not None:
                    yield self._framer.columns[number], field.decode()

    def __iter__(self) -> Iterator[Record]:
        """Hands out the records, in order."""
        if len(self._kept) == len(self._framer.columns):
            yield from self._framer
            return
        for record in self._framer:
            if record.fault is not None:
                yield record
                continue
            fields = [record.fields[number] for number in self._kept]
            raw = record.raw if record.raw is not None else b",".join(field or b"" for field in record.fields)
            if self._raw is not None and record.fields[self._raw] and not any(fields):
                yield Record(record.line, [], raw, _TO_BE_MENDED)
            else:
                yield Record(record.line, fields, raw)
