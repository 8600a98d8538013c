"""Laws of get_all_messages; that it misses nothing while others write is in `concurrency`."""

from __future__ import annotations

import pytest

from evtool.errors import InvalidArgument
from evtool.store import Store
from evtool.testing.contract.helping import MAX_BIGINT, append, everything, record, spread


def test_all_streams_are_read_in_global_order(store: Store) -> None:
    """Every message of the namespace, whatever its stream is called, by global position."""
    order = spread(store, ["thing-1", "", "other", "-1", "a-b-c", "thing-1"], rounds=2)
    assert [message.stream_name for message in store.get_all_messages()] == order
    assert [message.global_position for message in store.get_all_messages()] == list(range(1, 13))


def test_an_empty_namespace_has_no_messages(store: Store) -> None:
    """Nothing is no error."""
    assert store.get_all_messages() == []


def test_reading_begins_at_the_global_position(store: Store) -> None:
    """The position is the first one wanted, gaps or not; None is 1."""
    store.import_batch([record(5), record(9, "other-1"), record(12, pos=1)])
    for position in (1, 5, 6, 12, 13, MAX_BIGINT, 0, -1, None):
        read = [message.global_position for message in store.get_all_messages(position)]
        assert read == [one for one in (5, 9, 12) if one >= (position or 1)], position


def test_a_batch_has_the_size_that_was_asked_for(store: Store) -> None:
    """batch_size is the most that is returned; -1 is no limit, 0 is nothing."""
    spread(store, ["thing-1", "other-1"], rounds=2)
    for size, count in ((0, 0), (1, 1), (4, 4), (5, 4), (MAX_BIGINT, 4), (-1, 4), (None, 4)):
        assert len(store.get_all_messages(1, size)) == count


def test_a_batch_size_below_minus_1_is_refused(store: Store) -> None:
    """-1 is the only negative size."""
    with pytest.raises(InvalidArgument):
        store.get_all_messages(1, -2)


def test_the_default_batch_is_1000(store: Store) -> None:
    """Without a batch_size a read returns 1000 messages at the most; -1 returns all."""
    append(store, "thing-1", 1003)
    assert len(store.get_all_messages()) == 1000
    assert len(everything(store)) == 1003


def test_a_message_is_the_same_by_whatever_way_it_is_read(store: Store) -> None:
    """Stream, category, all and last return equal messages."""
    store.write_message(None, "thing-1", "Happened", {"a": 1}, {"b": 2})
    (message,) = store.get_all_messages()
    assert store.get_stream_messages("thing-1") == [message]
    assert store.get_category_messages("thing") == [message]
    assert store.get_last_stream_message("thing-1") == message
