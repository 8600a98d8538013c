"""Laws of write_message."""

from __future__ import annotations

from datetime import UTC

import pytest

from evtool.errors import InvalidMessage, MessageExists
from evtool.store import Store
from evtool.testing.contract.helping import everything, new_id, value

ID = "0f8fad5b-d9cb-469f-a165-70867728950e"


def test_the_first_position_of_a_stream_is_0_and_each_next_is_one_more(store: Store) -> None:
    """Positions of a stream count from 0 without a gap."""
    assert [store.write_message(None, "thing-1", "Happened", {}) for _ in range(4)] == [0, 1, 2, 3]
    assert store.write_message(None, "thing-2", "Happened", {}) == 0


def test_global_positions_begin_at_1_and_ascend_over_all_streams(store: Store) -> None:
    """In a namespace that nobody else writes to, global positions count from 1 in the order of the writes."""
    for name in ("thing-1", "other-1", "thing-1"):
        store.write_message(None, name, "Happened", {})
    assert [(m.stream_name, m.global_position) for m in everything(store)] == [
        ("thing-1", 1), ("other-1", 2), ("thing-1", 3),
    ]  # fmt: skip


def test_a_message_is_read_as_it_was_written(store: Store) -> None:
    """Every field that the writer gave comes back, and the store adds positions and a time in UTC."""
    position = store.write_message(ID, "thing-1", "Opened", {"a": [1, "é"]}, {"by": None})
    (message,) = store.get_stream_messages("thing-1")
    assert (message.id, message.stream_name, message.type) == (ID, "thing-1", "Opened")
    assert (message.position, message.global_position) == (position, 1)
    assert value(message.data) == {"a": [1, "é"]}
    assert value(message.metadata) == {"by": None}
    assert message.time.tzinfo is UTC


def test_a_message_without_an_id_gets_one_of_its_own(store: Store) -> None:
    """None as the id is a new UUID each time, lower case with hyphens."""
    for _ in range(3):
        store.write_message(None, "thing-1", "Happened", {})
    ids = {message.id for message in everything(store)}
    assert len(ids) == 3
    assert all(len(one) == 36 and one == one.lower() for one in ids)


@pytest.mark.parametrize(
    "spelling",
    [
        ID.upper(),
        ID.replace("-", ""),
        f"{{{ID}}}",
        f"{{{ID.replace('-', '').upper()}}}",
        "0f8f-ad5b-d9cb-469f-a165-7086-7728-950e",
        "0f8fad5b-d9cb469fa165-70867728950e",
    ],
)
def test_an_id_may_be_spelled_in_any_way_that_a_uuid_can(store: Store, spelling: str) -> None:
    """Upper case, braces, and hyphens after any four digits name the same id, which is read in one spelling."""
    store.write_message(spelling, "thing-1", "Happened", {})
    assert everything(store)[0].id == ID
    with pytest.raises(MessageExists):
        store.write_message(ID, "thing-2", "Happened", {})


@pytest.mark.parametrize("stream_name", ["thing-1", "thing-2", "other-1"])
def test_an_id_is_written_once(store: Store, stream_name: str) -> None:
    """A second write of an id is refused in whatever stream, and leaves nothing behind."""
    store.write_message(ID, "thing-1", "Happened", {})
    with pytest.raises(MessageExists) as caught:
        store.write_message(ID, stream_name, "Happened", {})
    assert (caught.value.code, caught.value.constraint) == ("MESSAGE_EXISTS", "id")
    assert len(everything(store)) == 1


def test_a_refused_write_leaves_no_gap_in_its_stream(store: Store) -> None:
    """The position that a refused message would have had goes to the next one."""
    store.write_message(ID, "thing-1", "Happened", {})
    with pytest.raises(MessageExists):
        store.write_message(ID, "thing-1", "Happened", {})
    with pytest.raises(InvalidMessage):
        store.write_message(None, "thing-1", "Happened", "{")
    assert store.write_message(new_id(), "thing-1", "Happened", {}) == 1


def test_data_and_metadata_may_be_any_json(store: Store) -> None:
    """Scalars and arrays are data like objects are; JSON's null is a value."""
    for text in ("null", "true", "-1.50", '"text"', "[]", "[1,[2]]", "{}", '{"a":{"b":[]}}', '" "'):
        store.write_message(None, "thing-1", "Happened", text, text)
        message = store.get_last_stream_message("thing-1")
        assert message is not None
        assert message.data is not None
        assert message.metadata is not None
        assert value(message.data) == value(message.metadata) == value(text)


def test_data_and_metadata_may_be_missing(store: Store) -> None:
    """None is no value, and is read as None."""
    store.write_message(None, "thing-1", "Happened", None)
    message = everything(store)[0]
    assert (message.data, message.metadata) == (None, None)


def test_text_and_bytes_are_json_and_other_values_become_json(store: Store) -> None:
    """A str or bytes is taken as JSON text, while a dict, list, number or boolean is encoded."""
    given = ['"a"', b'"a"', bytearray(b'{"a":1}'), {"a": 1}, [1, None], 1, 1.5, True]
    for data in given:
        store.write_message(None, "thing-1", "Happened", data)
    read = [value(message.data) for message in store.get_stream_messages("thing-1")]
    assert read == ["a", "a", {"a": 1}, {"a": 1}, [1, None], 1, value("1.5"), True]


def test_a_stream_needs_no_id(store: Store) -> None:
    """The empty name, a bare category, and names with an empty category or id can be written to."""
    for stream_name in ("", "thing", "-", "-1", "thing-", "thing--1", "a+b-1+2"):
        assert store.write_message(None, stream_name, "Happened", {}) == 0
        assert store.write_message(None, stream_name, "Happened", {}, None, 0) == 1
        assert store.stream_version(stream_name) == 1
    assert store.stream_version(stream_name) == 1


def test_the_type_may_be_empty(store: Store) -> None:
    """The type '' is a type."""
    store.write_message(None, "thing-1", "", {})
    assert everything(store)[0].type == ""


def test_the_order_of_writes_is_the_order_of_their_times(store: Store) -> None:
    """No message has an earlier time than one that was written before it."""
    for _ in range(20):
        store.write_message(None, "thing-1", "Happened", {})
    times = [message.time for message in everything(store)]
    assert times == sorted(times)
