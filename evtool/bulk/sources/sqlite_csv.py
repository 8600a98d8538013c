"""Records of CSV, made from the values that SQLite's driver gives: a column of some rows at a time.

Most columns need no quotes at all, as a look at all of their values at once tells; Python's own writer looks at every
character, and takes null for an empty text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from evtool.bulk.kinds import Kind
from evtool.bulk.selecting import Column
from evtool.bulk.sources.values import Values, boolean, moments, text, without_zone

_BOOLEANS = {0: "false", 1: "true", None: ""}


def csv_records(columns: Sequence[Column], rows: Sequence[tuple[Any, ...]]) -> bytes:
    """Rows as records of CSV, byte for byte as PostgreSQL makes them of equal values.

    Args:
        columns: what the values are; a row may have more of them than that.
        rows: at least one.
    """
    held = zip(*rows, strict=True)
    fields = [_FIELDS.get(column.kind, _plain)(found) for column, found in zip(columns, held, strict=False)]
    if len(fields) == 1:
        # in a line of its own it ended a file for PostgreSQL's own reader before version 18, which therefore quotes it
        fields = [[r'"\."' if field == r"\." else field for field in fields[0]]]
    return ("\r\n".join(map(",".join, zip(*fields, strict=True))) + "\r\n").encode()


def _plain(column: Values) -> Sequence[str]:
    types = set(map(type, column))
    if types == {int}:
        return list(map(str, column))
    if type(None) in types:
        if len(types) == 1:
            return [""] * len(column)
        present = iter(_plain([value for value in column if value is not None]))
        return ["" if value is None else next(present) for value in column]
    if types != {str}:
        column = [text(value) for value in column]
    joined = "\0".join(column)
    if '"' in joined or "," in joined or "\n" in joined or "\r" in joined or "" in column:
        # a text may hold NUL itself
        alone = joined.count("\0") != len(column) - 1
        return [
            f'"{field}"' if not field or '"' in field or "," in field or "\n" in field or "\r" in field else field
            for field in ([value.replace('"', '""') for value in column] if alone else _doubled(joined))
        ]
    return column


def _doubled(joined: str) -> list[str]:
    return joined.replace('"', '""').split("\0")


def _booleans(column: Values) -> Sequence[str]:
    try:
        return [_BOOLEANS[value] for value in column]
    except KeyError:
        return _plain([None if value is None else _BOOLEANS.get(boolean(value), value) for value in column])


_FIELDS: dict[Kind, Callable[[Values], Sequence[str]]] = {
    Kind.BOOLEAN: _booleans,
    Kind.MOMENT: lambda column: _plain(moments(column)),
    Kind.LOCAL_MOMENT: lambda column: _plain(without_zone(moments(column))),
}
