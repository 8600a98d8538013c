"""Laws of import_batch: messages at the positions that they bring, all or none."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from evtool.errors import ImportRefused
from evtool.imports import ImportSummary
from evtool.ndjson import Record
from evtool.store import Store
from evtool.testing.contract.helping import MAX_BIGINT, append, everything, lines_of, new_id, record, records, value


def test_messages_keep_their_positions_and_gaps(store: Store) -> None:
    """Global and stream positions are those of the file; gaps stay gaps."""
    summary = store.import_batch([record(3, pos=4), record(10, "other-1"), record(11, pos=9)])
    assert summary == ImportSummary(3, 11)
    assert [(m.global_position, m.stream_name, m.position) for m in everything(store)] == [
        (3, "thing-1", 4), (10, "other-1", 0), (11, "thing-1", 9),
    ]  # fmt: skip


def test_every_field_is_kept(store: Store) -> None:
    """Id, type, data, metadata and time are those of the file."""
    given = record(
        7, "thing-9", 2, type="Opened", data={"a": [1]}, meta={"b": None}, time="2001-02-03T04:05:06.789012Z"
    )
    store.import_batch([given])
    (line,) = lines_of(store)
    assert line == {
        "id": given.id, "stream": "thing-9", "type": "Opened", "pos": 2, "gpos": 7,
        "data": {"a": [1]}, "meta": {"b": None}, "time": "2001-02-03T04:05:06.789012Z",
    }  # fmt: skip


def test_the_next_write_lands_above_everything_imported(store: Store) -> None:
    """Gaps are not filled: the sequence stands at the greatest position at least."""
    append(store, "thing-1")
    store.import_batch([record(100, "other-1"), record(50, "other-2")])
    append(store, "thing-1")
    assert [message.global_position for message in everything(store)] == [1, 50, 100, 101]


def test_an_import_below_what_is_there_lowers_nothing(store: Store) -> None:
    """Messages may fill gaps; the next write still lands above the greatest."""
    store.import_batch([record(100)])
    store.import_batch([record(40, "other-1")])
    append(store, "thing-2")
    assert [message.global_position for message in everything(store)] == [40, 100, 101]


def test_lines_may_come_in_any_order(store: Store) -> None:
    """Neither global nor stream positions need to ascend in a file."""
    assert store.import_batch([record(9, pos=3), record(2, pos=5), record(5, pos=0)]) == ImportSummary(3, 9)
    assert [(m.global_position, m.position) for m in everything(store)] == [(2, 5), (5, 0), (9, 3)]
    assert [message.position for message in store.get_stream_messages("thing-1")] == [0, 3, 5]


def test_an_empty_import_does_nothing(store: Store) -> None:
    """No messages are no error, and move no position."""
    assert store.import_batch([]) == ImportSummary(0, None)
    append(store, "thing-1")
    assert everything(store)[0].global_position == 1


def test_imported_streams_go_on(store: Store) -> None:
    """Writes continue an imported stream behind its last position, and ids of both kinds are unique together."""
    given = record(5, pos=3)
    store.import_batch([given])
    assert store.write_message(None, "thing-1", "Happened", {}, None, 3) == 4


def test_an_upper_case_id_is_the_same_id(store: Store) -> None:
    """Ids are read in lower case, and clash so."""
    given = record(1, id=new_id().upper())
    store.import_batch([given])
    assert everything(store)[0].id == given.id.lower()
    with pytest.raises(ImportRefused):
        store.import_batch([record(2, "other-1", id=given.id.lower())])


def test_the_greatest_position_can_be_imported(store: Store) -> None:
    """Positions are bigints, to the last."""
    store.import_batch([record(MAX_BIGINT, pos=MAX_BIGINT)])
    assert [(m.global_position, m.position) for m in everything(store)] == [(MAX_BIGINT, MAX_BIGINT)]


TAKEN = "0f8fad5b-d9cb-469f-a165-70867728950e"
CLASHES = [
    ("POSITION_EXISTS", record(10, "new-1"), "10", "global position 10 already exists"),
    ("ID_EXISTS", record(99, "new-1", id=TAKEN), TAKEN, f"a message with the id {TAKEN} already exists"),
    (
        "STREAM_POSITION_EXISTS",
        record(99, "thing-1", 5),
        "thing-1, 5",
        "stream and position (thing-1, 5) already exist",
    ),
]


@pytest.mark.parametrize(("code", "bad", "value_", "text"), CLASHES, ids=[clash[0] for clash in CLASHES])
@pytest.mark.parametrize("before", [0, 2, 1500])
def test_a_clash_with_the_store_is_refused_with_line_and_value(
    store: Store, code: str, bad: Record, value_: str, text: str, before: int
) -> None:
    """Each constraint has its own code, and names the line and the value; nothing of the file is imported."""
    store.import_batch([record(10, "thing-1", 5, id=TAKEN)])
    good = [record(1000 + n, "good-1", n) for n in range(before)]
    with pytest.raises(ImportRefused) as caught:
        store.import_batch([*good, bad, record(5000, "behind-1")])
    assert (caught.value.code, caught.value.line, caught.value.value) == (code, before + 1, value_)
    assert caught.value.message == text
    assert caught.value.hint
    assert [message.global_position for message in everything(store)] == [10]


@pytest.mark.parametrize(("code", "bad", "value_", "text"), CLASHES, ids=[clash[0] for clash in CLASHES])
def test_a_clash_within_the_file_is_refused_the_same(
    store: Store, code: str, bad: Record, value_: str, text: str
) -> None:
    """The second of two lines that clash is the one that is named."""
    lines = [record(9, "good-1"), record(10, "thing-1", 5, id=TAKEN), record(11, "good-1", 1), bad]
    with pytest.raises(ImportRefused) as caught:
        store.import_batch(lines)
    assert (caught.value.code, caught.value.line, caught.value.value) == (code, 4, value_)
    assert caught.value.message == text
    assert everything(store) == []


@pytest.mark.parametrize("between", [0, 3, 8000])
@pytest.mark.parametrize("there", [False, True], ids=["empty", "filled"])
@pytest.mark.parametrize(("code", "bad"), [clash[:2] for clash in CLASHES[1:]], ids=[clash[0] for clash in CLASHES[1:]])
def test_the_later_line_is_named_though_its_position_is_the_smaller(
    store: Store, code: str, bad: Record, there: bool, between: int
) -> None:
    """What comes second in the file is at fault, in whatever order the lines come."""
    if there:
        append(store, "there-1")
    before = everything(store)
    fillers = [record(50_000 - n, "good-1", n) for n in range(between)]
    with pytest.raises(ImportRefused) as caught:
        store.import_batch([record(60_000, "thing-1", 5, id=TAKEN), *fillers, bad, record(98, "behind-1")])
    assert (caught.value.code, caught.value.line) == (code, between + 2)
    assert everything(store) == before


def test_the_first_constraint_that_breaks_is_told(store: Store) -> None:
    """A message that is there already, as it is, clashes by its global position first, then its id."""
    given = record(10, "thing-1", 5, id=TAKEN)
    store.import_batch([given])
    with pytest.raises(ImportRefused) as caught:
        store.import_batch([given])
    assert caught.value.code == "POSITION_EXISTS"
    with pytest.raises(ImportRefused) as caught:
        store.import_batch([record(11, "thing-1", 5, id=TAKEN)])
    assert caught.value.code == "ID_EXISTS"


BAD = {
    r"\u0000": rb'{"a":"\u0000"}',
    "half a surrogate pair": rb'"\ud800"',
    "1e131072": b'{"a":[1e131072]}',
    "1e-16384": b"1e-16384",
}


@pytest.mark.parametrize("raw", BAD.values(), ids=BAD.keys())
@pytest.mark.parametrize("field", ["data", "meta"])
def test_a_value_that_no_store_takes_is_refused(store: Store, raw: bytes, field: str) -> None:
    """JSON that jsonb refuses is INVALID_JSON with its line, whether the parser or the store finds it."""
    bad = record(2, pos=1, data=raw) if field == "data" else record(2, pos=1, meta=raw)
    with pytest.raises(ImportRefused) as caught:
        store.import_batch([record(1), bad, record(3, pos=2)])
    assert (caught.value.code, caught.value.line) == ("INVALID_JSON", 2)
    assert everything(store) == []


def test_a_fault_in_the_file_leaves_nothing(store: Store) -> None:
    """When a later line can't be read, the earlier ones are not imported either."""
    store.import_batch([record(1, "before-1")])
    good = b"".join(
        b'{"id":"%s","stream":"s-1","type":"T","pos":%d,"gpos":%d,"data":{},"meta":null,'
        b'"time":"2025-07-15T10:00:00.000000Z"}\n' % (new_id().encode(), n, n + 10)
        for n in range(1500)
    )
    with pytest.raises(ImportRefused) as caught:
        store.import_batch(records(good + b"no JSON\n"))
    assert (caught.value.code, caught.value.line) == ("INVALID_JSON", 1501)
    assert len(everything(store)) == 1
    assert append(store, "after-1") == [0]


def test_whatever_stops_the_records_stops_the_import(store: Store) -> None:
    """An error of the source passes through as it is, and nothing stays; not even the sequence moves for readers."""

    class SourceError(Exception):
        pass

    def broken() -> Iterator[Record]:
        yield record(500)
        raise SourceError

    with pytest.raises(SourceError):
        store.import_batch(broken())
    assert everything(store) == []
    append(store, "thing-1")
    assert len(everything(store)) == 1


def test_an_import_is_a_stream_of_any_length(store: Store) -> None:
    """Records are taken one by one, from an iterator."""
    summary = store.import_batch(record(n, f"thing-{n % 7}", n // 7, data={"n": n}) for n in range(1, 3001))
    assert summary == ImportSummary(3000, 3000)
    assert [value(m.data)["n"] for m in everything(store)] == list(range(1, 3001))
