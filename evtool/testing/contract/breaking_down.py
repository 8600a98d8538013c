"""Laws of the breakdown: everything is counted once, by category, by type and by when it was written."""

from __future__ import annotations

from collections import Counter

import pytest

from evtool.model import Count, StreamInfo, Unit
from evtool.store import Store
from evtool.testing.contract.helping import append, record


def _messages(counts: tuple[Count, ...]) -> list[tuple[str, int]]:
    return [(one.name, one.messages) for one in counts]


def test_an_empty_namespace_has_nothing_to_break_down(store: Store) -> None:
    """No counts, and no error."""
    found = store.breakdown()
    assert (found.categories, found.types, found.longest_streams, found.spans, found.bytes) == ((), (), (), (), 0)


def test_every_message_is_counted_by_category_and_type(store: Store) -> None:
    """The most first, equals by name; a category without a name and any name are counted like others."""
    append(store, "b-1", 2, type="Opened")
    append(store, "b-2", 3, type="Closed")
    append(store, "", type='we"ird\n')
    append(store, "a", type="")
    found = store.breakdown()
    assert _messages(found.categories) == [("b", 5), ("", 1), ("a", 1)]
    assert _messages(found.types) == [("Closed", 3), ("Opened", 2), ("", 1), ('we"ird\n', 1)]
    assert store.statistics().messages == sum(one.messages for one in found.spans) == 7


def test_the_longest_streams_are_told(store: Store) -> None:
    """By their versions, so many as are asked for; each with the position of its last message."""
    for name, count in (("a-1", 2), ("b-1", 5), ("c-1", 3)):
        append(store, name, count)
    assert store.breakdown(longest=2).longest_streams == (StreamInfo("b-1", 4), StreamInfo("c-1", 2))
    assert store.breakdown(longest=0).longest_streams == ()
    assert len(store.breakdown().longest_streams) == 3


_TIMES = [
    "2024-12-31T23:59:59.999999Z",
    "2025-01-01T00:00:00.000000Z",
    "2025-01-01T00:00:30.000000Z",
    "2025-01-01T00:01:00.000000Z",
    "2025-01-01T05:00:00.000000Z",
    "2025-01-07T05:00:00.000000Z",
    "2025-03-07T05:00:00.000000Z",
]
_STARTS: dict[Unit, tuple[int, str]] = {
    "minute": (16, ":00Z"),
    "hour": (13, ":00:00Z"),
    "day": (10, "T00:00:00Z"),
    "month": (7, "-01T00:00:00Z"),
    "year": (4, "-01-01T00:00:00Z"),
}


@pytest.mark.parametrize("unit", list(_STARTS))
def test_messages_are_counted_by_spans_of_time(store: Store, unit: Unit) -> None:
    """Each in the span that it was written in, UTC; in the order of time; spans without any are left out."""
    # the latest first: the order is that of time, not of positions
    store.import_batch(record(number, pos=number - 1, time=time) for number, time in enumerate(reversed(_TIMES), 1))
    length, rest = _STARTS[unit]
    found = store.breakdown(unit)
    assert found.unit == unit
    assert _messages(found.spans) == sorted(Counter(time[:length] + rest for time in _TIMES).items())


@pytest.mark.parametrize(
    ("last", "unit"),
    [
        ("2025-01-01T00:59:00.000000Z", "minute"),
        ("2025-01-02T00:00:00.000000Z", "hour"),
        ("2025-02-01T00:00:00.000000Z", "day"),
        ("2026-01-01T00:00:00.000000Z", "month"),
        ("2125-01-01T00:00:00.000000Z", "year"),
    ],
)
def test_a_span_that_suits_is_taken(store: Store, last: str, unit: Unit) -> None:
    """From the first message to the last there are not more spans than can be looked at."""
    store.import_batch([record(1, time="2025-01-01T00:00:00.000000Z"), record(2, pos=1, time=last)])
    assert store.breakdown().unit == unit


def test_sizes_grow_with_what_is_written(store: Store) -> None:
    """Bytes are of data and metadata, nothing where there are none; what lies on disk is more than nothing."""
    store.write_message(None, "a-1", "T", None)
    assert store.breakdown().bytes == 0
    before = store.breakdown()
    store.write_message(None, "a-1", "Large", {"n": list(range(500))}, {"m": 1})
    after = store.breakdown()
    assert after.bytes > before.bytes
    assert {one.name for one in after.types if one.bytes} == {"Large"}
    assert after.disk >= before.disk > 0
    assert after.indexes is None or 0 < after.indexes < after.disk
