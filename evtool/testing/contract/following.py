"""Laws of following: each message once and in order, from where it was asked for, whatever comes meanwhile."""

from __future__ import annotations

from itertools import islice

import pytest

from evtool.errors import InvalidArgument, NamespaceNotFound, NotACategory, NotAStream, StoreError
from evtool.following import ALL, Followed, follow
from evtool.model import Message
from evtool.store import Store
from evtool.testing.contract.helping import MAX_BIGINT, MakeNamespace, OpenStore, append, everything, record, spread

SOON = 0.01
"""Seconds between two looks, where nobody is to wait for a second."""


def found(store: Store, followed: Followed = ALL, *, position: int | None = None, last: int = 0) -> list[Message]:
    """What is there to be followed now."""
    return list(follow(store, followed, position=position, last=last, until_idle=0))


def test_what_comes_is_followed(store: Store, open_store: OpenStore) -> None:
    """Messages that another writes later come as they are, each once, in global order."""
    other = open_store()
    messages = follow(store, position=1, interval=SOON)
    seen: list[Message] = []
    for number in range(3):
        spread(other, [f"a-{number}", "b-1"])
        seen += islice(messages, 2)
    messages.close()
    assert seen == everything(store)
    assert [message.stream_name for message in seen] == ["a-0", "b-1", "a-1", "b-1", "a-2", "b-1"]


@pytest.mark.parametrize("last", [0, 1, 3, 10])
def test_the_last_messages_come_first(store: Store, last: int) -> None:
    """So many of those that are there, the youngest; then what comes."""
    spread(store, ["a-1", "b-1"], rounds=4)
    assert found(store, last=last) == everything(store)[-last or 8 :]
    assert found(store, Followed(category="b"), last=last) == store.get_category_messages("b")[-last or 8 :]
    assert found(store, Followed(stream="a-1"), last=last) == store.get_stream_messages("a-1")[-last or 8 :]
    messages = follow(store, last=last, interval=SOON)
    list(islice(messages, min(last, 8)))
    if last:
        append(store, "c-1")
        assert next(messages).stream_name == "c-1"
    messages.close()


def test_the_last_messages_are_found_far_behind_the_end(store: Store) -> None:
    """A category that has been silent for long, and a stream of it, with more than a page of others behind them."""
    append(store, "rare-1", 3)
    append(store, "often-1", 2500)
    rare = store.get_category_messages("rare")
    assert found(store, Followed(category="rare"), last=2) == rare[1:]
    assert found(store, Followed(category="rare"), last=9) == rare
    assert found(store, Followed(category="none"), last=2) == []
    assert [one.global_position for one in found(store, last=1500)] == list(range(1004, 2504))


def test_an_empty_namespace_is_followed_from_its_first_message(store: Store) -> None:
    """Nothing there is no error, and what comes first is not missed; nor in a stream or category that isn't there."""
    for followed in (ALL, Followed(stream="a-1"), Followed(category="a")):
        assert found(store, followed, last=10) == []
    unwritten = iter(["a-1"])

    def write() -> None:
        for stream in unwritten:
            append(store, stream)

    messages = follow(store, Followed(category="a"), interval=SOON, waiting=write)
    assert next(messages).stream_name == "a-1"
    messages.close()


def test_a_position_is_where_it_begins(store: Store) -> None:
    """The position itself is wanted; in a stream it is the stream's; below the first is the first."""
    spread(store, ["a-1", "b-1"], rounds=3)
    assert found(store, position=4) == everything(store)[3:]
    assert found(store, position=0) == everything(store)
    assert found(store, Followed(category="b"), position=4) == store.get_category_messages("b")[1:]
    assert found(store, Followed(stream="b-1"), position=1) == store.get_stream_messages("b-1")[1:]
    assert found(store, position=MAX_BIGINT) == []


def test_more_than_a_page_comes_whole(store: Store) -> None:
    """Pages are the follower's own affair."""
    append(store, "a-1", 2001)
    for followed in (ALL, Followed(stream="a-1"), Followed(category="a")):
        assert found(store, followed, position=0) == everything(store)


