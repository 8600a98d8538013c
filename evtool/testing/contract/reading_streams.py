"""Laws of get_stream_messages."""

from __future__ import annotations

import pytest

from evtool.errors import ConditionNotActivated, InvalidArgument, NotAStream
from evtool.store import Store
from evtool.testing.contract.helping import MAX_BIGINT, append, spread


def test_a_stream_is_read_in_the_order_of_its_positions(store: Store) -> None:
    """All messages of the stream, in order, and none of another."""
    spread(store, ["thing-1", "thing-2", "thing-11", "other-1", "thing"], rounds=3)
    messages = store.get_stream_messages("thing-1")
    assert [message.position for message in messages] == [0, 1, 2]
    assert {message.stream_name for message in messages} == {"thing-1"}


def test_a_stream_that_is_not_there_is_empty(store: Store) -> None:
    """A missing stream has no messages; that is no error."""
    append(store, "thing-1")
    assert store.get_stream_messages("thing-2") == []


def test_reading_begins_at_the_position(store: Store) -> None:
    """The position is the first one wanted; None is 0."""
    append(store, "thing-1", 5)
    for position, first in ((0, 0), (1, 1), (4, 4), (5, 5), (MAX_BIGINT, 5), (-1, 0), (-MAX_BIGINT - 1, 0), (None, 0)):
        read = [message.position for message in store.get_stream_messages("thing-1", position)]
        assert read == list(range(first, 5)), position


def test_a_batch_has_the_size_that_was_asked_for(store: Store) -> None:
    """batch_size is the most that is returned; -1 is no limit, 0 is nothing."""
    append(store, "thing-1", 5)
    for size, count in ((0, 0), (1, 1), (3, 3), (5, 5), (6, 5), (MAX_BIGINT, 5), (-1, 5), (None, 5)):
        assert len(store.get_stream_messages("thing-1", 0, size)) == count
        assert len(store.get_stream_messages("thing-1", 2, size)) == min(count, 3)


def test_the_default_batch_is_1000(store: Store) -> None:
    """Without a batch_size, and with None, a read returns 1000 messages at the most; -1 returns all."""
    append(store, "thing-1", 1003)
    assert len(store.get_stream_messages("thing-1")) == 1000
    assert len(store.get_stream_messages("thing-1", 0, None)) == 1000
    assert len(store.get_stream_messages("thing-1", batch_size=-1)) == 1003


@pytest.mark.parametrize(("name", "shown"), [("thing", "thing"), ("", ""), (None, "<NULL>")])
def test_a_category_is_no_stream(store: Store, name: str | None, shown: str) -> None:
    """A name without a hyphen is refused in Message DB's words, even if it was written to."""
    append(store, "thing")
    with pytest.raises(NotAStream) as caught:
        store.get_stream_messages(name)  # type: ignore[arg-type]
    assert (caught.value.code, caught.value.message) == ("NOT_A_STREAM", f"Must be a stream name: {shown}")


def test_checks_come_in_order(store: Store) -> None:
    """The name is checked first, then the condition, then the batch_size."""
    with pytest.raises(NotAStream):
        store.get_stream_messages("thing", 0, -2, "true")
    with pytest.raises(ConditionNotActivated) as caught:
        store.get_stream_messages("thing-1", 0, -2, "true")
    assert caught.value.message == "Retrieval with SQL condition is not activated"
    with pytest.raises(InvalidArgument):
        store.get_stream_messages("thing-1", 0, -2)
