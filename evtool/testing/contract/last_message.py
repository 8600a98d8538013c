"""Laws of get_last_stream_message."""

from __future__ import annotations

import pytest

from evtool.store import Store
from evtool.testing.contract.helping import append


def test_the_last_message_of_a_stream_is_the_one_with_the_greatest_position(store: Store) -> None:
    """It is the stream's own last, not the category's."""
    append(store, "thing-1", 3)
    append(store, "thing-2", 5)
    message = store.get_last_stream_message("thing-1")
    assert message is not None
    assert (message.stream_name, message.position) == ("thing-1", 2)


def test_a_missing_stream_has_none(store: Store) -> None:
    """None where there is no such stream; None as the name is no stream either."""
    append(store, "thing-1")
    assert store.get_last_stream_message("thing-2") is None
    assert store.get_last_stream_message("thing") is None
    assert store.get_last_stream_message(None) is None  # type: ignore[arg-type]


@pytest.mark.parametrize(("type_", "position"), [("A", 3), ("B", 1), ("", 2), ("a", None), ("C", None), (None, 3)])
def test_a_type_narrows_it_to_the_last_of_that_type(store: Store, type_: str | None, position: int | None) -> None:
    """'' is a type like any other; only None is no filter."""
    for written in ("A", "B", "", "A"):
        store.write_message(None, "thing-1", written, {})
    store.write_message(None, "thing-2", "C", {})
    message = store.get_last_stream_message("thing-1", type_)
    assert (message and message.position) == position


def test_the_name_is_not_checked(store: Store) -> None:
    """A bare category, and the empty name, are streams here."""
    for name in ("thing", ""):
        append(store, name, 2)
        message = store.get_last_stream_message(name)
        assert message is not None
        assert (message.stream_name, message.position) == (name, 1)


def test_a_type_that_was_last_long_ago_is_found(store: Store) -> None:
    """However many messages of other types came after it."""
    append(store, "thing-1", type="Opened")
    append(store, "thing-1", 2000)
    message = store.get_last_stream_message("thing-1", "Opened")
    assert message is not None
    assert message.position == 0
