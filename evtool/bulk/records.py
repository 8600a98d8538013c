"""A record as a framer hands it out: its fields as text, where it stood, and what is wrong with its frame."""

from __future__ import annotations

from typing import NamedTuple

FAULTS = frozenset({"invalid_csv", "invalid_json", "invalid_utf8", "unknown_field"})
"""The codes of what could not be taken apart: reports have them without a field."""


class Fault(NamedTuple):
    """Why a record could not be taken apart.

    Attributes:
        code: one of `FAULTS`.
        message: one line for people.
    """

    code: str
    message: str


class Record(NamedTuple):
    """A record of a file.

    Attributes:
        line: the physical line on which it starts, from 1.
        fields: a text for each column of the file, in UTF-8, or None for a missing one; empty with a fault.
        raw: its text as it stands in the file; None where that is just the fields with commas between them.
        fault: why it could not be taken apart.
        mistyped: columns whose JSON value is of the wrong kind, such as a number where a text belongs.
        absent: columns that the record does not mention.
    """

    line: int
    fields: list[bytes | None]
    raw: bytes | None
    fault: Fault | None = None
    mistyped: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()


def size(record: Record) -> int:
    """About how many bytes a record takes."""
    if record.raw is not None:
        return len(record.raw)
    fields = record.fields
    return sum(map(len, [field or b"" for field in fields] if None in fields else fields))  # type: ignore[arg-type]


def content(record: Record) -> bytes:
    """The text of a record, with a newline."""
    if record.raw is not None:
        return record.raw + b"\n"
    fields = record.fields
    return b",".join([field or b"" for field in fields] if None in fields else fields) + b"\n"  # type: ignore[arg-type]
