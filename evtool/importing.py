"""The journey in: an export file into a namespace, at the positions that it brings, all or nothing."""

from __future__ import annotations

from collections.abc import Iterator

from evtool import files, ndjson
from evtool.imports import ImportSummary
from evtool.ndjson import Record
from evtool.progress import EVERY, Listener, Progress, silent
from evtool.store import Store


def import_file(store: Store, path: str = files.STANDARD, *, progress: Listener = silent) -> ImportSummary:
    """Imports a file into the store's namespace, in one transaction.

    Args:
        store: where to.
        path: NDJSON, plain or gzip; `-` is standard input.
        progress: told after every thousand messages.

    Raises:
        ImportRefused: a line is not a message, or clashes; nothing was imported.
        FileError: the file can't be read.
        EvtoolError: what the store raises.
    """
    with files.open_input(path) as source:
        return store.import_batch(_told(ndjson.read(source), source, progress))


def _told(records: Iterator[Record], source: files.Input, progress: Listener) -> Iterator[Record]:
    """The records as they are, telling of them as they pass."""
    count = 0
    for count, record in enumerate(records, 1):
        yield record
        if count % EVERY == 0:
            progress(Progress(count, record.gpos, source.bytes_read()))
