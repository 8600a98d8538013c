"""Laws of list_streams and list_categories."""

from __future__ import annotations

from typing import Any

import pytest

from evtool.errors import InvalidArgument
from evtool.model import CategoryInfo, StreamInfo
from evtool.store import Store
from evtool.testing.contract.helping import append, record, spread

# In the order of their UTF-8, which is neither that of UTF-16 nor that of any language.
NAMES = ["", "\x01-1", " ", "%-1", "-", "-1", "A-1", "B-1", "_-1", "a-1", "a-10", "a-2", "a-2-1", "ab", "a\u0301-1",
         "z-1", "é-1", "ﬁ-1", "\uffff-1", "😀-1"]  # fmt: skip


def listed(store: Store, prefix: str = "", after: str | None = None, limit: int = 1000) -> list[str]:
    """The names of list_streams."""
    return [stream.stream_name for stream in store.list_streams(prefix, after, limit)]


def test_streams_come_in_the_order_of_their_bytes(store: Store) -> None:
    """Each stream once, in the order of UTF-8, in every store."""
    spread(store, NAMES[::-1], rounds=2)
    assert listed(store) == sorted(NAMES, key=str.encode)


def test_a_stream_is_listed_with_its_version(store: Store) -> None:
    """The version is the position of the stream's last message."""
    append(store, "thing-1", 3)
    append(store, "other-1")
    store.import_batch([record(100, "far-1", 41)])
    assert store.list_streams() == [StreamInfo("far-1", 41), StreamInfo("other-1", 0), StreamInfo("thing-1", 2)]


def test_an_empty_namespace_lists_nothing(store: Store) -> None:
    """No streams and no categories."""
    assert store.list_streams() == []
    assert store.list_categories() == []


PREFIXES = ["a", "a-", "a-1", "A", "", "é", "%", "_", " ", "\uffff", "😀", "z-1x", "ab", "\U0010ffff"]


def test_a_prefix_is_taken_as_it_stands(store: Store) -> None:
    """Streams whose name begins so, to the letter: no pattern, no folding of case, no normal form."""
    spread(store, NAMES)
    for prefix in PREFIXES:
        assert listed(store, prefix) == [name for name in sorted(NAMES, key=str.encode) if name.startswith(prefix)]


def test_no_prefix_and_no_limit_are_their_defaults(store: Store) -> None:
    """None is the empty prefix, and 1000 streams, as NULL is in SQL."""
    spread(store, NAMES)
    given: Any = None
    assert store.list_streams(given, None, given) == store.list_streams()
    assert len(store.list_streams()) == len(NAMES)


def test_after_leaves_out_a_name_and_all_before_it(store: Store) -> None:
    """Only names behind `after`, which need not be a stream and need not have the prefix."""
    spread(store, NAMES)
    for prefix in ("", "a", "z"):
        for after in ("", "A-1", "a-1", "a-2", "zz", "nothing", "é-1", "😀-1", None):
            expected = [
                name for name in sorted(NAMES, key=str.encode)
                if name.startswith(prefix) and (after is None or name.encode() > after.encode())
            ]  # fmt: skip
            assert listed(store, prefix, after) == expected, (prefix, after)


def test_a_limit_is_the_most_that_is_listed(store: Store) -> None:
    """-1 is no limit, 0 is nothing."""
    spread(store, NAMES)
    for limit, count in ((0, 0), (1, 1), (5, 5), (len(NAMES), len(NAMES)), (1000, len(NAMES)), (-1, len(NAMES))):
        assert listed(store, limit=limit) == sorted(NAMES, key=str.encode)[:count]


def test_the_default_limit_is_1000_and_below_minus_1_is_refused(store: Store) -> None:
    """As with batch_size."""
    store.import_batch(record(n, f"thing-{n:04}") for n in range(1, 1004))
    assert len(store.list_streams()) == 1000
    assert len(store.list_streams(limit=-1)) == 1003
    with pytest.raises(InvalidArgument):
        store.list_streams(limit=-2)


def test_pages_put_together_are_all_streams(store: Store) -> None:
    """The last name of a page as `after` gives the next one, to the end."""
    spread(store, NAMES)
    names: list[str] = []
    while page := listed(store, after=names[-1] if names else None, limit=3):
        names += page
    assert names == sorted(NAMES, key=str.encode)


def test_categories_are_counted(store: Store) -> None:
    """Each category once, by its bytes, with its streams and messages; the bare name is one of its streams."""
    spread(store, ["b-1", "a-1", "a-2", "a", "a-1", "", "-x", "é-1", "a:command-1"])
    assert store.list_categories() == [
        CategoryInfo("", 2, 2),
        CategoryInfo("a", 3, 4),
        CategoryInfo("a:command", 1, 1),
        CategoryInfo("b", 1, 1),
        CategoryInfo("é", 1, 1),
    ]


def test_imported_streams_are_listed_and_counted(store: Store) -> None:
    """It makes no difference how a message came in."""
    append(store, "a-1", 2)
    store.import_batch([record(10, "a-1", 5), record(11, "a-2", 3), record(12, "b", 0)])
    assert store.list_streams() == [StreamInfo("a-1", 5), StreamInfo("a-2", 3), StreamInfo("b", 0)]
    assert store.list_categories() == [CategoryInfo("a", 2, 4), CategoryInfo("b", 1, 1)]
