"""Laws of get_category_messages, but for groups and correlation, which have modules of their own."""

from __future__ import annotations

import pytest

from evtool.errors import (
    ConditionNotActivated,
    InvalidArgument,
    InvalidConsumerGroup,
    InvalidCorrelation,
    NotACategory,
)
from evtool.store import Store
from evtool.testing.contract.helping import MAX_BIGINT, append, record, spread


def test_a_category_has_the_messages_of_all_its_streams_in_global_order(store: Store) -> None:
    """All streams before whose first hyphen the category stands, merged by global position."""
    spread(store, ["thing-1", "other-1", "thing-2", "things-1", "thin-1", "thing-1-2", "Thing-1"], rounds=2)
    messages = store.get_category_messages("thing")
    assert [message.stream_name for message in messages] == ["thing-1", "thing-2", "thing-1-2"] * 2
    assert [message.global_position for message in messages] == [1, 3, 6, 8, 10, 13]


def test_a_category_has_the_stream_of_its_own_name(store: Store) -> None:
    """A bare category that was written to is one of its own streams."""
    order = spread(store, ["thing", "thing-1", "thing-"])
    assert [message.stream_name for message in store.get_category_messages("thing")] == order


def test_the_empty_category_is_a_category_and_not_all(store: Store) -> None:
    """'' has the streams whose name begins with a hyphen, or is empty; None has nothing."""
    spread(store, ["thing-1", "", "-1", "-"])
    assert [message.stream_name for message in store.get_category_messages("")] == ["", "-1", "-"]
    assert store.get_category_messages(None) == []  # type: ignore[arg-type]


def test_a_colon_means_nothing(store: Store) -> None:
    """Types of a category, as in thing:command, are part of its name."""
    spread(store, ["thing-1", "thing:command-1", "thing:command+position-1"])
    assert [m.stream_name for m in store.get_category_messages("thing:command")] == ["thing:command-1"]
    assert len(store.get_category_messages("thing")) == 1


def test_a_category_that_is_not_there_is_empty(store: Store) -> None:
    """A missing category has no messages; that is no error."""
    append(store, "thing-1")
    assert store.get_category_messages("thin") == []


def test_reading_begins_at_the_global_position(store: Store) -> None:
    """The position is the first global position wanted, gaps or not; None is 1."""
    store.import_batch([record(10), record(15, "other-1"), record(20, "thing-2"), record(30, pos=1)])
    for position in (1, 10, 11, 20, 31, MAX_BIGINT, 0, -5, None):
        read = [message.global_position for message in store.get_category_messages("thing", position)]
        assert read == [one for one in (10, 20, 30) if one >= (position or 1)], position


def test_a_batch_has_the_size_that_was_asked_for(store: Store) -> None:
    """batch_size counts messages of the category only, however many others lie between."""
    spread(store, ["thing-1", "other-1", "other-2", "thing-2"], rounds=3)
    for size, count in ((0, 0), (1, 1), (4, 4), (6, 6), (7, 6), (MAX_BIGINT, 6), (-1, 6), (None, 6)):
        assert len(store.get_category_messages("thing", 1, size)) == count


def test_the_default_batch_is_1000(store: Store) -> None:
    """Without a batch_size, and with None, a read returns 1000 messages at the most; -1 returns all."""
    append(store, "thing-1", 600)
    append(store, "thing-2", 403)
    assert len(store.get_category_messages("thing")) == 1000
    assert len(store.get_category_messages("thing", 1, None)) == 1000
    assert len(store.get_category_messages("thing", batch_size=-1)) == 1003


def test_pages_put_together_are_the_category(store: Store) -> None:
    """Reading on from behind the last message, page by page, gives each message once."""
    spread(store, ["thing-1", "other-1", "thing-2", "thing-3"], rounds=5)
    read: list[int] = []
    while page := store.get_category_messages("thing", read[-1] + 1 if read else 1, 4):
        assert len(page) == 4 or len(read) + len(page) == 15
        read += [message.global_position for message in page]
    assert read == [m.global_position for m in store.get_category_messages("thing", batch_size=-1)]
    assert len(read) == 15


def test_a_stream_is_no_category(store: Store) -> None:
    """A name with a hyphen is refused in Message DB's words."""
    with pytest.raises(NotACategory) as caught:
        store.get_category_messages("thing-1")
    assert (caught.value.code, caught.value.message) == ("NOT_A_CATEGORY", "Must be a category: thing-1")


def test_checks_come_in_order(store: Store) -> None:
    """Category, correlation, group, condition, batch_size: the first that is wrong is what is told."""
    with pytest.raises(NotACategory):
        store.get_category_messages("thing-1", 1, -2, "other-1", 1, None, "true")
    with pytest.raises(InvalidCorrelation):
        store.get_category_messages("thing", 1, -2, "other-1", 1, None, "true")
    with pytest.raises(InvalidConsumerGroup):
        store.get_category_messages("thing", 1, -2, "other", 1, None, "true")
    with pytest.raises(ConditionNotActivated):
        store.get_category_messages("thing", 1, -2, "other", 0, 1, "true")
    with pytest.raises(InvalidArgument):
        store.get_category_messages("thing", 1, -2, "other", 0, 1)
