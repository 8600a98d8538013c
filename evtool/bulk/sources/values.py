"""JSON, made from the values that SQLite's driver gives: a column of some rows at a time.

Texts are taken as bytes: as Python's they would be decoded and encoded again, and one emoji makes four bytes of each
character of all that it is joined with. What comes out is byte for byte what PostgreSQL makes of equal values: see
`postgres_queries`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from json.encoder import encode_basestring
from typing import Any

from evtool import times
from evtool.bulk.kinds import Kind
from evtool.bulk.selecting import Column
from evtool.errors import InvalidArgument

Values = Sequence[Any]

_MOMENT = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[T ]([0-9]{2}:[0-9]{2}(?::[0-9]{2})?)(?:\.([0-9]{1,9}))? ?"
    r"(?:([Zz])|([+-])([0-9]{2}):?([0-9]{2}))?(?: UTC| [+-]0000)?"
)
_IS_TEXT = {bytes}.issuperset
_BOOLEANS = {0: b"false", 1: b"true"}
# What JSON escapes with a letter, the backslash first, and what with a number.
_ESCAPES = tuple((one.encode(), encode_basestring(one)[1:-1].encode()) for one in '\\"\n\r\t\b\f')
_RARE = bytes(code for code in range(1, 0x20) if code not in b"\n\r\t\b\f")
_DIGITS = b"0123456789"
_UNUSUAL = {"inf": "Infinity", "-inf": "-Infinity", "nan": "NaN"}


NOT_JSON = b"\0"
"""Stands for what SQLite did not find to be JSON, which never has it."""


class NotJsonError(Exception):
    """A value that must be JSON isn't."""


def json_encoder(column: Column, *, one_line: bool) -> Callable[[Values], Sequence[bytes]]:
    """What makes JSON of a column's values.

    Args:
        column: the column.
        one_line: whether JSON as stored must lose its line breaks.
    """
    encode = {
        Kind.NUMBER: _json_numbers,
        Kind.BOOLEAN: _json_booleans,
        Kind.JSON: lambda column: _json_values(column, one_line=one_line),
        Kind.ARRAY: lambda column: _json_values(column, one_line=one_line),
        Kind.MOMENT: lambda column: _json_strings(moments(column)),
        Kind.LOCAL_MOMENT: lambda column: _json_strings(without_zone(moments(column))),
    }.get(column.kind, _json_strings)
    return lambda column: _around_nulls(column, encode)


def _around_nulls(column: Values, encode: Callable[[Values], Sequence[bytes]]) -> Sequence[bytes]:
    if None not in column:
        return encode(column)
    present = [value for value in column if value is not None]
    if not present:
        return [b"null"] * len(column)
    cells = iter(encode(present))
    return [b"null" if value is None else next(cells) for value in column]


def _texts(column: Values) -> bytes:
    """The values as PostgreSQL would spell them, with NUL between."""
    joined = b"\0".join(column if _IS_TEXT(map(type, column)) else [text(value) for value in column])
    require_utf8(joined)
    return joined


def require_utf8(text: bytes) -> None:
    """Looks at what SQLite takes as it comes.

    Raises:
        UnicodeDecodeError: it is not UTF-8.
    """
    if not text.isascii():
        text.decode()


def _json_strings(column: Values) -> Sequence[bytes]:
    joined = _texts(column)
    if joined.count(b"\0") == len(column) - 1 and len(joined.translate(None, _RARE)) == len(joined):
        for character, escape in _ESCAPES:
            joined = joined.replace(character, escape)
        return (b'"%b"' % joined.replace(b"\0", b'"\0"')).split(b"\0")
    quoted = [encode_basestring(text(value).decode()) for value in column]
    # a quoted string has no line break
    return "\n".join(quoted).encode().split(b"\n")


def _json_numbers(column: Values) -> Sequence[bytes]:
    if {int}.issuperset(map(type, column)):
        return digits(column)
    return [_json_number(value) for value in column]


def digits(column: Sequence[int]) -> list[bytes]:
    """Whole numbers, spelt."""
    # at one go, for calling str for each takes three times as long
    return (b"%d " * len(column) % tuple(column)).split()


def _json_number(value: Any) -> bytes:
    """By what is stored, whatever was declared."""
    spelt = text(value)
    if isinstance(value, int) or (isinstance(value, float) and spelt[-1:].isdigit()):
        return spelt
    return encode_basestring(spelt.decode()).encode()


def _json_values(column: Values, *, one_line: bool) -> Sequence[bytes]:
    joined = _texts(column)
    # what SQLite did not find to be JSON
    if joined.count(NOT_JSON) != len(column) - 1:
        raise NotJsonError
    # a line break in JSON can only be white space between its tokens
    if one_line and (b"\n" in joined or b"\r" in joined):
        joined = joined.replace(b"\n", b" ").replace(b"\r", b" ")
    return joined.split(b"\0")


def _json_booleans(column: Values) -> Sequence[bytes]:
    try:
        return [_BOOLEANS[value] for value in column]
    except KeyError:
        return [_BOOLEANS.get(boolean(value)) or _json_number(value) for value in column]


