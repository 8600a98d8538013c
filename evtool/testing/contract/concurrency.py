"""Laws of concurrency among threads; those among processes are in `processes`."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial

import pytest

from evtool.errors import NamespaceExists, NamespaceNotFound, WrongExpectedVersion
from evtool.model import NewMessage
from evtool.store import Store
from evtool.testing.contract.helping import (
    MakeNamespace,
    OpenStore,
    append,
    everything,
    lines_of,
    positions_of,
    record,
    together,
)

WRITERS = 8
ROUNDS = 10


def test_of_eight_writers_of_a_version_exactly_one_wins(store: Store, open_store: OpenStore) -> None:
    """In each round one write goes through, and the seven others are told the version that it made."""
    stores = [open_store() if number % 2 else store for number in range(WRITERS)]
    for round_ in range(ROUNDS):
        results: list[Future[int]] = together(
            [
                lambda one=one, round_=round_: one.write_message(None, "thing-1", "Happened", {}, None, round_ - 1)  # type: ignore[misc]
                for one in stores
            ]
        )
        errors = [error for result in results if (error := result.exception()) is not None]
        assert len(errors) == WRITERS - 1
        for error in errors:
            assert isinstance(error, WrongExpectedVersion)
            assert (error.expected_version, error.stream_version) == (round_ - 1, round_)
    assert [message.position for message in store.get_stream_messages("thing-1")] == list(range(ROUNDS))


def test_eight_writers_of_a_stream_get_every_position_once(store: Store, open_store: OpenStore) -> None:
    """Writers that expect nothing wait for each other, and lose nothing."""
    stores = [open_store() if number % 2 else store for number in range(WRITERS)]
    results = together(
        [lambda one=one: [append(one, "thing-1")[0] for _ in range(ROUNDS)] for one in stores]  # type: ignore[misc]
    )
    positions = [position for result in results for position in result.result()]
    assert sorted(positions) == list(range(WRITERS * ROUNDS))
    for result in results:
        assert result.result() == sorted(result.result())


def test_batches_stay_together(store: Store) -> None:
    """A batch has consecutive positions, however many writers there are."""
    results = together(
        [
            lambda number=number: [append(store, "thing-1", 5, type=f"by-{number}") for _ in range(5)]  # type: ignore[misc]
            for number in range(WRITERS)
        ]
    )
    for result in results:
        for batch in result.result():
            assert batch == list(range(batch[0], batch[0] + 5))
    types = [message.type for message in store.get_stream_messages("thing-1", batch_size=-1)]
    assert all(len(set(types[start : start + 5])) == 1 for start in range(0, len(types), 5))


def test_eight_writers_in_different_namespaces_do_not_meet(store: Store, make_namespace: MakeNamespace) -> None:
    """Each has positions and versions of its own."""
    stores = [store.in_namespace(make_namespace()) for _ in range(WRITERS)]
    results = together(
        [
            lambda one=one: [  # type: ignore[misc]
                one.write_message(None, "thing-1", "Happened", {}, None, number - 1) for number in range(ROUNDS)
            ]
            for one in stores
        ]
    )
    for one, result in zip(stores, results, strict=True):
        assert result.result() == list(range(ROUNDS))
        assert [message.global_position for message in everything(one)] == list(range(1, ROUNDS + 1))


# How positions are read, and whether a batch is seen as a whole: what is gap-safe may end in the middle of one, and
# goes on there with the next reading.
READINGS: list[tuple[Callable[[Store], list[int]], bool]] = [
    (lambda store: [message.global_position for message in store.get_all_messages(batch_size=-1)], False),
    (lambda store: [m.global_position for m in store.get_category_messages("thing", batch_size=-1)], True),
    (lambda store: [message.position for message in store.get_stream_messages("thing-0", batch_size=-1)], True),
    (lambda store: positions_of(lines_of(store)), False),
]


def test_readers_see_a_beginning_of_what_is_written(store: Store, open_store: OpenStore) -> None:
    """While others write, all that was read stays so, and what comes later stands behind it: in all ways of reading."""
    batch = [NewMessage("Happened", data={"n": n}) for n in range(3)]
    busy = [threading.Event() for _ in range(4)]

    def write(number: int) -> None:
        one = open_store()
        try:
            for _ in range(ROUNDS):
                one.write_messages(f"{'other' if number % 2 else 'thing'}-{number}", batch)
        finally:
            busy[number].set()

    def read(reading: Callable[[Store], list[int]], whole: bool) -> None:
        one = open_store()
        seen: list[int] = []
        while not all(event.is_set() for event in busy):
            now = reading(one)
            assert now[: len(seen)] == seen
            # of a batch there is everything or nothing
            assert not whole or len(now) % len(batch) == 0
            seen = now

    calls: list[Callable[[], None]] = [partial(write, number) for number in range(len(busy))]
    calls += [partial(read, *reading) for reading in READINGS]
    for result in together(calls):
        result.result()
    assert len(everything(store)) == len(busy) * ROUNDS * len(batch)


def test_an_import_and_writers_do_not_disturb_each_other(store: Store, open_store: OpenStore) -> None:
    """Writes during an import land below or above it and are not lost; the import is whole."""
    results = together(
        [
            lambda: open_store().import_batch(record(100_000 + n, "imported-1", n) for n in range(500)).imported,
            *(lambda number=number: len([append(store, f"thing-{number}") for _ in range(20)]) for number in range(4)),
        ]
    )
    assert [result.result() for result in results] == [500, 20, 20, 20, 20]
    messages = everything(store)
    assert len(messages) == 580
    append(store, "last-1")
    assert everything(store)[-1].stream_name == "last-1"


def test_of_eight_who_make_a_namespace_one_does(store: Store, open_store: OpenStore) -> None:
    """A name is given once, however many ask for it at the same time; and of eight who delete it one does."""
    stores = [open_store() for _ in range(WRITERS)]
    name = "wanted by eight"
    made = [result.exception() for result in together([partial(one.create_namespace, name) for one in stores])]
    assert [type(error) for error in made if error is not None] == [NamespaceExists] * (WRITERS - 1)
    assert name in [one.name for one in store.list_namespaces()]
    removed = [result.exception() for result in together([partial(one.delete_namespace, name) for one in stores])]
    assert [type(error) for error in removed if error is not None] == [NamespaceNotFound] * (WRITERS - 1)


def test_whoever_uses_a_new_namespace_first_shares_it(store: Store, open_store: OpenStore) -> None:
    """Eight who write to a namespace that nobody used before all find the same one."""
    store.create_namespace("used by eight")
    stores = [store.in_namespace("used by eight"), *(open_store("used by eight") for _ in range(WRITERS - 1))]
    results = together([lambda one=one: append(one, "thing-1")[0] for one in stores])  # type: ignore[misc]
    assert sorted(result.result() for result in results) == list(range(WRITERS))
    store.delete_namespace("used by eight")


def test_a_namespace_may_be_deleted_under_those_who_use_it(store: Store) -> None:
    """Whoever writes, reads and exports while it comes and goes is told that it is gone, or done: nothing else."""
    name = "deleted under others"
    over = threading.Event()

    def come_and_go() -> None:
        try:
            for _ in range(2 * ROUNDS):
                append(store.in_namespace(store.create_namespace(name).name), "thing-1")
                store.delete_namespace(name)
        finally:
            over.set()

    def use(number: int) -> None:
        while not over.is_set():
            with contextlib.suppress(NamespaceNotFound):
                append(store.in_namespace(name), f"other-{number}")
                streams = {message.stream_name for message in everything(store.in_namespace(name))}
                streams |= {line["stream"] for line in lines_of(store.in_namespace(name))}
                assert streams <= {"thing-1", "other-0", "other-1"}

    calls: list[Callable[[], None]] = [come_and_go, partial(use, 0), partial(use, 1)]
    for result in together(calls):
        result.result()
    with pytest.raises(NamespaceNotFound):
        everything(store.in_namespace(name))
