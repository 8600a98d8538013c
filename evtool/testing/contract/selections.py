"""Laws of selections: each filter, and any of them together, choose what a plain look at each message would."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from evtool import times
from evtool.errors import InvalidArgument, InvalidCorrelation, InvalidMessage
from evtool.model import MAX_POSITION, Message, Selection, Watermark
from evtool.ndjson import Record
from evtool.store import Ability, Store
from evtool.testing.contract.helping import append, everything, lines_of, positions_of, record, spread

START = datetime(2025, 7, 1, tzinfo=UTC)
STREAMS = ("order-1", "order-2", "order", "", "-1", "account-1", "account:command-1", "account", "Order-1", "a\x01\n-1")
TYPES = ("Placed", "Paid", "", "placed", 'Odd"\\Type')
METADATA: tuple[object, ...] = (
    None,
    {},
    {"correlationStreamName": "order-1"},
    {"correlationStreamName": "order"},
    {"correlationStreamName": "account-7-x"},
    {"correlationStreamName": ""},
    {"correlationStreamName": "-1"},
    {"correlationStreamName": None},
    {"correlationStreamName": 5},
    {"other": "order-1"},
    ["order-1"],
)


def mixture(count: int = 330) -> Iterator[Record]:
    """Messages of all sorts. Positions have gaps; positions in streams, and times, go up and down against them."""
    for n in range(count):
        yield record(
            3 + n * 2,
            STREAMS[n * 7 % len(STREAMS)],
            count - n,
            type=TYPES[n * 3 % len(TYPES)],
            meta=METADATA[n * 5 % len(METADATA)],
            time=times.render(START + timedelta(seconds=n * 37 % 100, microseconds=n % 2)),
        )


def is_chosen(message: Message, selection: Selection) -> bool:
    """Whether a selection has a message, said as plainly as can be."""
    metadata = json.loads(message.metadata or "null")
    name = metadata.get("correlationStreamName") if isinstance(metadata, dict) else None
    correlation = None if name is None else str(name).split("-")[0]
    return (
        (not selection.categories or message.stream_name.split("-")[0] in selection.categories)
        and (not selection.streams or message.stream_name in selection.streams)
        and (not selection.types or message.type in selection.types)
        and (selection.correlation is None or correlation == selection.correlation)
        and (selection.since is None or message.time >= selection.since)
        and (selection.until is None or message.time < selection.until)
        and (selection.from_position is None or message.global_position >= selection.from_position)
        and (selection.to_position is None or message.global_position <= selection.to_position)
    )


def expected(store: Store, selection: Selection) -> list[int]:
    """The positions of the messages that a selection has, by a plain look at each."""
    return [message.global_position for message in everything(store) if is_chosen(message, selection)]


SELECTIONS = {
    "streams": Selection(streams=("order-1", "account", "order-1")),
    "a stream without a hyphen": Selection(streams=("order",)),
    "the stream without a name": Selection(streams=("",)),
    "streams that are not there": Selection(streams=("order-3", "ORDER-1", "order-")),
    "types": Selection(types=("Paid", 'Odd"\\Type', "Paid")),
    "the type without a name": Selection(types=("",)),
    "a correlation": Selection(correlation="order"),
    "the correlation without a name": Selection(correlation=""),
    "a correlation by a number": Selection(correlation="5"),
    "a correlation that is not there": Selection(correlation="Order"),
    "a time on": Selection(since=START + timedelta(seconds=50)),
    "up to a time": Selection(until=START + timedelta(seconds=50)),
    "one microsecond": Selection(since=START, until=START + timedelta(microseconds=1)),
    "no time at all": Selection(since=START, until=START),
    "a position on": Selection(from_position=333),
    "up to a position": Selection(to_position=333),
    "one position": Selection(from_position=333, to_position=333),
    "a gap": Selection(from_position=334, to_position=334),
    "any position": Selection(from_position=0, to_position=MAX_POSITION),
    "behind the last": Selection(from_position=100_000),
    "categories and streams": Selection(("account",), streams=("account-1", "order-1")),
    "categories and types": Selection(("order", "account:command"), types=("Placed",)),
    "categories and a correlation": Selection(("order", ""), correlation="account"),
    "streams and a correlation": Selection(streams=("order-1", "", "order-3"), correlation="order"),
    "types and positions": Selection(types=("Paid",), from_position=50, to_position=500),
    "streams, types and times": Selection(
        streams=("order-1", "-1"), types=("Paid", "Placed"), since=START, until=START + timedelta(seconds=60)
    ),
    "everything at once": Selection(
        categories=("order", "Order"),
        streams=("order-1", "order-2", "Order-1"),
        types=("Placed", "Paid", "placed"),
        correlation="order",
        since=START + timedelta(seconds=1),
        until=START + timedelta(seconds=99),
        from_position=10,
        to_position=640,
    ),
}


@pytest.mark.parametrize("name", SELECTIONS)
def test_a_selection_chooses_what_a_plain_look_would(store: Store, name: str) -> None:
    """Exactly the messages of which all that is given holds, each once, in global order."""
    store.import_batch(mixture())
    selection = SELECTIONS[name]
    assert positions_of(lines_of(store, selection)) == expected(store, selection)


def test_the_selections_of_these_laws_choose_something(store: Store) -> None:
    """Those that are not meant to be empty have messages, and lack some: else the law above would say little."""
    store.import_batch(mixture())
    empty = {name for name, selection in SELECTIONS.items() if not expected(store, selection)}
    assert empty == {
        "streams that are not there",
        "a correlation that is not there",
        "no time at all",
        "a gap",
        "behind the last",
    }
    assert {name for name, one in SELECTIONS.items() if len(expected(store, one)) == 330} == {"any position"}


@pytest.mark.parametrize("count", [31, 32, 33, 100])
def test_any_number_of_categories_goes_with_any_filter(store: Store, count: int) -> None:
    """However many categories there are, other filters hold as well."""
    store.import_batch(
        record(n, f"c{n % 120}-{n % 3}", n, type=f"T{n % 4}", meta={"correlationStreamName": f"o{n % 5}"})
        for n in range(1, 601)
    )
    some = tuple(f"c{number}" for number in range(count))
    for selection in (
        Selection(some, types=("T1",)),
        Selection(some, correlation="o2"),
        Selection(some, streams=tuple(f"c{n}-{n % 3}" for n in range(110))),
        Selection(some, from_position=100, to_position=400),
    ):
        assert positions_of(lines_of(store, selection)) == expected(store, selection)


def test_an_earlier_watermark_ends_an_export(store: Store) -> None:
    """With a watermark, what came behind it is left out, and an export can so go on to the end that it began with."""
    spread(store, ["order-1", "account-1"], rounds=5)
    watermark = store.watermark()
    spread(store, ["order-1", "account-1"], rounds=5)
    assert watermark == Watermark(10, 0)
    for selection in (
        Selection(),
        Selection(("order",)),
        Selection(streams=("order-1",)),
        Selection(types=("Happened",)),
    ):
        blocks = list(store.export(selection, watermark))
        assert blocks[-1].last_position <= 10
        rest = positions_of(lines_of(store, selection))
        assert sum(block.count for block in blocks) == len([position for position in rest if position <= 10])


def test_more_jobs_give_the_same_lines_or_are_refused(store: Store) -> None:
    """`jobs` changes no byte; a store that can't says so by its name."""
    store.import_batch(mixture())
    if Ability.PARALLEL_EXPORT in store.abilities:
        again = b"".join(block.lines for block in store.export(Selection(), jobs=4))
        assert again == b"".join(block.lines for block in store.export(Selection()))
        return
    with pytest.raises(InvalidArgument) as refused:
        list(store.export(Selection(), jobs=2))
    assert refused.value.code == "NOT_ABLE"
    assert len(list(store.export(Selection(), jobs=1))) == 1


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"correlation": "order-1"}, InvalidCorrelation),
        ({"from_position": -1}, InvalidArgument),
        ({"to_position": MAX_POSITION + 1}, InvalidArgument),
        ({"from_position": 2, "to_position": 1}, InvalidArgument),
        ({"since": START, "until": START - timedelta(seconds=1)}, InvalidArgument),
        ({"since": START.replace(tzinfo=None)}, InvalidArgument),
    ],
)
def test_a_selection_that_could_only_be_a_mistake_is_refused(
    fields: dict[str, object], error: type[InvalidArgument]
) -> None:
    """Before any store sees it."""
    with pytest.raises(error):
        Selection(**fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("field", ["categories", "streams", "types"])
@pytest.mark.parametrize("text", ["a\0b", "a\ud800b"])
def test_names_that_no_store_can_hold_are_refused(store: Store, field: str, text: str) -> None:
    """NUL, and half a surrogate pair, are refused as they are when they are written."""
    append(store, "order-1")
    with pytest.raises(InvalidMessage):
        list(store.export(Selection(**{field: (text,)})))  # type: ignore[arg-type]
