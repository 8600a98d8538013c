"""Entries in the order of their bytes, however many, in constant memory: sorted runs in a file, merged.

The merge is sort()'s own: what stands in the runs up to a common bound is put together and sorted, which takes their
order as it finds it and is several times as fast as comparing entry by entry in Python.
"""

from __future__ import annotations

import marshal
import tempfile
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path
from typing import IO

_RUN = 1 << 16
"""Entries that are sorted in memory."""
_BLOCK = 512
"""Entries that are read of a run at a time."""


class Sorter:
    """Takes entries in any order and hands them out in that of their bytes."""

    def __init__(self, folder: Path) -> None:
        """Makes no file yet.

        Args:
            folder: where a nameless file may be made.
        """
        self._folder = folder
        self._held: list[bytes] = []
        self._file: IO[bytes] | None = None
        self._runs: list[list[int]] = []

    def add(self, entries: list[bytes]) -> None:
        """Takes entries."""
        self._held += entries
        if len(self._held) >= _RUN:
            self._spill()

    def sorted(self) -> Iterator[list[bytes]]:
        """All entries in order, some at a time; may be asked for again."""
        if self._file is not None:
            self._spill()
            yield from self._merged(self._file)
            return
        self._held.sort()
        if self._held:
            yield self._held

    def close(self) -> None:
        """Removes the file."""
        if self._file is not None:
            self._file.close()

    def _spill(self) -> None:
        """Writes what is held as a run, in blocks."""
        if self._file is None:
            self._file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 - it lives as long as the sorter
        self._held.sort()
        run = []
        self._file.seek(0, 2)
        for start in range(0, len(self._held), _BLOCK):
            run.append(self._file.tell())
            marshal.dump(self._held[start : start + _BLOCK], self._file)
        self._held.clear()
        if run:
            self._runs.append(run)

    def _merged(self, file: IO[bytes]) -> Iterator[list[bytes]]:
        def blocks(run: list[int]) -> Iterator[list[bytes]]:
            for offset in run:
                file.seek(offset)
                # written by this very process, into a file that has no name
                yield marshal.load(file)  # noqa: S302

        left: list[tuple[Iterator[list[bytes]], list[bytes]]] = [(blocks(run), []) for run in self._runs]
        while left:
            filled = [(more, block or next(more, [])) for more, block in left]
            left = [(more, block) for more, block in filled if block]
            if not left:
                return
            bound = min(block[-1] for _, block in left)
            merged: list[bytes] = []
            rest = []
            for more, block in left:
                cut = bisect_right(block, bound)
                merged += block[:cut]
                rest.append((more, block[cut:]))
            left = rest
            merged.sort()
            yield merged
