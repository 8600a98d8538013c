"""The journey out: messages of a namespace into a file."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from evtool import files
from evtool.model import Selection
from evtool.progress import EVERY, Listener, Progress, silent
from evtool.store import Store


@dataclass(frozen=True, slots=True)
class ExportSummary:
    """What an export wrote.

    Attributes:
        exported: how many messages.
        last_position: the global position of the last; None where there were none.
    """

    exported: int
    last_position: int | None


def export_file(
    store: Store,
    path: str = files.STANDARD,
    selection: Selection | None = None,
    *,
    compress: bool = False,
    progress: Listener = silent,
) -> ExportSummary:
    """Writes the chosen messages of the store's namespace to a file, in global order.

    Args:
        store: where from.
        path: where to; `-` is standard output. A file appears when it is complete.
        selection: which messages; None is all.
        compress: write gzip.
        progress: told after every thousand messages.

    Raises:
        FileError: the file can't be written.
        EvtoolError: what the store raises.
    """
    count = 0
    position: int | None = None
    blocks = store.export(selection or Selection())
    # the first block before the file: a store that can't be read leaves no trace
    with contextlib.closing(blocks):  # type: ignore[type-var]
        block = next(blocks, None)
        with files.open_output(path, compress=compress) as output:
            while block is not None:
                output.write(block.lines)
                count += block.count
                position = block.last_position
                if count % EVERY == 0:
                    progress(Progress(count, position))
                block = next(blocks, None)
    return ExportSummary(count, position)
