"""Laws of optimistic locking: a writer says which version of the stream it has seen."""

from __future__ import annotations

import pytest

from evtool.errors import InvalidMessage, MessageExists, WrongExpectedVersion
from evtool.model import ANY_VERSION, NO_STREAM
from evtool.store import Store
from evtool.testing.contract.helping import append, everything, new_id


def test_the_right_version_is_written(store: Store) -> None:
    """-1 opens a stream; afterwards the last position is the version."""
    assert store.write_message(None, "thing-1", "Happened", {}, None, NO_STREAM) == 0
    assert store.write_message(None, "thing-1", "Happened", {}, None, 0) == 1
    assert store.write_message(None, "thing-1", "Happened", {}, None, 1) == 2


def test_no_expected_version_is_any(store: Store) -> None:
    """None is compared with nothing."""
    append(store, "thing-1", 3)
    assert store.write_message(None, "thing-1", "Happened", {}, None, ANY_VERSION) == 3


@pytest.mark.parametrize(
    ("messages", "expected", "version"),
    [(0, 0, -1), (0, 5, -1), (0, -2, -1), (1, -1, 0), (3, 1, 2), (3, 3, 2), (3, -5, 2)],
)
def test_a_wrong_version_is_refused_with_both_versions(
    store: Store, messages: int, expected: int, version: int
) -> None:
    """The refusal names the stream, what was expected and what is there, in Message DB's words; nothing is written."""
    append(store, "thing-1", messages)
    with pytest.raises(WrongExpectedVersion) as caught:
        store.write_message(None, "thing-1", "Happened", {}, None, expected)
    error = caught.value
    assert error.code == "WRONG_EXPECTED_VERSION"
    assert (error.stream_name, error.expected_version, error.stream_version) == ("thing-1", expected, version)
    assert error.message == f"Wrong expected version: {expected} (Stream: thing-1, Stream Version: {version})"
    assert len(everything(store)) == messages


def test_other_streams_of_the_category_do_not_count(store: Store) -> None:
    """The version is the stream's own."""
    append(store, "thing-1", 3)
    assert store.write_message(None, "thing-2", "Happened", {}, None, NO_STREAM) == 0


def test_a_conflict_spends_no_global_position(store: Store) -> None:
    """After a wrong version the next message has the next global position."""
    append(store, "thing-1")
    with pytest.raises(WrongExpectedVersion):
        store.write_message(None, "thing-1", "Happened", {}, None, 7)
    append(store, "thing-1")
    assert [message.global_position for message in everything(store)] == [1, 2]


def test_the_version_is_checked_before_the_id_and_the_type(store: Store) -> None:
    """A message with a bad or taken id, or without a type, at a wrong version is refused for the version."""
    taken = new_id()
    store.write_message(taken, "thing-1", "Happened", {})
    for id_, type_ in (("no uuid", "Happened"), (taken, "Happened"), (None, None)):
        with pytest.raises(WrongExpectedVersion):
            store.write_message(id_, "thing-1", type_, {}, None, 5)  # type: ignore[arg-type]
    with pytest.raises(InvalidMessage):
        store.write_message("no uuid", "thing-1", "Happened", {}, None, 0)
    with pytest.raises(MessageExists):
        store.write_message(taken, "thing-1", "Happened", {}, None, 0)


def test_json_is_checked_before_the_version(store: Store) -> None:
    """Text that is no JSON is refused as such, whatever version is expected."""
    with pytest.raises(InvalidMessage):
        store.write_message(None, "thing-1", "Happened", "{", None, 5)
