"""Laws of names: any text is the name of a stream or a type, and is compared by its bytes."""

from __future__ import annotations

import hashlib

import pytest

from evtool.model import Selection
from evtool.names import category
from evtool.store import Store
from evtool.testing.contract.helping import MakeNamespace, append, everything, file_of, lines_of, records, spread


def long(size: int, seed: str = "") -> str:
    """A text of some bytes that doesn't compress."""
    digits = "".join(hashlib.sha256(f"{seed}{n}".encode()).hexdigest() for n in range(size // 64 + 1))
    return digits[:size]


HOSTILE = {
    "quotes": 'it\'s "quoted"-`1`',
    "backslashes": r"C:\new\table-\u0041\\",
    "control": "a\x01b\x02c\x1f\x7f-\x0b",
    "line breaks": "a\nb\rc\r\nd-1\n",
    "tabs": "\ta\t-\t",
    "spaces": "  a  -  1  ",
    "patterns": "%s %(a)s :name ? $1 {} _-%",
    "braces": '{"a":[1]}-,',
    "SQL": "'; DROP TABLE messages; ---1",
    "null": "null",
    "end of copy": "\\.-1",
    "Unicode": "größe-日本語-😀",
    "combining": "e\u0301-e\u0301",
    "right to left": "\u202eabc-\u05d0",
    "separators": "a\u2028b\u2029c-\u0085",
    "no characters": "\ufffe\uffff-\U0010ffff",
    "zero width": "\ufeff\u200b-\u200d",
    "plus": "a+b-c+d+",
    "many hyphens": "-----",
    "path": "../../etc/passwd-../x",
    "600 bytes": f"long-{long(595)}",
    "2600 bytes": f"longer-{long(2593)}",
    "a category of 600 bytes": f"{long(600)}-1",
    "a category of 2000 bytes": f"{long(2000)}-1",
}


def test_any_name_can_be_written_and_read_by_every_way(store: Store) -> None:
    """What is written under a name is found under it: by stream, category, version, last and in lists."""
    for what, name in HOSTILE.items():
        assert append(store, name, 2, type=name[:500]) == [0, 1], what
        assert store.write_message(None, name, "Happened", {}, None, 1) == 2, what
    for what, name in HOSTILE.items():
        assert store.stream_version(name) == 2, what
        last = store.get_last_stream_message(name, name[:500])
        assert last is not None, what
        assert (last.stream_name, last.type, last.position) == (name, name[:500], 1)
        if "-" in name:
            assert [message.position for message in store.get_stream_messages(name)] == [0, 1, 2], what
        assert [m.stream_name for m in store.get_category_messages(category(name))] == [name] * 3, what
        assert name in [stream.stream_name for stream in store.list_streams(name)], what
        assert [info.messages for info in store.list_categories() if info.category == category(name)] == [3], what


def test_any_name_can_be_exported_and_imported(store: Store, make_namespace: MakeNamespace) -> None:
    """A name comes out of an export file as it went in, by a category's export and by the whole."""
    for name in HOSTILE.values():
        append(store, name, type=name[:500])
    for what, name in HOSTILE.items():
        (line,) = lines_of(store, Selection(categories=(category(name),)))
        assert (line["stream"], line["type"]) == (name, name[:500]), what
    other = store.in_namespace(make_namespace())
    other.import_batch(records(file_of(store)))
    assert everything(other) == everything(store)


LOOKALIKES = [
    ["A-1", "a-1"],
    ["é-1", "e\u0301-1"],
    ["a-1", "a-1 ", " a-1", "a-1\n"],
    ["a-1", "a-01", "a-1.0"],
    ["ß-1", "ss-1"],
    ["ﬁ-1", "fi-1"],
    ["a-1", "a-1\u200b", "\ufeffa-1"],
    ["a-b-c", "a-b+c", "a+b-c"],
    [f"long-{long(600)}{end}" for end in ("", "0", "1", "-1")],
    [f"long-{long(2500)}{end}" for end in ("", "0", "1", "+1")],
    [f"{long(600)}{end}" for end in ("-1", "0-1", "1-1", "")],
    [f"{long(2000)}{end}" for end in ("-1", "0-1", "1-1", "")],
]


@pytest.mark.parametrize("alike", LOOKALIKES, ids=lambda names: names[0][:10])
def test_names_that_look_alike_are_different_streams(store: Store, alike: list[str]) -> None:
    """Names are equal only if their bytes are; nothing is folded, trimmed, normalised or cut."""
    for count, name in enumerate(alike, 1):
        assert append(store, name, count) == list(range(count))
    for count, name in enumerate(alike, 1):
        assert store.stream_version(name) == count - 1
        last = store.get_last_stream_message(name)
        assert last is not None
        assert last.stream_name == name
    assert [s.stream_name for s in store.list_streams()] == sorted(alike, key=str.encode)
    counts = {name: count for count, name in enumerate(alike, 1)}
    for info in store.list_categories():
        mine = [name for name in alike if category(name) == info.category]
        assert (info.streams, info.messages) == (len(mine), sum(counts[name] for name in mine))
        assert {m.stream_name for m in store.get_category_messages(info.category)} == set(mine)


def test_long_names_are_paged_through_like_short_ones(store: Store) -> None:
    """Streams and categories whose names share more bytes than an index key may have are kept apart and in order."""
    shared = long(700)
    names = [f"{shared}{number:02}-{shared}{other}" for number in range(6) for other in range(3)]
    order = spread(store, names, rounds=2)
    listed: list[str] = []
    while page := store.list_streams(shared, listed[-1] if listed else None, 4):
        listed += [stream.stream_name for stream in page]
    assert listed == names
    for number in range(6):
        own = f"{shared}{number:02}"
        read: list[str] = []
        position = 1
        while messages := store.get_category_messages(own, position, 4):
            read += [message.stream_name for message in messages]
            position = messages[-1].global_position + 1
        assert read == [name for name in order if category(name) == own]
