r"""Which JSON a message may hold: what PostgreSQL's jsonb takes, in every store.

jsonb refuses \u0000, half a surrogate pair, bytes that are not UTF-8, and numbers beyond its type numeric. Values that
look harmless, which is nearly all, are passed after a glance; the rest is parsed.
"""

from __future__ import annotations

import json
import re
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
    if b"\\u" not in raw:
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
