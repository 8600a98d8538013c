"""Laws of import_batch's plan: what is there already, replacing, and trying out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from evtool.errors import ImportRefused
from evtool.imports import ImportPlan, ImportSummary, OnConflict
from evtool.model import Watermark
from evtool.ndjson import Record
from evtool.store import Store
from evtool.testing.contract.helping import OpenStore, append, everything, file_of, record, records

SKIP = ImportPlan(on_conflict=OnConflict.SKIP)
REPLACE = ImportPlan(replace=True)
DRY_RUN = ImportPlan(dry_run=True)

TAKEN = "0f8fad5b-d9cb-469f-a165-70867728950e"
ANOTHER = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
OTHER_TIME = "1999-12-31T23:59:59.500000Z"


def there(**fields: object) -> Record:
    """The message that is there: at 10, with a value for every field."""
    given = {"id": TAKEN, "type": "Opened", "data": {"a": 1}, "meta": {"b": 2}, **fields}
    return record(int(given.pop("gpos", 10)), str(given.pop("stream", "thing-1")), int(given.pop("pos", 5)), **given)  # type: ignore[call-overload]


# Skipping what is there


def test_what_is_there_identical_is_skipped(store: Store) -> None:
    """A message that is there already is left out and counted; the others are imported."""
    store.import_batch([there(), record(12, "other-1")])
    new = record(11, "new-1")
    assert store.import_batch([there(), new, record(15, "new-1", 1)], SKIP) == ImportSummary(2, 15, skipped=1)
    assert [message.global_position for message in everything(store)] == [10, 11, 12, 15]


def test_a_file_can_be_imported_again_and_again(store: Store) -> None:
    """Where all is there, nothing is imported, however long the file and in whatever order its lines are."""
    given = [record(n, f"thing-{n % 7}", n // 7, data={"n": n}, meta={"m": [n]}) for n in range(1, 2501)]
    store.import_batch(given)
    before = file_of(store)
    assert store.import_batch(given, SKIP) == ImportSummary(0, None, skipped=2500)
    assert store.import_batch(reversed(given), SKIP) == ImportSummary(0, None, skipped=2500)
    assert file_of(store) == before
    append(store, "thing-1")
    assert everything(store)[-1].global_position == 2501


def test_the_rest_of_a_file_is_added(store: Store) -> None:
    """Of a file that is there in part, just what is missing is imported, gaps in between included."""
    given = [record(n, f"thing-{n % 7}", n // 7) for n in range(1, 2501)]
    store.import_batch(one for one in given if one.gpos % 3 == 0)
    assert store.import_batch(given, SKIP) == ImportSummary(1667, 2500, skipped=833)
    assert [message.id for message in everything(store)] == [one.id for one in given]


def test_a_line_that_is_twice_in_the_file_is_there_already(store: Store) -> None:
    """The second of two identical lines is skipped, near the first or far behind it."""
    given = [record(n, "thing-1", n) for n in range(1, 1501)]
    lines = [given[0], *given, given[1]]
    assert store.import_batch(lines, SKIP) == ImportSummary(1500, 1500, skipped=2)
    assert len(everything(store)) == 1500


SAME = {
    "keys in another order": ('{"a":1,"b":[true,null]}', '{"b": [true, null], "a": 1}'),
    "a number written otherwise": ('{"n":[100,1.50,-0.0,1e-2]}', '{"n":[1E2,1.5,0,0.010]}'),
    "a character written otherwise": ('{"é":"\u20ac/"}', r'{"\u00e9":"\u20ac\/"}'),
    "a key that is there twice": ('{"a":2}', '{"a":1,"a":2}'),
    "space": ('{"a":[1,2]}', ' { "a" : [ 1 , 2 ] } '),
    "no value": ("null", "null"),
}


@pytest.mark.parametrize(("first", "second"), SAME.values(), ids=SAME.keys())
@pytest.mark.parametrize("field", ["data", "meta"])
def test_json_is_compared_by_its_value(store: Store, first: str, second: str, field: str) -> None:
    """Two spellings of one value are identical, as PostgreSQL's jsonb has it."""
    store.import_batch([there(**{field: first.encode()})])
    assert store.import_batch([there(**{field: second.encode()})], SKIP).skipped == 1


