"""A record whose place is taken: whether it is the message that is there, and what the error says."""

from __future__ import annotations

from typing import Any, NamedTuple

from evtool import json_values
from evtool.errors import ImportRefused
from evtool.ndjson import Record

POSITION_EXISTS = "POSITION_EXISTS"
ID_EXISTS = "ID_EXISTS"
STREAM_POSITION_EXISTS = "STREAM_POSITION_EXISTS"

# In the order in which PostgreSQL looks: what exists, the value, and how the sentence goes on.
_TEXTS = {
    POSITION_EXISTS: ("global position {0.gpos} already exists", "{0.gpos}", "differs"),
    ID_EXISTS: ("a message with the id {0.id} already exists", "{0.id}", "differs"),
    STREAM_POSITION_EXISTS: (
        "stream and position ({0.stream}, {0.pos}) already exist",
        "{0.stream}, {0.pos}",
        "differ",
    ),
}

_JSON = {"data", "meta"}


class Stored(NamedTuple):
    """A message as a store holds it: the fields of a record, its id in lower case, no JSON as None."""

    id: str
    stream: str
    type: str
    pos: int
    gpos: int
    data: str | None
    meta: str | None
    time: str

    @classmethod
    def of(cls, record: Record) -> Stored:
        """What a store would hold of a record."""
        data, meta = (None if raw == b"null" else raw.decode() for raw in (bytes(record.data), bytes(record.meta)))
        return cls(
            record.id.lower(), record.stream, record.type, record.pos, record.gpos, data, meta, record.time
        )  # fmt: skip


def differing(one: Stored, other: Stored) -> list[str]:
    """The names of the fields in which two messages differ, in the order of a line; JSON is compared by its value."""
    return [
        name
        for name, mine, theirs in zip(Stored._fields, one, other, strict=True)
        if mine != theirs and not (name in _JSON and _same(mine, theirs))
    ]


def refusal(code: str, one: Stored, line: int, differs: list[str] | None = None) -> ImportRefused:
    """The error of a record whose place is taken.

    Args:
        code: one of the three above.
        one: the record.
        line: its line.
        differs: the fields in which the message that is there differs, where only that makes it an error.
    """
    text, value, verb = _TEXTS[code]
    message = text.format(one)
    hint = "it came before, or the namespace has it already; take an empty one, or --on-conflict skip"
    if differs is not None:
        message += f", and {verb} in: {', '.join(differs)}"
        hint = "another message is there; evtool verify shows all that differ"
    return ImportRefused(code, message, line=line, value=value.format(one), hint=hint)


def _same(one: Any, other: Any) -> bool:
    # in a file, JSON's null is no value
    return json_values.same((one or "null").encode(), (other or "null").encode())
