"""Nine round trips: exported from each store and imported into each, messages stay what they were."""

from __future__ import annotations

import functools
import gzip
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from evtool.store import Store
from evtool.testing.contract.helping import everything, facts, file_of, record, records, value
from evtool.testing.contract.json_values import VALUES
from evtool.testing.contract.moments import TIMES
from evtool.testing.contract.names import HOSTILE
from tests.conftest import EVENTS
from tests.contract.kinds import SHARED, Kind, Place

_numbers = itertools.count(1)
_names = [kind.name for kind in SHARED]

Fresh = Callable[[str], Store]


@pytest.fixture(scope="module")
def fresh(make_database: Callable[[], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fresh]:
    """A store of a kind, in a namespace that is new."""
    kinds: dict[str, Kind] = {kind.name: kind for kind in SHARED}
    places: dict[str, Place] = {}

    def make(name: str) -> Store:
        if name not in places:
            places[name] = Place(kinds[name], make_database, tmp_path_factory.mktemp("trip") / name)
            places[name].store().migrate()
        return places[name].store(places[name].store().create_namespace(f"trip_{next(_numbers)}").name)

    yield make
    for place in places.values():
        place.close()


def hostile(store: Store) -> None:
    """Writes and imports what is most likely to be changed on a trip."""
    values = list(VALUES.values())
    for number, name in enumerate([*HOSTILE.values(), "", "bare", "-"]):
        data, metadata = values[number % len(values)], values[-1 - number % len(values)]
        store.write_message(None, name, name[:300], data, metadata)
        store.write_message(None, name, "", None, b"null")
    for text in values:
        store.write_message(None, "value-1", "Happened", text, text)
    store.import_batch(
        record(10_000 + 7 * number, "imported-1", 3 * number, time=time, data=[None, number], meta={"time": time})
        for number, time in enumerate(TIMES)
    )
    store.write_message(None, "after-1", "Happened", {"correlationStreamName": "x-1"}, {"correlationStreamName": "x-1"})


def real(store: Store) -> None:
    """Imports the events of four public repositories."""
    store.import_batch(records(gzip.decompress(EVENTS.read_bytes())))


FILLINGS = {"hostile": hostile, "real": real}


@pytest.fixture(scope="module")
def filled(fresh: Fresh) -> Callable[[str, str], tuple[Store, bytes, list[Any]]]:
    """A filled store of a kind, its export, and the values of the export's lines; made once."""

    @functools.cache
    def make(name: str, filling: str) -> tuple[Store, bytes, list[Any]]:
        store = fresh(name)
        FILLINGS[filling](store)
        file = file_of(store)
        return store, file, [value(line) for line in file.splitlines()]

    return make


@pytest.mark.thorough(but=["*-hostile", "sqlite-file-postgres-real"])
@pytest.mark.parametrize("filling", FILLINGS)
@pytest.mark.parametrize("target", _names)
@pytest.mark.parametrize("source", _names)
def test_messages_survive_the_way_from_store_to_store(
    filled: Callable[[str, str], tuple[Store, bytes, list[Any]]], fresh: Fresh, source: str, target: str, filling: str
) -> None:
    """What a store exports, another imports and exports again as the same messages in the same order."""
    _, file, lines = filled(source, filling)
    other = fresh(target)
    assert other.import_batch(records(file)).imported == len(lines) > 0
    assert [value(line) for line in file_of(other).splitlines()] == lines


@pytest.mark.parametrize("target", _names)
@pytest.mark.parametrize("source", _names)
def test_stores_agree_on_every_reading_of_the_same_messages(
    filled: Callable[[str, str], tuple[Store, bytes, list[Any]]], fresh: Fresh, source: str, target: str
) -> None:
    """After a trip the other store returns equal messages, streams, categories and groups."""
    store, file, _ = filled(source, "hostile")
    other = fresh(target)
    other.import_batch(records(file))
    # no value is exported as null, and null is imported as no value: that alone differs
    null = {"null": None}
    for one, same in zip(everything(store), everything(other), strict=True):
        assert facts(same)[:5] == facts(one)[:5]
        assert value(same.data) == value(null.get(one.data or "", one.data))
        assert value(same.metadata) == value(null.get(one.metadata or "", one.metadata))
        assert same.time == one.time
    assert other.list_streams(limit=-1) == store.list_streams(limit=-1)
    assert other.list_categories() == store.list_categories()
    for info in store.list_categories():
        for member in (None, 0, 1, 2):
            group = {"consumer_group_member": member, "consumer_group_size": None if member is None else 3}
            ours, theirs = (
                [m.global_position for m in one.get_category_messages(info.category, batch_size=-1, **group)]
                for one in (store, other)
            )
            assert theirs == ours


def test_a_trip_through_all_stores_gives_equal_bytes_at_its_ends(fresh: Fresh) -> None:
    """Once PostgreSQL has put JSON into its own form, every store keeps it to the byte."""
    first = fresh(_names[0])
    hostile(first)
    file = file_of(first)
    for name in [*_names[1:], _names[0]]:
        store = fresh(name)
        store.import_batch(records(file))
        assert file_of(store) == file, name
