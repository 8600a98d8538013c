"""Laws of consumer groups: a category's streams are shared out by the hash of their cardinal id."""

from __future__ import annotations

import pytest

from evtool.errors import InvalidArgument, InvalidConsumerGroup
from evtool.names import cardinal_id, hash_64
from evtool.store import Store
from evtool.testing.contract.helping import append, spread

IDS = ["1", "2", "abc", "é", "", "123", "a-b-c", "x" * 300, "1+2", "1+3", "abc+", "+x",
       "0f8fad5b-d9cb-469f-a165-70867728950e"]  # fmt: skip
STREAMS = [f"thing-{id_}" for id_ in IDS]


def member_of(stream_name: str, size: int) -> int | None:
    """Who has a stream, by the rule of Message DB."""
    cardinal = cardinal_id(stream_name)
    return None if cardinal is None else abs(hash_64(cardinal)) % size


@pytest.mark.parametrize("size", [1, 2, 3, 8, 32767])
def test_every_stream_has_the_member_that_its_cardinal_id_hashes_to(store: Store, size: int) -> None:
    """The partition is MOD(@hash_64(cardinal_id(stream)), size): the same in every store, for existing consumers."""
    spread(store, STREAMS, rounds=2)
    members = {member_of(name, size) for name in STREAMS}
    got: dict[str, int] = {}
    for member in members:
        assert member is not None
        for message in store.get_category_messages(
            "thing", consumer_group_member=member, consumer_group_size=size, batch_size=-1
        ):
            assert got.setdefault(message.stream_name, member) == member
    assert got == {name: member_of(name, size) for name in STREAMS}


def test_the_partition_is_that_of_message_db(store: Store) -> None:
    """Streams that Message DB itself was asked about have the members that it named."""
    spread(store, ["someStream-123", "someStream-a"])
    # @hash_64('123') = 2318431741638412123, @hash_64('a') = 919145239626757800
    for name, hashed in (("someStream-123", 2318431741638412123), ("someStream-a", 919145239626757800)):
        for size in (2, 3, 7):
            messages = store.get_category_messages(
                "someStream", consumer_group_member=hashed % size, consumer_group_size=size
            )
            assert name in [message.stream_name for message in messages]


def test_members_share_out_everything_and_nothing_twice(store: Store) -> None:
    """All members together have each message of the streams with an id once, each in global order."""
    spread(store, STREAMS, rounds=3)
    read: list[int] = []
    for member in range(5):
        mine = [
            message.global_position
            for message in store.get_category_messages("thing", consumer_group_member=member, consumer_group_size=5)
        ]
        assert mine == sorted(mine)
        read += mine
    assert sorted(read) == list(range(1, 3 * len(STREAMS) + 1))


def test_streams_with_the_same_cardinal_id_have_the_same_member(store: Store) -> None:
    """A compound id counts up to its first plus sign, so thing-1 and thing-1+2 are consumed by the same member."""
    spread(store, ["thing-1", "thing-1+2", "thing-1+3+4"])
    for size in (2, 3, 5, 11):
        member = member_of("thing-1", size)
        assert len(store.get_category_messages("thing", consumer_group_member=member, consumer_group_size=size)) == 3


def test_a_stream_without_an_id_is_nobodys(store: Store) -> None:
    """No member of any group gets the stream that is named like its category."""
    spread(store, ["thing", "thing-1"])
    messages = store.get_category_messages("thing", consumer_group_member=0, consumer_group_size=1)
    assert [message.stream_name for message in messages] == ["thing-1"]


def test_a_page_is_full_as_long_as_there_is_more(store: Store) -> None:
    """The group is filtered before the page is cut, so only the last page may be short."""
    spread(store, [f"thing-{number}" for number in range(60)], rounds=3)
    for member in range(8):
        expected = store.get_category_messages(
            "thing", batch_size=-1, consumer_group_member=member, consumer_group_size=8
        )
        read: list[int] = []
        while len(read) < len(expected):
            page = store.get_category_messages("thing", read[-1] + 1 if read else 1, 5, None, member, 8)
            assert len(page) == min(5, len(expected) - len(read))
            read += [message.global_position for message in page]
        assert read == [message.global_position for message in expected]
        assert store.get_category_messages("thing", read[-1] + 1 if read else 1, 5, None, member, 8) == []


@pytest.mark.parametrize(
    ("member", "size", "text"),
    [
        (0, None, "Consumer group member and size must be specified"),
        (None, 1, "Consumer group member and size must be specified"),
        (0, 0, "Consumer group size must not be less than 1"),
        (-1, -1, "Consumer group size must not be less than 1"),
        (-1, 2, "Consumer group member must not be less than 0"),
        (2, 2, "Consumer group member must be less than the group size"),
        (40000, 40000, "Consumer group member must be less than the group size"),
    ],
)
def test_a_group_that_can_not_be_is_refused(store: Store, member: int | None, size: int | None, text: str) -> None:
    """Member and size come together, the size is at least 1, and members count from 0: in Message DB's words."""
    with pytest.raises(InvalidConsumerGroup) as caught:
        store.get_category_messages("thing", consumer_group_member=member, consumer_group_size=size)
    shown = ["<NULL>" if number is None else number for number in (member, size)]
    assert caught.value.code == "INVALID_CONSUMER_GROUP"
    assert caught.value.message == f"{text} (Consumer Group Member: {shown[0]}, Consumer Group Size: {shown[1]})"


def test_a_group_has_32767_members_at_the_most(store: Store) -> None:
    """A size beyond a smallint is out of range, as in Message DB, though there is a category to read or none."""
    append(store, "thing-1")
    for category in ("thing", "other"):
        store.get_category_messages(category, consumer_group_member=0, consumer_group_size=32767)
        with pytest.raises(InvalidArgument) as caught:
            store.get_category_messages(category, consumer_group_member=0, consumer_group_size=32768)
        assert caught.value.code == "INVALID_ARGUMENT"
