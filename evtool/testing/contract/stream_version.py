"""Laws of stream_version."""

from __future__ import annotations

from evtool.store import Store
from evtool.testing.contract.helping import append, record


def test_the_version_is_the_position_of_the_last_message(store: Store) -> None:
    """It moves with each write, and is the stream's own."""
    append(store, "thing-1")
    assert store.stream_version("thing-1") == 0
    append(store, "thing-1", 4)
    append(store, "thing-2", 9)
    assert store.stream_version("thing-1") == 4


def test_a_missing_stream_has_no_version(store: Store) -> None:
    """None, and not -1, where there is no such stream."""
    append(store, "thing-1")
    assert store.stream_version("thing-2") is None
    assert store.stream_version("thing") is None
    assert store.stream_version(None) is None  # type: ignore[arg-type]


def test_a_bare_category_is_a_stream_here(store: Store) -> None:
    """The name is not checked."""
    append(store, "thing", 2)
    append(store, "")
    assert store.stream_version("thing") == 1
    assert store.stream_version("") == 0


def test_an_imported_stream_has_the_version_that_it_brings(store: Store) -> None:
    """The greatest position counts, gaps or not, in whatever order it came."""
    store.import_batch([record(3, pos=7), record(5, pos=2)])
    assert store.stream_version("thing-1") == 7
    assert store.write_message(None, "thing-1", "Happened", {}, None, 7) == 8
