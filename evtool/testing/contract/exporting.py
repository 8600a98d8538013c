"""Laws of export: one snapshot, one pass, in global order, each message once."""

from __future__ import annotations

import json

import pytest

from evtool import ndjson
from evtool.model import Selection
from evtool.store import Store
from evtool.testing.contract.helping import (
    MakeNamespace,
    OpenStore,
    append,
    everything,
    facts,
    file_of,
    lines_of,
    positions_of,
    record,
    records,
    spread,
    together,
    value,
)


def test_a_line_has_the_fields_in_their_order(store: Store) -> None:
    """`id stream type pos gpos data meta time`, compact, the time with six digits and Z."""
    store.write_message(None, "thing-1", "Happened", {"a": 1}, {"b": [2]})
    store.write_message(None, "thing-1", "Happened", None)
    first, second = file_of(store).splitlines()
    assert list(json.loads(first)) == ["id", "stream", "type", "pos", "gpos", "data", "meta", "time"]
    assert first.startswith(b'{"id":"')
    assert b',"stream":"thing-1","type":"Happened","pos":0,"gpos":1,"data":' in first
    assert b'"data":null,"meta":null,"time":"' in second
    assert len(json.loads(first)["time"]) == len("2025-07-15T10:00:00.000000Z")


def test_an_export_has_everything_in_global_order(store: Store) -> None:
    """Without a selection each message is there once, by global position."""
    order = spread(store, ["thing-1", "", "other", "-1", "a-b-c"], rounds=3)
    lines = lines_of(store)
    assert [line["stream"] for line in lines] == order
    assert positions_of(lines) == list(range(1, 16))


def test_a_line_is_the_message_that_a_read_returns(store: Store) -> None:
    """Reading and exporting agree on every field."""
    store.write_message(None, "thing-1", "Happened", '{"a": 9007199254740993}', '{"b": "é\\n"}')
    store.import_batch([record(77, "a\nb-1", 3, type='"', time="1999-12-31T23:59:59.000001Z")])
    rendered = [value(ndjson.render(message)) for message in everything(store)]
    assert lines_of(store) == rendered


def test_an_empty_namespace_exports_nothing(store: Store) -> None:
    """No messages are no blocks."""
    assert list(store.export(Selection())) == []


def test_blocks_are_whole_lines_and_say_what_they_hold(store: Store) -> None:
    """Each block ends in a newline, counts its lines, and names its last global position."""
    store.import_batch(record(n * 3, f"thing-{n % 5}", n, data={"n": "x" * 200}) for n in range(1, 3001))
    blocks = list(store.export(Selection()))
    assert len(blocks) > 1
    assert sum(block.count for block in blocks) == 3000
    for block in blocks:
        lines = block.lines.splitlines(keepends=True)
        assert len(lines) == block.count
        assert lines[-1].endswith(b"\n")
        assert json.loads(lines[-1])["gpos"] == block.last_position


@pytest.mark.parametrize(
    ("categories", "expected"),
    [
        (("thing",), [1, 4, 6, 9]),
        (("other",), [2, 7]),
        (("thing", "other"), [1, 2, 4, 6, 7, 9]),
        (("other", "thing", "thing"), [1, 2, 4, 6, 7, 9]),
        (("",), [3, 8]),
        (("bare", ""), [3, 5, 8, 10]),
        (("nothing",), []),
        (("nothing", "other"), [2, 7]),
        (("thin", "things", "Thing"), []),
    ],
)
def test_categories_select_their_messages(store: Store, categories: tuple[str, ...], expected: list[int]) -> None:
    """Messages of any of the categories, merged in global order, each once; '' is a category, and not all."""
    spread(store, ["thing-1", "other-1", "-1", "thing-2", "bare"], rounds=2)
    assert positions_of(lines_of(store, Selection(categories))) == expected


@pytest.mark.parametrize("count", [31, 32, 33, 100])
def test_any_number_of_categories_can_be_selected(store: Store, count: int) -> None:
    """However many categories there are, the order is the global one."""
    store.import_batch(record(n, f"c{n % 120}-1", n) for n in range(1, 601))
    chosen = tuple(f"c{number}" for number in range(count))
    assert positions_of(lines_of(store, Selection(chosen))) == [n for n in range(1, 601) if n % 120 < count]


def test_an_export_is_one_snapshot(store: Store, open_store: OpenStore) -> None:
    """What is written after the first line is not in it, and the writer need not wait for its end."""
    append(store, "thing-1", 5000, data={"n": "x" * 100})
    blocks = store.export(Selection())
    first = next(blocks)
    append(open_store(), "thing-1", 10)
    append(store, "thing-2", 10)
    count = first.count + sum(block.count for block in blocks)
    assert count == 5000
    assert len(lines_of(store)) == 5020


def test_an_export_does_not_keep_other_threads_from_writing(store: Store) -> None:
    """A thread can write while another has an export half read."""
    append(store, "thing-1", 5000, data={"n": "x" * 100})
    blocks = store.export(Selection())
    next(blocks)
    (written,) = together([lambda: append(store, "thing-2")])
    assert written.result() == [0]
    blocks.close()  # type: ignore[attr-defined]


def test_an_export_may_be_left_early(store: Store) -> None:
    """Closing the iterator gives everything back; the store works on."""
    append(store, "thing-1", 3000)
    for _ in range(40):
        blocks = store.export(Selection())
        next(blocks)
        blocks.close()  # type: ignore[attr-defined]
    append(store, "thing-1")
    assert len(lines_of(store)) == 3001


def test_what_is_exported_can_be_imported_to_the_same_messages(store: Store, make_namespace: MakeNamespace) -> None:
    """A namespace and its import from an export are equal, and so are their files."""
    store.import_batch(record(n * 2, f"thing-{n % 3}", n, meta={"n": n}) for n in range(1, 200))
    spread(store, ["other-1", "", "a\x01\x02-1"], rounds=3)
    other = store.in_namespace(make_namespace())
    other.import_batch(records(file_of(store)))
    assert [facts(message) for message in everything(other)] == [facts(message) for message in everything(store)]
    assert file_of(other) == file_of(store)


def test_a_part_can_be_imported_into_what_has_the_rest(store: Store, make_namespace: MakeNamespace) -> None:
    """An export by category leaves gaps, and the export of the others fills them."""
    spread(store, ["thing-1", "other-1", "third-1"], rounds=4)
    other = store.in_namespace(make_namespace())
    for chosen in (("other",), ("third", "thing")):
        other.import_batch(records(file_of(store, Selection(chosen))))
    assert everything(other) == everything(store)
