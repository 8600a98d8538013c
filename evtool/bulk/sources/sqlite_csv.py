"""Records of CSV, made from the values that SQLite's driver gives: a column of some rows at a time.

Most columns need no quotes at all, as a look at all of their values at once tells; Python's own writer looks at every
character, and takes null for an empty text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from evtool.bulk.kinds import Kind
from evtool.bulk.selecting import Column
from evtool.bulk.sources.values import Values, boolean, digits, moments, require_utf8, text, without_zone
from evtool.bulk.writers import csv_quoted

_COMMAS = bytes.maketrans(b'"\r\n', b",,,")
_BOOLEANS = {0: b"false", 1: b"true", None: b""}


def csv_records(columns: Sequence[Column], rows: Sequence[tuple[Any, ...]]) -> bytes:
    """Rows as records of CSV, byte for byte as PostgreSQL makes them of equal values.

    Args:
        columns: what the values are; a row may have more of them than that.
        rows: at least one.

    Raises:
        UnicodeDecodeError: a text is not UTF-8.
    """
    held = zip(*rows, strict=True)
    fields = [_FIELDS.get(column.kind, _plain)(found) for column, found in zip(columns, held, strict=False)]
    if len(fields) == 1:
        # in a line of its own it ended a file for PostgreSQL's own reader before version 18, which therefore quotes it
        fields = [[rb'"\."' if field == rb"\." else field for field in fields[0]]]
        return b"\r\n".join(fields[0]) + b"\r\n"
    # One join for all of them, for a join of each record takes twice as long: so the last field of a record and the
    # first of the next one are one piece.
    first, last = fields[0], fields[-1]
    pieces = len(fields) - 1
    joined = [first[0]] * (len(first) * pieces + 1)
    for place, column in enumerate(fields[1:-1], 1):
        joined[place::pieces] = column
    joined[pieces::pieces] = [b"%b\r\n%b" % pair for pair in zip(last, [*first[1:], b""], strict=True)]
    return b",".join(joined)


def _plain(column: Values) -> Sequence[bytes]:
    types = set(map(type, column))
    if types == {int}:
        return digits(column)
    if type(None) in types:
        if len(types) == 1:
            return [b""] * len(column)
        present = iter(_plain([value for value in column if value is not None]))
        return [b"" if value is None else next(present) for value in column]
    if types != {bytes}:
        column = [text(value) for value in column]
    joined = b"\0".join(column)
    require_utf8(joined)
    if b'"' in joined or b"," in joined or b"\n" in joined or b"\r" in joined or b"" in column:
        return _quoted(column, joined)
    return column


def _quoted(column: Sequence[bytes], joined: bytes) -> Sequence[bytes]:
    """What `csv_quoted` makes of each, with the quotes doubled in all of them at one go."""
    if joined.count(b"\0") != len(column) - 1:
        # a text that holds a NUL
        return [csv_quoted(field) for field in column]
    # what needs quotes, as commas: so one look at each field is enough
    marked = joined.translate(_COMMAS).split(b"\0")
    return [
        b'"%b"' % field if not field or b"," in mark else field
        for field, mark in zip(joined.replace(b'"', b'""').split(b"\0"), marked, strict=True)
    ]


def _booleans(column: Values) -> Sequence[bytes]:
    try:
        return [_BOOLEANS[value] for value in column]
    except KeyError:
        return _plain([None if value is None else _BOOLEANS.get(boolean(value), value) for value in column])


_FIELDS: dict[Kind, Callable[[Values], Sequence[bytes]]] = {
    Kind.BOOLEAN: _booleans,
    Kind.MOMENT: lambda column: _plain(moments(column)),
    Kind.LOCAL_MOMENT: lambda column: _plain(without_zone(moments(column))),
}
