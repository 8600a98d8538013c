"""Lines of a file come out in global order, whatever is held in memory at once."""

from __future__ import annotations

import io
import resource
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import astuple

from evtool import ndjson, sorting
from evtool.errors import FileError
from tests.thoroughness import examples
from tests.transfer.lines import line


@settings(max_examples=examples(200), deadline=None)
@given(st.lists(st.tuples(st.integers(1, 60), st.text(max_size=300)), max_size=40), st.integers(1, 5000))
def test_records_come_in_global_order_with_their_lines(messages: list[tuple[int, str]], run_bytes: int) -> None:
    """As a stable sort in memory has them, with every field; however many runs that takes."""
    messages = [(gpos, text.replace("\0", "")) for gpos, text in messages]
    file = b"".join(line(gpos, stream=text, type=text, data={"text": text}) for gpos, text in messages)
    expected = sorted(enumerate(_records(file), 1), key=lambda pair: pair[1].gpos)
    found = sorting.in_global_order(_records(file), run_bytes=run_bytes)
    assert [(number, *astuple(record)) for number, record in found] == [
        (number, *astuple(record)) for number, record in expected
    ]


@pytest.mark.parametrize("size", [1, 100, 1 << 20])
def test_a_line_longer_than_what_is_read_at_once_is_whole(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces of a run are smaller than its lines."""
    monkeypatch.setattr(sorting, "_MERGE_BYTES", 0)
    monkeypatch.setattr(sorting, "_LEAST_BYTES", 4096)
    file = line(2, data="x" * size) + line(1, data="y" * size) + line(3)
    found = [(number, bytes(record.data)) for number, record in sorting.in_global_order(_records(file), run_bytes=1)]
    assert found == [(2, b'"%b"' % (b"y" * size)), (1, b'"%b"' % (b"x" * size)), (3, b'{"amount":3}')]


def test_no_room_for_the_temporary_file_is_an_error_that_helps() -> None:
    """A full disk is told as such, with the variable that names another."""
    file = b"".join(line(gpos, data="x" * 1000) for gpos in range(200, 0, -1))
    with _largest_file(50_000), pytest.raises(FileError, match="temporary file") as refused:
        list(sorting.in_global_order(_records(file), run_bytes=10_000))
    assert "TMPDIR" in (refused.value.hint or "")


def _records(file: bytes) -> Iterator[ndjson.Record]:
    return ndjson.read(io.BytesIO(file))


@contextmanager
def _largest_file(size: int) -> Iterator[None]:
    """No file of this process may grow beyond a size."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
