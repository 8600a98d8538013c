"""Counting what is in a namespace: of each category, of each type, and in each span of time."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from evtool import names, ndjson
from evtool.model import Count, Unit

UNITS: tuple[Unit, ...] = ("minute", "hour", "day", "month", "year")
"""The spans of time by which messages are counted, the shortest first."""

_LONGEST: dict[Unit, timedelta] = {
    "minute": timedelta(hours=1),
    "hour": timedelta(days=2),
    "day": timedelta(days=62),
    "month": timedelta(days=366 * 5),
}
# How much of 2025-07-15T10:00:00.000000Z a span of time has in common, and how it goes on.
_STARTS: dict[Unit, tuple[int, str]] = {
    "minute": (16, ":00Z"),
    "hour": (13, ":00:00Z"),
    "day": (10, "T00:00:00Z"),
    "month": (7, "-01T00:00:00Z"),
    "year": (4, "-01-01T00:00:00Z"),
}


def unit_for(first: datetime | None, last: datetime | None) -> Unit:
    """The shortest span of time of which there are not too many to be looked at."""
    between = last - first if first is not None and last is not None else timedelta()
    return next((unit for unit, longest in _LONGEST.items() if abs(between) <= longest), UNITS[-1])


class Tally:
    """Counts the lines of an export."""

    def __init__(self, unit: Unit) -> None:
        self._length, self._rest = _STARTS[unit]
        self._found: dict[str, dict[str, list[int]]] = {"category": {}, "type": {}, "span": {}}

    def add(self, lines: bytes) -> None:
        """Counts some lines."""
        for one in ndjson.decode(lines):
            size = sum(len(raw) for raw in (one.data, one.meta) if bytes(raw) != b"null")
            keys = (names.category(one.stream), one.type, one.time[: self._length])
            for counts, key in zip(self._found.values(), keys, strict=True):
                counted = counts.setdefault(key, [0, 0])
                counted[0] += 1
                counted[1] += size

    def counts(self, kind: str) -> tuple[Count, ...]:
        """What was counted by category, type or span of time, as `in_order` has it."""
        rest = self._rest if kind == "span" else ""
        return in_order(kind, (Count(name + rest, *counted) for name, counted in self._found[kind].items()))


def in_order(kind: str, counts: Iterable[Count]) -> tuple[Count, ...]:
    """Spans of time as they followed each other; the rest by the number of messages, the most first, then by name."""
    if kind == "span":
        return tuple(sorted(counts, key=lambda one: one.name))
    return tuple(sorted(counts, key=lambda one: (-one.messages, one.name.encode())))
