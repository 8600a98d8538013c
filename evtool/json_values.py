r"""Which JSON a message may hold: what PostgreSQL's jsonb takes, in every store.

jsonb refuses \u0000, half a surrogate pair, bytes that are not UTF-8, and numbers beyond its type numeric. Values that
look harmless, which is nearly all, are passed after a glance; the rest is parsed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from evtool.errors import InvalidMessage

# PostgreSQL's numeric: so many digits before the decimal point, and so many behind it.
_MAX_ADJUSTED_EXPONENT = 131071
_MAX_SCALE = 16383
_MAX_EXPONENT = 2**31 // 2

# So short a literal without an exponent is within all limits.
_HARMLESS_CHARACTERS = 1000

# For a glance: with an exponent of three digits at the most, fewer digits than these keep within both limits.
_PERHAPS_TOO_LARGE = re.compile(r"[0-9][eE][+-]?[0-9]{4}|[0-9.]{15000}")
_PERHAPS_TOO_DEEP = 500

# The characters that jsonb refuses are written so; perhaps it is just what follows a backslash that is meant as such.
_PERHAPS_NO_TEXT = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")

# For a glance at many values at once: digits become 0, e and E become e, what may stand behind a number becomes a
# comma, and signs are left out. Then a number beyond numeric is a long one, or has an exponent of four digits and more.
_GLANCE = bytes.maketrans(b"0123456789eE,]} \t\r\n", b"0000000000ee,,,,,,,")
_SIGNS = b"+-"
_PERHAPS_BEYOND = re.compile(rb"e0000+,")
_PERHAPS_LONG = 7500

_syntax = msgspec.json.Decoder(msgspec.Raw)


def check(text: str) -> str:
    """Returns JSON text that a message may hold, on one line.

    Raises:
        InvalidMessage: it is no JSON, or none that jsonb takes.
    """
    try:
        raw = text.encode()
        _syntax.decode(raw)
    except UnicodeEncodeError as error:
        raise _invalid("data and metadata must be valid UTF-8") from error
    except msgspec.DecodeError as error:
        raise _invalid("data and metadata must be JSON") from error
    except RecursionError as error:
        raise _invalid("the JSON is nested too deeply") from error
    found = problem(raw)
    if found is not None:
        raise _invalid(f"the JSON {found}")
    if "\n" in text or "\r" in text:
        # between tokens, where it means nothing; in a file it would end the line
        return msgspec.json.format(text, indent=-1)
    return text


def check_odd(text: str) -> None:
    """For a store whose server checks JSON: refuses what the server would take, or refuse as something else.

    Raises:
        InvalidMessage: the JSON is nested too deeply for the other stores, or holds a number beyond numeric.
    """
    if text.count("[") + text.count("{") > _PERHAPS_TOO_DEEP or _PERHAPS_TOO_LARGE.search(text):
        check(text)


def problem(raw: bytes) -> str | None:
    """What jsonb would not take in a value, or None.

    Args:
        raw: well-formed JSON in valid UTF-8.

    Returns:
        Words that continue "the JSON …".
    """
    if not _perhaps_no_text(raw):
        try:
            _values.decode(raw)
        except (ValueError, RecursionError):
            # a number too long for Python, or the trouble that is looked for: what follows tells them apart
            pass
        else:
            return None
    try:
        # numbers as text: none must be rounded, and a long one would be slow to convert
        value: Any = json.loads(raw, parse_int=_number, parse_float=_number)
    except _NumberTooLargeError:
        return "holds a number beyond PostgreSQL's numeric"
    except RecursionError:
        return "is nested too deeply"
    text = json.dumps(value, ensure_ascii=False)
    if "\\u0000" in text.replace("\\\\", ""):
        return "holds the character \\u0000"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "holds half of a surrogate pair"
    return None


def _perhaps_no_text(raw: bytes) -> bool:
    r"""Whether JSON may hold the character \u0000 or half of a surrogate pair: a quick look, wrong on the safe side."""
    return b"\\" in raw and _PERHAPS_NO_TEXT.search(raw) is not None


def first_problem(values: Sequence[bytes]) -> tuple[int, str] | None:
    """The first of some values that jsonb would not take.

    Args:
        values: well-formed JSON in valid UTF-8.

    Returns:
        Its index and what `problem` says of it; None if all are fine.
    """
    if are_harmless(values):
        return None
    for number, value in enumerate(values):
        found = problem(value)
        if found is not None:
            return number, found
    return None


def are_harmless(values: Sequence[bytes | msgspec.Raw]) -> bool:
    """Whether some well-formed values are certainly in valid UTF-8, and certainly no problem."""
    # what is nested so deeply, or such a long number, doesn't go into fewer bytes
    longest = max(map(len, values), default=0)
    if longest >= _PERHAPS_LONG:
        return False
    if longest > 2 * _PERHAPS_TOO_DEEP and any(map(_is_perhaps_too_deep, values)):
        return False
    text = b",".join([*values, b""])
    if _perhaps_no_text(text):
        return False
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    glance = text.translate(_GLANCE, _SIGNS)
    return b"e0000" not in glance or not _PERHAPS_BEYOND.search(glance)


def _is_perhaps_too_deep(value: bytes | msgspec.Raw) -> bool:
    if len(value) <= 2 * _PERHAPS_TOO_DEEP:
        return False
    raw = bytes(value)
    return raw.count(b"[") + raw.count(b"{") > _PERHAPS_TOO_DEEP


def same(one: bytes, other: bytes) -> bool:
    """Whether two texts are the same value, as jsonb has it: 1e2 is 100.0, and the order of keys means nothing.

    Args:
        one: JSON that `problem` finds nothing in.
        other: likewise.
    """
    if one == other:
        return True
    try:
        alike = bool(_decimals.decode(one) == _decimals.decode(other))
        # to Python, true and false are 1 and 0
        exactly = alike and any(word in text for word in (b"true", b"false") for text in (one, other))
    except (ValueError, RecursionError):
        # an integer too long for Python, or more depth than msgspec goes to
        exactly = True
    if not exactly:
        return alike
    try:
        return bool(_exactly(one) == _exactly(other))
    except RecursionError:
        # so deep that Python can't tell, and spelled differently: rather told of than passed over
        return False


_decimals = msgspec.json.Decoder(float_hook=Decimal)


def _exactly(raw: bytes) -> object:
    """A value whose numbers are tuples of a decimal: exact, and never equal to true or false, as 1 and 0 would be."""

    def number(text: str) -> tuple[Decimal]:
        return (Decimal(text),)

    value: object = json.loads(raw, parse_int=number, parse_float=number)
    return value


class _NumberTooLargeError(ValueError):
    pass


def _number(text: str) -> str:
    try:
        value = Decimal(text)
    except InvalidOperation as error:
        raise _NumberTooLargeError from error
    exponent = value.as_tuple().exponent
    if not isinstance(exponent, int) or -exponent > _MAX_SCALE or abs(exponent) > _MAX_EXPONENT:
        raise _NumberTooLargeError
    if value and value.adjusted() > _MAX_ADJUSTED_EXPONENT:
        raise _NumberTooLargeError
    return text


def _float(text: str) -> None:
    """Looks at a number with a point or an exponent; what it would be as a float is of no interest."""
    if len(text) > _HARMLESS_CHARACTERS or "e" in text or "E" in text:
        _number(text)


_values = msgspec.json.Decoder(float_hook=_float)


def _invalid(message: str) -> InvalidMessage:
    return InvalidMessage(message, hint="every store takes the JSON that PostgreSQL's jsonb takes")
