"""Laws of write_messages: several messages at the end of one stream, all or none."""

from __future__ import annotations

import pytest

from evtool.errors import InvalidMessage, MessageExists, WrongExpectedVersion
from evtool.model import NewMessage
from evtool.store import Store
from evtool.testing.contract.helping import append, everything, new_id, value


def test_a_batch_continues_its_stream_in_order(store: Store) -> None:
    """A batch has the next positions, in its own order, and its global positions ascend with them."""
    store.write_message(None, "thing-1", "First", {})
    batch = [NewMessage(f"Type{n}", data={"n": n}, metadata={"m": n}) for n in range(5)]
    assert store.write_messages("thing-1", batch) == [1, 2, 3, 4, 5]
    written = store.get_stream_messages("thing-1", 1)
    assert [message.type for message in written] == [message.type for message in batch]
    assert [value(message.data) for message in written] == [message.data for message in batch]
    assert [value(message.metadata) for message in written] == [message.metadata for message in batch]
    assert [message.global_position for message in written] == [2, 3, 4, 5, 6]


def test_a_batch_that_opens_a_stream_begins_at_0(store: Store) -> None:
    """The first message of a new stream is at 0 in a batch, too."""
    assert append(store, "thing-1", 3) == [0, 1, 2]


def test_a_large_batch_is_written_whole(store: Store) -> None:
    """A batch has no limit of its own."""
    assert append(store, "thing-1", 2500) == list(range(2500))
    assert store.stream_version("thing-1") == 2499


def test_an_empty_batch_writes_nothing(store: Store) -> None:
    """No messages are no stream and no global position."""
    assert store.write_messages("thing-1", []) == []
    assert store.stream_version("thing-1") is None
    store.write_message(None, "thing-1", "Happened", {})
    assert everything(store)[0].global_position == 1


def test_an_empty_batch_checks_the_expected_version_all_the_same(store: Store) -> None:
    """A writer that expects another version is told so even if it has nothing to write."""
    assert store.write_messages("thing-1", [], expected_version=-1) == []
    with pytest.raises(WrongExpectedVersion):
        store.write_messages("thing-1", [], expected_version=0)


def test_the_expected_version_holds_for_the_batch_as_a_whole(store: Store) -> None:
    """The version is compared once, before the first message of the batch."""
    append(store, "thing-1", 3)
    assert store.write_messages("thing-1", [NewMessage("A"), NewMessage("B")], expected_version=2) == [3, 4]
    with pytest.raises(WrongExpectedVersion) as caught:
        store.write_messages("thing-1", [NewMessage("C")], expected_version=2)
    assert (caught.value.expected_version, caught.value.stream_version) == (2, 4)


@pytest.mark.parametrize(
    "bad",
    [
        NewMessage("Bad", data="{"),
        NewMessage("Bad", metadata="nothing"),
        NewMessage("Bad", id="no uuid"),
        NewMessage(None),  # type: ignore[arg-type]
        NewMessage("Bad", data=float("nan")),
    ],
    ids=["data", "metadata", "id", "type", "nan"],
)
def test_one_message_that_is_refused_refuses_the_batch(store: Store, bad: NewMessage) -> None:
    """A batch with a message that can't be written leaves nothing, wherever it stands."""
    for place in range(3):
        batch = [NewMessage("Good"), NewMessage("Good")]
        batch.insert(place, bad)
        with pytest.raises(InvalidMessage):
            store.write_messages("thing-1", batch)
    assert everything(store) == []


def test_an_id_that_is_taken_refuses_the_batch(store: Store) -> None:
    """A batch with an id of a written message, or the same id twice, leaves nothing."""
    taken = new_id()
    store.write_message(taken, "other-1", "Happened", {})
    for batch in ([NewMessage("A"), NewMessage("B", id=taken)], [NewMessage("A", id=new_id())] * 2):
        with pytest.raises(MessageExists) as caught:
            store.write_messages("thing-1", batch)
        assert caught.value.constraint == "id"
    assert store.stream_version("thing-1") is None
