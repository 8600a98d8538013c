"""The journey from store to store: messages of one namespace into another, without a file in between."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from collections.abc import Iterator

from evtool import ndjson
from evtool.blocks import BlockStream
from evtool.errors import EvtoolError, ImportRefused, InvalidArgument
from evtool.imports import ImportPlan, ImportSummary
from evtool.model import Selection
from evtool.ndjson import Record
from evtool.progress import EVERY, Listener, Progress, silent
from evtool.store import Store

_ALL = Selection()
_PLAN = ImportPlan()


def copy_messages(
    source: Store,
    target: Store,
    selection: Selection = _ALL,
    plan: ImportPlan = _PLAN,
    *,
    progress: Listener = silent,
) -> ImportSummary:
    """Copies the chosen messages, one snapshot of them, at their positions, all or nothing.

    They pass through the lines of an export and their reader, so that the target gets what a file would have brought.

    Args:
        source: where from.
        target: where to.
        selection: which messages.
        plan: how they are imported.
        progress: told after every thousand messages.

    Raises:
        InvalidArgument: both are the same namespace.
        ImportRefused: the target refuses a message, or all of it is to be replaced by nothing; nothing was copied.
        EvtoolError: what either store raises; nothing was copied.
    """
    if _identity(source, "source") == _identity(target, "target"):
        raise InvalidArgument(
            f'the namespace "{source.namespace}" can\'t be copied into itself',
            hint="name another with --to-namespace, or another database with --to",
        )
    blocks = source.export(selection)
    with contextlib.closing(blocks):  # type: ignore[type-var]
        records = _told(ndjson.read(BlockStream(blocks)), progress)
        if plan.replace:
            records = _not_nothing(records)
        named = dataclasses.replace(plan, source=plan.source or f"copy of {source.namespace}")
        try:
            return target.import_batch(records, named)
        except ImportRefused as error:
            if error.line is None:
                raise
            # there is no file that a line could be looked up in
            raise ImportRefused(
                error.code, f"message {error.line} of the copy: {error.message}", value=error.value, hint=error.hint
            ) from error


def _identity(store: Store, side: str) -> str:
    """What a store is. If it can't be had, the error says which of the two it is."""
    try:
        return store.identity()
    except EvtoolError as error:
        error.message = f"the {side}: {error.message}"
        raise


def _not_nothing(records: Iterator[Record]) -> Iterator[Record]:
    """The records, if there are any: a filter that chooses nothing must not empty the target."""
    first = next(records, None)
    if first is None:
        raise ImportRefused(
            "IMPORT_FAILED",
            "no message matches, and the target's were all to be replaced",
            hint="nothing was changed; to empty a namespace: evtool ns delete, evtool ns create",
        )
    return itertools.chain((first,), records)


def _told(records: Iterator[Record], progress: Listener) -> Iterator[Record]:
    """The records as they are, telling of them as they pass."""
    for count, record in enumerate(records, 1):
        yield record
        if count % EVERY == 0:
            progress(Progress(count, record.gpos))
