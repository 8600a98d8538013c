"""Moments in files and on the command line: UTC, to the microsecond, always six digits and Z."""

from __future__ import annotations

import re
from collections import deque
from datetime import UTC, datetime

from evtool.errors import InvalidArgument

# RFC 3339 with at most six digits of a second: a seventh could not be kept.
_RFC_3339 = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ](?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,6})?(?:[Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)"
)
# What evtool writes itself: the same, told more quickly.
_CANONICAL = re.compile(r"[0-9]{4}-[0-9][0-9]-[0-9][0-9]T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]\.[0-9]{6}Z")
_CANONICAL_LENGTH = len("2025-07-15T10:00:00.000000Z")
_DIGITS_AS_ZERO = bytes.maketrans(b"123456789", b"0" * 9)
_CANONICAL_SHAPE = b"0000-00-00T00:00:00.000000Z"
_TENS_OF_SIXTY = b"012345"
# where the tens of minutes and of seconds stand, and where the hour ends
_MINUTE, _SECOND = 14, 17
_HOUR_ENDS = 13


def canonical(text: str) -> str:
    """A moment of an export file, as evtool writes it: `2025-07-15T10:00:00.000000Z`.

    Args:
        text: RFC 3339, with Z or an offset.

    Raises:
        ValueError: it is something else, has no time zone, or names no real moment of the years 1 to 9999.
    """
    if _CANONICAL.fullmatch(text):
        # the form is right; this finds the 30th of February
        datetime.fromisoformat(text)
        return text
    if not _RFC_3339.fullmatch(text):
        raise ValueError("not a time of the form 2025-07-15T10:00:00.000000Z")
    try:
        return render(datetime.fromisoformat(text.upper()))
    except OverflowError as error:
        raise ValueError("a time outside of the years 1 to 9999") from error


def are_canonical(texts: list[str]) -> bool:
    """Whether all are moments as evtool writes them, told of many at once."""
    if set(map(len, texts)) != {_CANONICAL_LENGTH}:
        return False
    together = "".join(texts).encode(errors="replace")
    if together.translate(_DIGITS_AS_ZERO) != _CANONICAL_SHAPE * len(texts):
        return False
    # the form is right: what is left are numbers that are too great
    if any(together[tens::_CANONICAL_LENGTH].translate(None, _TENS_OF_SIXTY) for tens in (_MINUTE, _SECOND)):
        return False
    hours = {text[:_HOUR_ENDS] for text in texts}
    try:
        # this finds the 30th of February
        deque(map(datetime.fromisoformat, hours), maxlen=0)
    except ValueError:
        return False
    # Python's newer versions read 24:00 as the next day's midnight
    return all(hour[-2:] <= "23" for hour in hours)


def render(moment: datetime) -> str:
    """A moment with a time zone as `2025-07-15T10:00:00.000000Z`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ").rjust(_CANONICAL_LENGTH, "0")


def parse_bound(text: str) -> datetime:
    """A `--since` or `--until`: ISO 8601 or YYYY-MM-DD; without a zone it is UTC.

    Raises:
        InvalidArgument: it is neither.
    """
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise InvalidArgument(
            f"not a date or time: {text[:40]!r}", hint="write 2025-07-01 or 2025-07-01T10:00:00Z"
        ) from error
    try:
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except OverflowError as error:
        raise InvalidArgument(f"not a moment of the years 1 to 9999: {text[:40]!r}") from error
