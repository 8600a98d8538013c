"""Laws of the imports on record: what was imported, how far it came, and who can tell."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from evtool.errors import ImportRefused
from evtool.imports import ImportPlan, OnConflict
from evtool.model import Watermark
from evtool.ndjson import Record
from evtool.store import Store
from evtool.testing.contract.helping import append, record

SKIP = ImportPlan(on_conflict=OnConflict.SKIP)
TAKEN = "0f8fad5b-d9cb-469f-a165-70867728950e"


def there() -> Record:
    """The message that is there."""
    return record(10, "thing-1", 5, id=TAKEN)


def test_an_import_is_on_record(store: Store) -> None:
    """Each import that was done has a record: when, what file, how far it came, and what it placed."""
    store.import_batch([there()])
    plan = ImportPlan(
        OnConflict.SKIP, source="events.ndjson", fingerprint="f1", options="skip", first_line=1, complete=False
    )
    store.import_batch([there(), record(30), record(12, "b-1")], plan)
    store.import_batch([record(40, "b-1", 1)], replace(plan, first_line=4, complete=True))
    first, second, third = store.import_records()
    assert (first.number, first.source, first.fingerprint, first.options) == (1, "", None, "")
    assert (first.last_line, first.imported, first.skipped) == (1, 1, 0)
    assert (first.first_position, first.last_position, first.replaced, first.complete) == (10, 10, False, True)
    assert (second.source, second.fingerprint, second.options) == ("events.ndjson", "f1", "skip")
    assert (second.last_line, second.imported, second.skipped) == (3, 2, 1)
    assert (second.first_position, second.last_position, second.complete) == (12, 30, False)
    assert (third.last_line, third.imported, third.skipped, third.complete) == (4, 1, 0, True)
    assert first.number < second.number < third.number
    for one in (first, second, third):
        assert one.imported_at.utcoffset() == timedelta(0)
        assert abs(one.imported_at - datetime.now(UTC)) < timedelta(hours=1)


def test_records_can_be_chosen(store: Store) -> None:
    """By file, and by number."""
    for number, fingerprint in enumerate(["f1", None, "f2", "f1"], 1):
        store.import_batch([record(number, pos=number)], ImportPlan(fingerprint=fingerprint, source=f"{number}"))
    first, second, *_ = store.import_records()
    assert [one.source for one in store.import_records()] == ["1", "2", "3", "4"]
    assert [one.source for one in store.import_records(fingerprint="f1")] == ["1", "4"]
    assert [one.source for one in store.import_records(first.number, "f1")] == ["4"]
    assert [one.source for one in store.import_records(second.number)] == ["3", "4"]
    assert store.import_records(fingerprint="f3") == []


def test_an_import_of_nothing_is_on_record(store: Store) -> None:
    """A batch without messages, or with none that was not there, is done like any other and placed nothing."""
    store.import_batch([], ImportPlan(source="empty", first_line=5))
    store.import_batch([there()])
    store.import_batch([there()], replace(SKIP, source="again"))
    empty, _, again = store.import_records()
    assert (empty.last_line, empty.imported, empty.first_position, empty.last_position) == (4, 0, None, None)
    assert (again.last_line, again.imported, again.skipped) == (1, 0, 1)
    assert (again.first_position, again.last_position) == (None, None)


def test_a_failed_import_is_not_on_record(store: Store) -> None:
    """The record is written in the import's own transaction."""
    store.import_batch([there()])
    with pytest.raises(ImportRefused):
        store.import_batch([record(11), there()])
    assert len(store.import_records()) == 1


def test_records_outlive_a_replacement(store: Store) -> None:
    """What was imported before stays on record; of the replacement it says so."""
    store.import_batch([there()], ImportPlan(source="before"))
    store.import_batch([record(4)], ImportPlan(replace=True, source="after"))
    assert [(one.source, one.replaced) for one in store.import_records()] == [("before", False), ("after", True)]
    numbers = [one.number for one in store.import_records()]
    assert numbers == sorted(set(numbers))


def test_the_watermark_knows_the_last_import(store: Store) -> None:
    """Its number is that of the last record, so that what was imported later can be told."""
    assert store.watermark().imports == 0
    store.import_batch([record(7)])
    store.import_batch([record(3, "other-1")])
    mark = store.watermark()
    assert mark == Watermark(7, store.import_records()[-1].number)
    append(store, "thing-1")
    assert store.watermark().imports == mark.imports
    store.import_batch([record(2, "other-2")])
    assert [one.first_position for one in store.import_records(mark.imports)] == [2]
