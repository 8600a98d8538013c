"""Names of any length, where keys end at 511 bytes, in the order of their bytes."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evtool.errors import InvalidArgument
from evtool.stores.lmdb import LMDBStore, layout
from evtool.stores.lmdb.environment import Transaction
from evtool.stores.lmdb.naming import SEGMENT
from evtool.testing.contract.helping import append, everything, file_of, record, records
from tests.lmdb.looking import check
from tests.thoroughness import examples

# Up to the end of a key, one beyond it, several segments, and as long as PostgreSQL's index allows.
LENGTHS = (1, SEGMENT - 1, SEGMENT, SEGMENT + 1, 600, 2 * SEGMENT - 1, 2 * SEGMENT, 2 * SEGMENT + 1, 2600, 100_000)

# Names that meet around the ends of segments, and names of any character.
_ends = st.builds(
    lambda size, fill, end: fill * size + end,
    st.sampled_from([0, 1, SEGMENT - 2, SEGMENT - 1, SEGMENT, SEGMENT + 1, 2 * SEGMENT - 1, 2 * SEGMENT, 1300]),
    st.sampled_from(["a", "b", "\x01"]),
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=4),
)
_names = st.lists(
    st.one_of(_ends, st.text(st.sampled_from("a-1é\U0001f600\x01"), max_size=6)), unique=True, max_size=40
)


@pytest.mark.parametrize("length", LENGTHS)
def test_a_name_of_any_length_can_be_written_and_read(store: LMDBStore, length: int) -> None:
    """Every function takes a stream, and a category, that is longer than a key."""
    category = "c" * length
    stream = f"{category}-1"
    others = [f"{category}-", f"{category}-10", f"{category}x-1", f"{'c' * (length - 1)}-1", category]
    for other in others:
        append(store, other)
    assert append(store, stream, 3) == [0, 1, 2]
    assert append(store, stream, 1) == [3]
    assert store.stream_version(stream) == 3
    assert [message.position for message in store.get_stream_messages(stream)] == [0, 1, 2, 3]
    last = store.get_last_stream_message(stream)
    assert last is not None
    assert (last.stream_name, last.position) == (stream, 3)
    of_category = {message.stream_name for message in store.get_category_messages(category)}
    assert of_category == {stream, category, f"{category}-", f"{category}-10"}
    assert [one.stream_name for one in store.list_streams(prefix=stream)] == [stream, f"{stream}0"]
    assert check(store) == len(others) + 4


@pytest.mark.parametrize("length", LENGTHS)
def test_a_name_of_any_length_can_be_exported_and_imported(store: LMDBStore, length: int) -> None:
    """An import of an export gives the same file."""
    for number in range(3):
        append(store, f"{'é' * length}-{number}", 2, metadata={"correlationStreamName": "k" * length + "-1"})
    file = file_of(store)
    other = store.in_namespace(store.create_namespace("other").name)
    other.import_batch(records(file))
    assert file_of(other) == file
    assert len(other.get_category_messages("é" * length, correlation="k" * length)) == 6
    assert check(other) == 6


def test_names_that_begin_like_each_other_are_different_streams(store: LMDBStore) -> None:
    """'a', 'a-', 'a-1' and 'a-10' have messages of their own, and so has ''."""
    names = ["", "-", "a", "a-", "a-1", "a-10", "a-1-0", "aa", "aa-1"]
    for count, name in enumerate(names, 1):
        append(store, name, count)
    assert {name: store.stream_version(name) for name in names} == {name: n for n, name in enumerate(names)}
    for count, name in enumerate(names, 1):
        if "-" in name:
            assert len(store.get_stream_messages(name)) == count
    assert {one.category: one.streams for one in store.list_categories()} == {"": 2, "a": 5, "aa": 2}
    assert {message.stream_name for message in store.get_category_messages("")} == {"", "-"}
    assert [one.stream_name for one in store.list_streams()] == sorted(names)
    check(store)


@settings(deadline=None, max_examples=examples(40), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=_names, prefix=st.one_of(st.just(""), _ends), data=st.data())
def test_streams_are_listed_in_the_order_of_their_bytes(
    store: LMDBStore, names: list[str], prefix: str, data: st.DataObject
) -> None:
    """Whatever the names, a page is what sorting their UTF-8 gives, from any name on."""
    fresh = store.in_namespace(store.create_namespace(f"names_{len(store.list_namespaces())}").name)
    fresh.import_batch(record(number, name) for number, name in enumerate(names, 1))
    ordered = sorted(names, key=str.encode)
    assert [one.stream_name for one in fresh.list_streams(limit=-1)] == ordered
    name: str = data.draw(st.sampled_from([prefix, *names]))
    prefix = name[: data.draw(st.integers(0, len(name)))]
    after = data.draw(st.one_of(st.none(), st.sampled_from([*names, prefix])))
    limit = data.draw(st.sampled_from([-1, 0, 1, 3]))
    page = [
        name
        for name in ordered
        if name.startswith(prefix) and (after is None or name.encode() > after.encode())
    ]  # fmt: skip
    found = fresh.list_streams(prefix, after, limit)
    assert [one.stream_name for one in found] == (page if limit == -1 else page[:limit])
    assert [one.category for one in fresh.list_categories()] == sorted(
        {name.split("-")[0] for name in names}, key=str.encode
    )


def test_a_category_page_does_not_touch_messages_that_it_does_not_show(store: LMDBStore) -> None:
    """What a consumer group or a correlation leaves out is told by its entry: its message may be unreadable."""
    for number in range(40):
        append(store, f"thing-{number}", metadata={"correlationStreamName": f"even-{number}"} if number % 2 else None)
    pages = [
        store.get_category_messages("thing", correlation="even"),
        store.get_category_messages("thing", consumer_group_member=1, consumer_group_size=4),
    ]
    shown = {message.global_position for page in pages for message in page}
    assert 0 < len(shown) < 40
    _break_messages(store, set(range(1, 41)) - shown)
    assert store.get_category_messages("thing", correlation="even") == pages[0]
    assert store.get_category_messages("thing", consumer_group_member=1, consumer_group_size=4) == pages[1]


def _break_messages(store: LMDBStore, positions: set[int]) -> None:
    def spoil(transaction: Transaction) -> None:
        for position in positions:
            transaction.put(layout.MESSAGES + layout.number(position), b"")

    store._open().write(spoil)


def test_the_longest_position_is_the_last_one(store: LMDBStore) -> None:
    """Positions up to that of a bigint are in order, and behind the greatest nothing can be written."""
    greatest = 2**63 - 1
    store.import_batch(
        [record(greatest, "thing-1", greatest), record(256, "thing-1", 256), record(255, "thing-1", 255)]
    )
    assert [message.position for message in store.get_stream_messages("thing-1")] == [255, 256, greatest]
    assert [message.global_position for message in everything(store)] == [255, 256, greatest]
    assert store.stream_version("thing-1") == greatest
    assert len(store.get_stream_messages("thing-1", greatest)) == 1
    for stream in ("thing-1", "thing-2"):
        with pytest.raises(InvalidArgument, match="out of range"):
            append(store, stream)
    assert check(store) == 3
