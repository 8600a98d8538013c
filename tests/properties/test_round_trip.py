"""Any messages survive the way through a file, and the reader of files takes exactly what is one."""

from __future__ import annotations

import io
import json
import uuid
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from evtool import ndjson
from evtool.compression import MAGIC_SIZE, Compression, by_content
from evtool.copying import copy_messages
from evtool.errors import ImportRefused
from evtool.exporting import export_file
from evtool.importing import import_file
from evtool.imports import ImportPlan
from evtool.model import Selection
from evtool.store import Store
from evtool.verifying import verify_file
from tests.contract.kinds import KINDS, Place
from tests.thoroughness import examples
from tests.transfer.lines import line

_SLOW = settings(
    max_examples=examples(60),
    deadline=None,
    # a failing example is not made smaller: on a server that takes minutes
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

# a name may hold any character but NUL and halves of surrogate pairs; control characters are what goes wrong
_NAMES = st.text(
    st.one_of(st.sampled_from('\x01\x02\n\r\t"\\-+ null'), st.characters(exclude_categories=["Cs"], min_codepoint=1)),
    max_size=40,
)
_TEXTS = st.text(st.characters(exclude_categories=["Cs"], min_codepoint=1))
_NUMBERS = st.one_of(
    st.integers(-(10**40), 10**40),
    st.decimals(allow_nan=False, allow_infinity=False, places=12).map(lambda number: float(number)),
)
_JSON: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), _NUMBERS, _TEXTS),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXTS, inner, max_size=4),
    max_leaves=12,
)
_MESSAGE = st.fixed_dictionaries(
    {
        "stream": _NAMES,
        "type": _NAMES,
        "data": _JSON,
        "meta": _JSON,
        "time": st.datetimes().map(lambda time: time.isoformat(timespec="microseconds") + "Z"),
        "gap": st.one_of(st.just(1), st.integers(1, 10**12)),
    }
)


def _file(messages: list[dict[str, Any]]) -> bytes:
    position = 0
    out = []
    for number, message in enumerate(messages):
        position += message["gap"]
        fields = {name: message[name] for name in ("stream", "type", "data", "meta", "time")}
        out.append(line(position, id=str(uuid.UUID(int=number + 1)), pos=number, **fields))
    return b"".join(out)


@pytest.fixture(scope="module", params=[kind.name for kind in KINDS])
def places(
    request: pytest.FixtureRequest, make_database: Callable[[], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Store, Store]]:
    """Two namespaces of a store of each kind."""
    kind = next(kind for kind in KINDS if kind.name == request.param)
    place = Place(kind, make_database, tmp_path_factory.mktemp("trip") / kind.name)
    place.store().migrate()
    yield tuple(place.store(place.store().create_namespace(name).name) for name in ("one", "other"))  # type: ignore[misc]
    place.close()


def _refill(store: Store, content: bytes) -> bytes:
    """Has a namespace hold the messages of a file and nothing else; returns its export."""
    store.import_batch(ndjson.read(io.BytesIO(content)), ImportPlan(replace=True))
    return b"".join(block.lines for block in store.export(Selection()))


@pytest.mark.thorough(but=["postgres", "sqlite-file", "lmdb"])
@_SLOW
@given(st.lists(_MESSAGE, min_size=1, max_size=12))
def test_export_import_export_gives_equal_bytes(places: tuple[Store, Store], messages: list[dict[str, Any]]) -> None:
    """What comes out goes in again and comes out as the same bytes; and it has the values that were given."""
    given_lines = _file(messages)
    first = _refill(places[0], given_lines)
    assert _refill(places[1], first) == first
    assert _values(first) == _values(given_lines)


