"""The blocks of an export, read as other things are read: as a stream of bytes, or as records."""

from __future__ import annotations

from collections.abc import Iterator

from evtool import ndjson
from evtool.errors import StoreError
from evtool.model import ExportBlock
from evtool.ndjson import Record


class BlockStream:
    """The lines of an export as a stream of bytes, as `ndjson.read` takes one."""

    def __init__(self, blocks: Iterator[ExportBlock]) -> None:
        self._blocks = blocks

    def read(self, _size: int = -1, /) -> bytes:
        """The lines of the next block, whatever size was asked for; b"" at the end."""
        block = next(self._blocks, None)
        return b"" if block is None else block.lines


def records(blocks: Iterator[ExportBlock]) -> Iterator[Record]:
    """The messages of an export as records, unchecked.

    Raises:
        StoreError: a message is such that no file could hold it.
    """
    last = 0
    for block in blocks:
        try:
            found = ndjson.decode(block.lines)
        except (ValueError, RecursionError) as error:
            raise StoreError(
                f"a message between the global positions {last + 1} and {block.last_position} can't be read:"
                " no other store could hold it",
                hint="it was written around evtool: correct it in the table",
            ) from error
        yield from found
        last = block.last_position
