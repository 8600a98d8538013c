"""Laws of time: UTC, to the microsecond."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from evtool.model import Selection
from evtool.store import Store
from evtool.testing.contract.helping import (
    MakeNamespace,
    append,
    everything,
    file_of,
    lines_of,
    positions_of,
    record,
    records,
)

TIMES = [
    "2025-07-15T10:00:00.123456Z",
    "2025-07-15T10:00:00.000001Z",
    "2025-07-15T10:00:00.100000Z",
    "2025-07-15T10:00:00.000000Z",
    "1969-12-31T23:59:59.999999Z",
    "0001-01-01T00:00:00.000000Z",
    "9999-12-31T23:59:59.999999Z",
    "2000-02-29T00:00:00.500000Z",
]


def test_a_time_keeps_its_microseconds(store: Store) -> None:
    """An imported time is read and exported to the digit, however early or late."""
    store.import_batch(record(number + 1, pos=number, time=time) for number, time in enumerate(TIMES))
    assert [message.time for message in everything(store)] == [datetime.fromisoformat(time) for time in TIMES]
    assert {message.time.tzinfo for message in everything(store)} == {UTC}
    assert [line["time"] for line in lines_of(store)] == TIMES


def test_the_time_of_a_write_survives_export_and_import(store: Store, make_namespace: MakeNamespace) -> None:
    """A store's own times have no more digits than a file keeps."""
    for _ in range(10):
        store.write_message(None, "thing-1", "Happened", {})
    other = store.in_namespace(make_namespace())
    other.import_batch(records(file_of(store)))
    assert [message.time for message in everything(other)] == [message.time for message in everything(store)]


def test_a_batch_is_one_moment(store: Store) -> None:
    """The time is the transaction's, so all messages of a batch have the same."""
    append(store, "thing-1", 20)
    assert len({message.time for message in everything(store)}) == 1


BOUNDS = [
    (None, None, [1, 2, 3, 4]),
    ("2025-07-15T10:00:00.000001+00:00", None, [2, 3, 4]),
    ("2025-07-15T12:00:00.000001+02:00", None, [2, 3, 4]),
    (None, "2025-07-15T10:00:00.000001+00:00", [1]),
    ("2025-07-15T10:00:00+00:00", "2025-07-15T10:00:00.000002+00:00", [1, 2]),
    ("2025-07-15T10:00:00.000002+00:00", "2025-07-15T10:00:00.000002+00:00", []),
    ("2025-07-16T00:00:00+00:00", None, [4]),
    ("2026-01-01T00:00:00+00:00", None, []),
    ("0001-01-01T00:00:00+00:00", "9999-12-31T00:00:00+00:00", [1, 2, 3, 4]),
]


@pytest.mark.parametrize("categories", [(), ("thing",), ("thing", "other")])
def test_since_is_inclusive_and_until_is_exclusive(store: Store, categories: tuple[str, ...]) -> None:
    """An export takes messages from `since` on and before `until`, to the microsecond, with categories or without."""
    times = ["2025-07-15T10:00:00.000000Z", "2025-07-15T10:00:00.000001Z", "2025-07-15T10:00:00.000002Z",
             "2025-07-16T00:00:00.000000Z"]  # fmt: skip
    store.import_batch(record(number + 1, pos=number, time=time) for number, time in enumerate(times))
    for since, until, expected in BOUNDS:
        first, end = (datetime.fromisoformat(bound) if bound else None for bound in (since, until))
        assert positions_of(lines_of(store, Selection(categories, since=first, until=end))) == expected, (since, until)