def test_a_consumer_groups_share_and_a_correlation(store: Store) -> None:
    """Of a category, what a member or a correlation has; together the members have all."""
    spread(store, [f"a-{number}" for number in range(8)])
    append(store, "a-9", metadata={"correlationStreamName": "process-1"})
    shares = [
        found(store, Followed(category="a", consumer_group_member=member, consumer_group_size=2), position=1)
        for member in (0, 1)
    ]
    assert all(shares)
    assert sorted((one for share in shares for one in share), key=lambda one: one.global_position) == everything(store)
    [correlated] = found(store, Followed(category="a", correlation="process"), position=1)
    assert correlated.stream_name == "a-9"


def test_what_can_not_be_followed_is_refused(store: Store) -> None:
    """The errors are those of the reads, and two things at once are none."""
    with pytest.raises(NotAStream):
        found(store, Followed(stream="a"), position=0)
    with pytest.raises(NotACategory):
        found(store, Followed(category="a-1"))
    with pytest.raises(InvalidArgument):
        Followed(stream="a-1", category="a")
    with pytest.raises(InvalidArgument):
        Followed(correlation="a")
    with pytest.raises(NamespaceNotFound):
        found(store.in_namespace("nowhere"))


def test_an_import_above_what_was_read_is_followed_and_one_below_is_told(store: Store) -> None:
    """Above it is like any write. Below it nobody could hand it on in order: it is said, and what follows comes."""
    store.import_batch([record(10)])
    told: list[str] = []
    messages = follow(store, position=1, interval=SOON, tell=told.append)
    assert next(messages).global_position == 10
    store.import_batch([record(20, pos=1)])
    assert next(messages).global_position == 20
    assert told == []
    store.import_batch([record(5, "thing-2"), record(30, pos=2)])
    assert next(messages).global_position == 30
    append(store, "thing-1")
    assert next(messages).global_position == 31
    messages.close()
    [line] = told
    assert "placed messages at the global positions 5 to 30" in line


def test_what_an_import_places_into_a_page_while_it_is_read_is_not_missed(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between a page and the look at what is on record: what filled a hole in the page comes late, and once."""
    store.import_batch([record(10), record(20, pos=1)])
    read = store.get_all_messages
    late = iter([[record(15, "thing-2"), record(25, pos=2)]])

    def read_and_import(*arguments: int) -> list[Message]:
        page = read(*arguments)
        for records in late:
            store.import_batch(records)
        return page

    monkeypatch.setattr(store, "get_all_messages", read_and_import)
    told: list[str] = []
    messages = follow(store, position=1, interval=SOON, tell=told.append)
    assert [one.global_position for one in islice(messages, 4)] == [10, 20, 15, 25]
    append(store, "thing-1")
    assert next(messages).global_position == 26
    messages.close()
    assert told == []


def test_an_import_below_the_beginning_is_nobodys_business(store: Store) -> None:
    """Whoever asks for what comes from a position on is not told of what is placed below it."""
    store.import_batch([record(10)])
    told: list[str] = []
    messages = follow(store, position=10, interval=SOON, tell=told.append)
    assert next(messages).global_position == 10
    store.import_batch([record(5, "thing-2")])
    append(store, "thing-1")
    assert next(messages).global_position == 11
    append(store, "thing-1")
    assert next(messages).global_position == 12
    messages.close()
    assert told == []


def test_a_namespace_that_is_made_anew_is_not_followed(store: Store, make_namespace: MakeNamespace) -> None:
    """Its positions begin anew, so that going on would pass messages over: it is an error; and so if it is gone."""
    name = make_namespace()
    own = store.in_namespace(name)
    append(own, "a-1", 3)
    messages = follow(own, position=1, interval=SOON)
    assert len(list(islice(messages, 3))) == 3
    store.delete_namespace(name)
    store.create_namespace(name)
    append(own, "a-1", 5)
    with pytest.raises(StoreError, match="made anew"):
        next(messages)
    messages = follow(own, position=1, interval=SOON)
    next(messages)
    store.delete_namespace(name)
    with pytest.raises(NamespaceNotFound):
        list(messages)
    store.create_namespace(name)
