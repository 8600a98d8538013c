"""The records of a file in global order, whatever order its lines have, in constant memory.

Runs of records are sorted in memory and written to one temporary file, then merged. Most files need none of it, because
exports are in order.
"""

from __future__ import annotations

import contextlib
import heapq
import os
import tempfile
from collections.abc import Iterable, Iterator
from typing import IO

from evtool import ndjson
from evtool.errors import FileError
from evtool.ndjson import Record

RUN_BYTES = 1 << 23
"""The lines that are sorted in memory at once; with what Python makes of them it is three times that."""

_MERGE_BYTES = 1 << 23
"""What is held of all runs together while they are merged."""
_WRITTEN_LINES = 500
_LEAST_BYTES = 1 << 12

_Numbered = tuple[int, int, bytes]
"""Global position, line number, line."""


def in_global_order(records: Iterable[Record], *, run_bytes: int = RUN_BYTES) -> Iterator[tuple[int, Record]]:
    """Records by global position, each with the number of its line; of equal positions the earlier line is first.

    Args:
        records: of a file; all are read before the first is yielded.
        run_bytes: what to hold in memory.

    Raises:
        FileError: there is no room for the temporary file.
    """
    with contextlib.ExitStack() as stack:
        file: IO[bytes] | None = None
        runs: list[tuple[int, int]] = []
        held: list[_Numbered] = []
        size = 0
        for number, record in enumerate(records, 1):
            line = _line(record)
            held.append((record.gpos, number, line))
            size += len(line)
            if size >= run_bytes:
                with _described():
                    file = file or stack.enter_context(tempfile.TemporaryFile(prefix="evtool-"))
                    runs.append(_write(file.fileno(), held, runs[-1][1] if runs else 0))
                held, size = [], 0
        held.sort()
        if file is None:
            ordered: Iterator[_Numbered] = iter(held)
        else:
            buffer = max(_MERGE_BYTES // len(runs), _LEAST_BYTES)
            ordered = heapq.merge(*(_read(file.fileno(), *run, buffer) for run in runs), held)
        for _, number, line in ordered:
            yield number, ndjson.decode(line)[0]


def _line(record: Record) -> bytes:
    data, meta = bytes(record.data).decode(), bytes(record.meta).decode()
    line = ndjson.line(record.id, record.stream, record.type, record.pos, record.gpos, data, meta, record.time)
    return line.encode()


def _write(file: int, run: list[_Numbered], start: int) -> tuple[int, int]:
    """Writes a run, sorted, at an offset; returns where it begins and ends."""
    run.sort()
    end = start
    for first in range(0, len(run), _WRITTEN_LINES):
        lines = (b"%d %d %b" % numbered for numbered in run[first : first + _WRITTEN_LINES])
        rest = memoryview(b"".join(lines))
        while rest:
            written = os.pwrite(file, rest, end)
            rest = rest[written:]
            end += written
    return start, end


def _read(file: int, start: int, end: int, buffer: int) -> Iterator[_Numbered]:
    """The records of a run, read in pieces."""
    parts: list[bytes] = []
    while start < end:
        piece = os.pread(file, min(buffer, end - start), start)
        if not piece:
            raise FileError("the temporary file was cut off", hint="leave it alone, and try again")
        start += len(piece)
        *lines, rest = piece.split(b"\n")
        for line in lines:
            parts.append(line)
            gpos, number, text = b"".join(parts).split(b" ", 2)
            parts.clear()
            yield int(gpos), int(number), text
        parts.append(rest)


@contextlib.contextmanager
def _described() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise FileError(
            f"can't write a temporary file: {error.strerror or error}",
            hint="set TMPDIR to a folder with as much room as the file takes, or sort its lines by gpos",
        ) from error