DIFFERENT = {
    "true is not 1": ("[true]", "[1]"),
    "false is not 0": ('{"a":false}', '{"a":0}'),
    "a text is no number": ('"1"', "1"),
    "no digit is lost": ("9007199254740993", "9007199254740992"),
    "nor behind the point": ("0.1000000000000000000000000001", "0.1"),
    "nor in an exponent": ("1e400", "1e401"),
    "null is not nothing": ('{"a":null}', "{}"),
    "an empty object is no list": ("{}", "[]"),
    "a list has an order": ("[1,2]", "[2,1]"),
    "nothing is not empty": ("null", "{}"),
}


@pytest.mark.parametrize(("first", "second"), DIFFERENT.values(), ids=DIFFERENT.keys())
@pytest.mark.parametrize("field", ["data", "meta"])
def test_json_that_differs_is_refused(store: Store, first: str, second: str, field: str) -> None:
    """No two values are taken for one."""
    store.import_batch([there(**{field: first.encode()})])
    with pytest.raises(ImportRefused) as caught:
        store.import_batch([there(**{field: second.encode()})], SKIP)
    assert caught.value.code == "POSITION_EXISTS"
    assert caught.value.message == f"global position 10 already exists, and differs in: {field}"


CHANGED = [
    ("id", {"id": ANOTHER}, "id"),
    ("stream", {"stream": "thing-2"}, "stream"),
    ("type", {"type": "Closed"}, "type"),
    ("pos", {"pos": 6}, "pos"),
    ("data", {"data": {"a": 2}}, "data"),
    ("meta", {"meta": None}, "meta"),
    ("time", {"time": "2025-07-15T10:00:00.000001Z"}, "time"),
    (
        "all",
        {"id": ANOTHER, "stream": "x-1", "type": "X", "pos": 0, "data": 1, "meta": 2, "time": OTHER_TIME},
        "id, stream, type, pos, data, meta, time",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("changed", "named"), [case[1:] for case in CHANGED], ids=[case[0] for case in CHANGED])
@pytest.mark.parametrize("before", [0, 1500])
def test_what_differs_is_refused_and_its_fields_are_named(
    store: Store, changed: dict[str, object], named: str, before: int
) -> None:
    """A message at a position that is taken by another is an error with line, value and the fields; nothing stays."""
    store.import_batch([there()])
    good = [record(1000 + n, "good-1", n) for n in range(before)]
    with pytest.raises(ImportRefused) as caught:
        store.import_batch([*good, there(**changed), record(5000, "behind-1")], SKIP)
    assert (caught.value.code, caught.value.line, caught.value.value) == ("POSITION_EXISTS", before + 1, "10")
    assert caught.value.message == f"global position 10 already exists, and differs in: {named}"
    assert caught.value.hint
    assert [message.global_position for message in everything(store)] == [10]


def test_an_id_at_another_position_is_refused(store: Store) -> None:
    """The same id elsewhere is not the same message."""
    store.import_batch([there()])
    with pytest.raises(ImportRefused) as caught:
        store.import_batch([record(3), there(gpos=11)], SKIP)
    assert (caught.value.code, caught.value.line, caught.value.value) == ("ID_EXISTS", 2, TAKEN)
    assert caught.value.message == f"a message with the id {TAKEN} already exists, and differs in: gpos"


def test_a_stream_position_of_another_message_is_refused(store: Store) -> None:
    """The same place in a stream is not the same message."""
    store.import_batch([there()])
    with pytest.raises(ImportRefused) as caught:
        store.import_batch([record(3), there(gpos=11, id=ANOTHER)], SKIP)
    assert (caught.value.code, caught.value.line, caught.value.value) == ("STREAM_POSITION_EXISTS", 2, "thing-1, 5")
    assert caught.value.message == "stream and position (thing-1, 5) already exist, and differ in: id, gpos"


def test_what_differs_within_the_file_is_refused(store: Store) -> None:
    """A line at the place of an earlier one that is not identical is an error, and names the second."""
    with pytest.raises(ImportRefused) as caught:
        store.import_batch([record(9), there(), there(), there(type="Closed")], SKIP)
    assert (caught.value.code, caught.value.line) == ("POSITION_EXISTS", 4)
    assert everything(store) == []


def test_the_first_line_that_differs_is_named(store: Store) -> None:
    """Of several lines the first is told, whatever it clashes with, and before a later line that can't be read."""
    store.import_batch([there(), record(20, "thing-1", 6)])
    with pytest.raises(ImportRefused) as caught:
        store.import_batch(
            [record(30, "x-1"), there(gpos=31), record(20, "thing-1", 6), record(40, data=b'"\\u0000"')], SKIP
        )
    assert (caught.value.code, caught.value.line) == ("ID_EXISTS", 2)
    with pytest.raises(ImportRefused) as caught:
        store.import_batch([there(), record(40, data=b'"\\u0000"'), there(gpos=31)], SKIP)
    assert (caught.value.code, caught.value.line) == ("INVALID_JSON", 2)


def test_written_messages_are_skipped_too(store: Store) -> None:
    """What write_message wrote and an export brought out is identical to itself, an upper-case id included."""
    store.write_message(TAKEN.upper(), "thing-1", "Opened", '{"n": 1.0, "é": [1e2]}', '{"correlationStreamName":"a-1"}')
    store.write_message(None, "thing-1", "Opened", None)
    store.write_message(None, "thing-2", "Opened", "null", "null")
    again = list(records(file_of(store)))
    for one in again:
        one.id = one.id.upper()
    assert store.import_batch(again, SKIP) == ImportSummary(0, None, skipped=3)


# Replacing


def test_replace_removes_everything_first(store: Store) -> None:
    """After it there is what the file holds and nothing else, though ids, positions and streams are used again."""
    store.import_batch([there(), record(20, "old-1"), record(21, "thing-1", 6)])
    summary = store.import_batch([there(gpos=20, pos=0), record(10, "thing-1", 6, id=ANOTHER)], REPLACE)
    assert summary == ImportSummary(2, 20)
    assert [(m.global_position, m.id, m.position) for m in everything(store)] == [(10, ANOTHER, 6), (20, TAKEN, 0)]
    assert [(info.stream_name, info.version) for info in store.list_streams()] == [("thing-1", 6)]
    assert [(info.category, info.streams, info.messages) for info in store.list_categories()] == [("thing", 1, 2)]
    assert store.get_stream_messages("old-1") == store.get_category_messages("old") == []
    assert store.stream_version("old-1") is None
    assert append(store, "thing-1") == [7]
    assert append(store, "old-1") == [0]
    assert everything(store)[-2].global_position > 20


def test_positions_of_what_was_replaced_are_not_used_again(store: Store, open_store: OpenStore) -> None:
    """Nothing is written below what a consumer has seen, however often, and by whatever, everything was replaced."""
    store.import_batch([record(50, "old-1"), record(60, "old-2")])
    append(store, "old-3")
    written = everything(store)[-1].global_position
    store.import_batch([record(10, "new-1")], ImportPlan(replace=True, dry_run=True))
    store.import_batch([record(10, "new-1")], REPLACE)
    store.import_batch([], REPLACE)
    store.import_batch([record(5, "new-1"), record(7, "new-2")], REPLACE)
    append(open_store(), "new-1")
    assert [m.global_position for m in everything(store)][:2] == [5, 7]
    assert everything(store)[-1].global_position > written > 60


def broken(good: list[Record]) -> Iterator[Record]:
    """Good records, and then a line that can't be read."""
    yield from good
    raise ImportRefused("INVALID_JSON", "the line is no JSON", line=len(good) + 1)


@pytest.mark.parametrize("count", [0, 1, 2500])
def test_a_replacement_that_fails_leaves_what_was_there(store: Store, count: int) -> None:
    """Removing and importing are one transaction: a fault in the file, early or late, changes nothing."""
    append(store, "thing-1", 3)
    before, on_record, mark = file_of(store), store.import_records(), store.watermark()
    with pytest.raises(ImportRefused):
        store.import_batch(broken([record(n, "new-1", n) for n in range(1, count + 1)]), REPLACE)
    with pytest.raises(ImportRefused):
        store.import_batch([*(record(n, "new-1", n) for n in range(1, count + 2)), record(1)], REPLACE)
    assert (file_of(store), store.import_records(), store.watermark()) == (before, on_record, mark)
    assert append(store, "thing-1") == [3]


def test_replacing_with_nothing_empties(store: Store) -> None:
    """An empty file replaces all with nothing."""
    append(store, "thing-1", 3)
    assert store.import_batch([], REPLACE) == ImportSummary(0, None)
    assert everything(store) == []
    assert (store.list_streams(), store.list_categories()) == ([], [])
    assert append(store, "thing-1") == [0]


def test_an_empty_namespace_can_be_replaced(store: Store) -> None:
    """There need not be anything to remove."""
    assert store.import_batch([there()], REPLACE) == ImportSummary(1, 10)
    assert store.import_batch([there()], REPLACE) == ImportSummary(1, 10)
    assert len(everything(store)) == 1


def test_other_stores_see_a_replacement(store: Store, open_store: OpenStore) -> None:
    """Whoever has the namespace open reads and writes the new messages from then on."""
    append(store, "old-1", 3)
    other = open_store()
    assert len(everything(other)) == 3
    store.import_batch([record(50, "new-1")], REPLACE)
    assert [message.global_position for message in everything(other)] == [50]
    assert append(other, "new-1") == [1]
    assert append(store, "new-1") == [2]
    assert everything(store) == everything(other)
    assert len(everything(store)) == 3


# Trying out


def test_a_dry_run_keeps_nothing(store: Store) -> None:
    """It tells what an import would do, and leaves no message, no record, and the next position as it was."""
    given = [record(n, f"new-{n % 5}", n) for n in range(10, 2510)]
    assert store.import_batch(given, DRY_RUN) == ImportSummary(2500, 2509)
    assert everything(store) == []
    assert (store.list_streams(), store.list_categories(), store.import_records()) == ([], [], [])
    assert store.watermark() == Watermark(0, 0)
    assert append(store, "new-1") == [0]
    assert everything(store)[0].global_position == 1
    assert store.import_batch(given) == ImportSummary(2500, 2509)


def test_a_dry_run_checks_against_the_namespace(store: Store) -> None:
    """What an import would refuse is refused, with the same code, line and value."""
    store.import_batch([there()])
    cases = [
        (record(10), "POSITION_EXISTS", "10"),
        (there(gpos=11), "ID_EXISTS", TAKEN),
        (there(gpos=11, id=ANOTHER), "STREAM_POSITION_EXISTS", "thing-1, 5"),
        (record(11, data=b"1e131072"), "INVALID_JSON", None),
    ]
    for bad, code, value_ in cases:
        with pytest.raises(ImportRefused) as caught:
            store.import_batch([record(3, "good-1"), bad], DRY_RUN)
        assert (caught.value.code, caught.value.line, caught.value.value) == (code, 2, value_)
    assert [message.global_position for message in everything(store)] == [10]


def test_a_dry_run_of_a_replacement_removes_nothing(store: Store) -> None:
    """What is there stays, though the file would take its places."""
    store.import_batch([there()])
    assert store.import_batch([there(type="Closed")], replace(DRY_RUN, replace=True)) == ImportSummary(1, 10)
    assert [message.type for message in everything(store)] == ["Opened"]
    assert len(store.import_records()) == 1


def test_a_dry_run_tells_what_would_be_skipped(store: Store) -> None:
    """Skipping is tried out as well."""
    store.import_batch([there()])
    plan = replace(SKIP, dry_run=True)
    assert store.import_batch([there(), record(11)], plan) == ImportSummary(1, 11, skipped=1)
    assert len(everything(store)) == 1


# Lines


@pytest.mark.parametrize("plan", [ImportPlan(), SKIP, REPLACE, DRY_RUN], ids=["plain", "skip", "replace", "dry run"])
@pytest.mark.parametrize("before", [0, 1200])
def test_errors_count_from_the_first_line(store: Store, plan: ImportPlan, before: int) -> None:
    """A batch that begins in the middle of a file names the file's lines."""
    good = [record(n, "good-1", n) for n in range(1, before + 1)]
    clash = [*good, record(7000, "x-1", 1), record(7000, "x-1", 2)]
    bad = [*good, record(7000), record(7001, data=b'"\\ud800"')]
    for given, code in ((clash, "POSITION_EXISTS"), (bad, "INVALID_JSON")):
        with pytest.raises(ImportRefused) as caught:
            store.import_batch(given, replace(plan, first_line=1001))
        assert (caught.value.code, caught.value.line) == (code, 1001 + before + 1)
    assert everything(store) == []