def boolean(value: Any) -> Any:
    """0 or 1 for the words of SQL; another value as it is."""
    return {b"false": 0, b"true": 1}.get(value.lower(), value) if isinstance(value, bytes) else value


def text(value: Any) -> bytes:
    """A value as PostgreSQL would spell it."""
    if isinstance(value, bytes):
        return value
    return (_float(value) if isinstance(value, float) else str(value)).encode()


def _float(value: float) -> str:
    """A number as PostgreSQL has it: the shortest digits, and an exponent from 1e+15 on, where Python has 1e+16."""
    if abs(value) < 1e15 or not math.isfinite(value):
        return _UNUSUAL.get(repr(value)) or repr(value).removesuffix(".0")
    # PostgreSQL takes no digits that lie just between two numbers, which some reader could take for the other one.
    shortest = Decimal(repr(value)).normalize()
    candidates = [f"{shortest:e}", *(f"{value:.{digits}e}" for digits in range(len(shortest.as_tuple().digits), 17))]
    text = next(one for one in candidates if float(one) == value and not _is_between(int(Decimal(one)), value))
    mantissa, exponent = text.split("e")
    return f"{mantissa.rstrip('0').rstrip('.') if '.' in mantissa else mantissa}e{exponent}"


def _is_between(number: int, value: float) -> bool:
    # below, what lies between has more digits than are ever written
    return abs(value) >= 2**53 and any(
        2 * number == int(value) + int(next_)
        for next_ in (math.nextafter(value, 0.0), math.nextafter(value, value * 2))
        if math.isfinite(next_)
    )


def moments(column: Values) -> Values:
    """Texts that are moments as `2025-07-15T10:00:00.000000Z`; what isn't one stays as it is stored."""
    return _alike(column) or [moment(value) for value in column]


def _alike(column: Values) -> Values | None:
    """The moments of a column whose texts all have the form of the first, at one go; None if they haven't."""
    first = column[0]
    found = _MOMENT.fullmatch(first.decode()) if _IS_TEXT(map(type, column)) else None
    if found is None or len(found[2]) != 8 or len(found[3] or "") > 6 or not found[4]:
        return None
    # of one width, with the first one's characters at the places where that has no digits, and digits elsewhere
    pattern = first + b"\n"
    joined = b"\n".join(column) + b"\n"
    count, width = len(column), len(pattern)
    if len(joined) != count * width or joined.translate(None, _DIGITS) != pattern.translate(None, _DIGITS) * count:
        return None
    for place, character in enumerate(pattern):
        if character not in _DIGITS and joined[place::width] != pattern[place : place + 1] * count:
            return None
    padding = ("" if found[3] else ".") + "0" * (6 - len(found[3] or ""))
    return joined[:-1].replace(b" ", b"T").replace(found[4].encode(), f"{padding}Z".encode()).split(b"\n")


def moment(value: Any) -> Any:
    """One of them. Of the form alone: the 31st of February stays what it is."""
    found = _MOMENT.fullmatch(value.decode()) if isinstance(value, bytes) else None
    if found is None:
        return value
    made = _with_offset(found) if found[5] else f"{_in_utc(found)}Z"
    return value if made is None else made.encode()


def moment_or_none(value: Any) -> str | None:
    """A text as a moment, to be compared; None where it names none. Without a zone it is UTC."""
    found = _MOMENT.fullmatch(value) if isinstance(value, str) else None
    return None if found is None else _with_offset(found)


def _in_utc(found: re.Match[str]) -> str:
    clock = found[2] if len(found[2]) == 8 else f"{found[2]}:00"
    return f"{found[1]}T{clock}.{(found[3] or '')[:6].ljust(6, '0')}"


def _with_offset(found: re.Match[str]) -> str | None:
    try:
        when = datetime.fromisoformat(_in_utc(found) + "+00:00")
        if found[5]:
            offset = timedelta(hours=int(found[6]), minutes=int(found[7]))
            when = when + offset if found[5] == "-" else when - offset
    except (ValueError, OverflowError):
        return None
    return times.render(when)


def without_zone(column: Values) -> Values:
    """Moments as those of a clock that has no zone."""
    return [value.removesuffix(b"Z") if isinstance(value, bytes) else value for value in column]


def parse(column: Column, text: str) -> Any:
    """The value of a condition, as SQLite compares it.

    Raises:
        InvalidArgument: it is none of the column's kind.
    """
    if column.kind is Kind.BOOLEAN:
        return int(text == "true")
    if column.kind is not Kind.NUMBER:
        return text
    try:
        return int(text)
    except ValueError:
        try:
            return float(text)
        except ValueError:
            pass
    if column.type == "any":
        return text
    raise InvalidArgument(f'"{column.name}" is a number, and {text[:40]!r} is not', hint="correct the condition")


def size(row: Sequence[Any]) -> int:
    """About how many characters a row takes."""
    return sum(len(value) if isinstance(value, (str, bytes)) else 8 for value in row)