@pytest.mark.thorough(but=["postgres"])
@_SLOW
@given(st.lists(_MESSAGE, min_size=1, max_size=12), st.sampled_from(Compression))
def test_a_file_and_a_copy_give_equal_bytes(
    places: tuple[Store, Store], tmp_path: Path, messages: list[dict[str, Any]], compression: Compression
) -> None:
    """By way of a file, compressed or not, and by a copy: the other namespace exports the same file, to the byte."""
    one, other = places
    _refill(one, _file(messages))
    out, back = tmp_path / "out", tmp_path / "back"
    export_file(one, str(out), compression=compression)
    assert by_content(out.read_bytes()[:MAGIC_SIZE]) == compression
    for bring in (
        lambda: import_file(other, str(out), ImportPlan(replace=True)),
        lambda: copy_messages(one, other, plan=ImportPlan(replace=True)),
    ):
        _refill(other, b"")
        assert bring().imported == len(messages)
        export_file(other, str(back), compression=compression)
        assert back.read_bytes() == out.read_bytes()
        assert verify_file(other, str(out), Selection()).equal


def _values(content: bytes) -> list[dict[str, Any]]:
    """Numbers as decimals: 1e20 and 100000000000000000000 are one value, and no float comes in between."""
    return [json.loads(text, parse_float=Decimal, parse_int=Decimal) for text in content.split(b"\n")[:-1]]


_FIELDS = ("id", "stream", "type", "pos", "gpos", "data", "meta", "time")


def _is_record(text: bytes) -> bool:
    """Whether Python's own parser, asked strictly, finds a record's shape in a line."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs) and set(found) & set(_FIELDS):
            found["twice"] = True
        return found

    def refuse(word: str) -> None:
        raise ValueError(word)

    try:
        record = json.loads(text.decode(), object_pairs_hook=once, parse_constant=refuse)
        json.dumps(record, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return False
    if not isinstance(record, dict) or set(record) != set(_FIELDS) or "\\u0000" in json.dumps(record):
        return False
    strings = all(isinstance(record[name], str) for name in ("id", "stream", "type", "time"))
    integers = all(type(record[name]) is int for name in ("pos", "gpos"))
    return strings and integers and 0 <= record["pos"] < 2**63 and 1 <= record["gpos"] < 2**63


@settings(max_examples=examples(1500), deadline=None)
@given(st.data())
def test_the_reader_takes_exactly_what_is_a_record(data: st.DataObject) -> None:
    """A line with some bytes changed is a record for the reader only if it is one for Python's parser, too."""
    good = bytearray(line(7, data={"a": [1, "x\\u0041", None]}, meta={"k": "é"})[:-1])
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(good) - 1))
        kind = data.draw(st.sampled_from(["change", "remove", "insert", "repeat"]))
        some = data.draw(
            st.sampled_from([b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"0", b"-", b" ", b"\x00", b"\xff"])
        )
        if kind == "change":
            good[at : at + 1] = some
        elif kind == "remove":
            del good[at : at + data.draw(st.integers(1, 4))]
        elif kind == "insert":
            good[at:at] = some
        else:
            end = data.draw(st.integers(at, len(good)))
            good[at:at] = good[at:end]
        if not good:
            return
    text = bytes(good)
    try:
        records = list(ndjson.read(io.BytesIO(text)))
    except ImportRefused as refused:
        if _is_record(text):
            # of the right shape: then it is a value that is wrong
            assert refused.code == "INVALID_TIME" or "UUID" in refused.message, (refused.message, text)
    else:
        assert _is_record(text) or not text.strip(), text
        assert len(records) == (1 if text.strip() else 0)


@settings(max_examples=examples(200), deadline=None)
@given(st.lists(st.integers(1, 400), max_size=30), st.integers(1, 1000), st.booleans())
def test_lines_are_lines_however_they_are_read(sizes: list[int], block: int, ended: bool) -> None:
    """Reading in pieces of any size finds the same lines."""
    content = b"".join(line(number, data="x" * size) for number, size in enumerate(sizes, 1))
    content = content if ended else content.removesuffix(b"\n")

    class Pieces(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(min(block, size or block))

    assert [record.gpos for record in ndjson.read(Pieces(content))] == [*range(1, len(sizes) + 1)]


@pytest.mark.parametrize("text", [b"\xef\xbb\xbf", b" ", b""])
def test_almost_nothing_is_no_message(text: bytes) -> None:
    """A file of a byte-order mark or a space has no messages, and no faults."""
    assert list(ndjson.read(io.BytesIO(text))) == []
