"""Whether an export can go on from an earlier one: exactly once means that nothing came in behind its back."""

from __future__ import annotations

import dataclasses

from evtool import files, times
from evtool import manifest as manifests
from evtool.errors import IncrementRefused, InvalidArgument
from evtool.imports import ImportRecord
from evtool.manifest import Manifest
from evtool.model import MAX_POSITION, Namespace, Selection, Watermark
from evtool.store import Store

_ANEW = "export everything anew, without --incremental"


def selection_after(manifest: Manifest, given: Selection) -> Selection:
    """The selection of the increment behind an export, without its end.

    Args:
        manifest: the earlier export's.
        given: what else was asked for: nothing, or the same.

    Raises:
        InvalidArgument: something else was asked for.
    """
    selection = manifests.selection_of(manifest.filters)
    if given not in {Selection(), selection} and manifests.filters_of(given) != manifest.filters:
        raise InvalidArgument(
            "an increment has the filters of the export that it goes on from, and others were given",
            hint="leave the filters out: they are in the manifest",
        )
    return selection


def keep(previous: str, manifest: Manifest, path: str) -> None:
    """Makes sure that an increment isn't written over what it goes on from: that would be lost.

    Args:
        previous: where the earlier export's manifest is.
        manifest: it.
        path: where the increment is to be written.

    Raises:
        InvalidArgument: it is the earlier export, or its manifest.
    """
    if not files.is_regular(path):
        return
    target, taken = files.target_of(path), files.target_of(previous)
    beside = taken.parent / manifest.file if manifest.file is not None else None
    if target == taken or files.manifest_beside(path) == taken or (beside is not None and target == beside.resolve()):
        raise InvalidArgument(
            f"{path} is the export that this one is to go on from, and would be overwritten",
            hint="give -o another name: each message is in one of the files",
        )


def begin_after(selection: Selection, position: int) -> Selection | None:
    """A selection without what stands at or below a position; None where nothing of it can be left."""
    first = max(selection.from_position or 0, position + 1)
    last = MAX_POSITION if selection.to_position is None else selection.to_position
    return None if first > last else dataclasses.replace(selection, from_position=first)


def check(store: Store, namespace: Namespace, watermark: Watermark, manifest: Manifest) -> None:
    """Makes sure that what an export held is what an export up to its watermark would hold today.

    Args:
        store: to go on from.
        namespace: the store's.
        watermark: the store's now.
        manifest: the earlier export's.

    Raises:
        IncrementRefused: it is another namespace, or one that was set back, or an import has placed messages at or
            below the watermark since.
    """
    origin = manifest.namespace
    if (namespace.name, times.render(namespace.created_at)) != (origin.name, origin.created_at):
        raise IncrementRefused(
            f'the manifest is of the namespace "{origin.name}" made at {origin.created_at}, and this is'
            f' "{namespace.name}" made at {times.render(namespace.created_at)}',
            hint=f"give the database and the namespace that were exported, or {_ANEW}",
        )
    found = first_below(store, manifest.watermark.imports, manifest.watermark.position)
    if found is not None:
        raise IncrementRefused(
            f"{said(found)}, and the earlier export ended at {manifest.watermark.position}", hint=_ANEW
        )
    if watermark.position < manifest.watermark.position or watermark.imports < manifest.watermark.imports:
        raise IncrementRefused(
            f'the namespace "{namespace.name}" ends at the global position {watermark.position} with'
            f" {watermark.imports} imports on record, before the earlier export's {manifest.watermark.position} with"
            f" {manifest.watermark.imports}: messages were removed, or it was restored from an older backup",
            hint=_ANEW,
        )


def first_below(store: Store, imports: int, position: int) -> ImportRecord | None:
    """The first import after a number that placed messages at or below a position, or replaced them; or None."""
    for record in store.import_records(imports):
        if record.replaced or (record.first_position is not None and record.first_position <= position):
            return record
    return None


def said(record: ImportRecord) -> str:
    """An import, for people."""
    source = f" of {record.source}" if record.source else ""
    name = f"import number {record.number}{source} at {times.render(record.imported_at)}"
    if record.first_position is None:
        return f"{name} replaced all messages by none"
    what = "replaced all messages by those" if record.replaced else "placed messages"
    return f"{name} {what} at the global positions {record.first_position} to {record.last_position}"
