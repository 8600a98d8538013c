"""The journey out: messages of a namespace into a file, and what is known of it into a manifest."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from evtool import __version__, files, increments, ndjson, resuming
from evtool import manifest as manifests
from evtool.compression import Compression, by_suffix
from evtool.errors import StoreUnreachable
from evtool.manifest import Manifest, Origin
from evtool.model import ExportBlock, Namespace, Selection, Watermark
from evtool.progress import EVERY, Listener, Progress, silent
from evtool.pumping import Pump
from evtool.resuming import RETRIES, Teller
from evtool.store import Store


@dataclass(frozen=True, slots=True)
class ExportSummary:
    """What an export wrote.

    Attributes:
        exported: how many messages.
        last_position: the global position of the last; None where there were none.
        manifest: where the manifest is; None where none was written.
    """

    exported: int
    last_position: int | None
    manifest: Path | None = None


def export_file(
    store: Store,
    path: str = files.STANDARD,
    selection: Selection | None = None,
    *,
    compression: Compression | None = None,
    manifest: str | None = None,
    previous: str | None = None,
    jobs: int = 1,
    retries: int = RETRIES,
    progress: Listener = silent,
    tell: Teller = lambda _: None,
) -> ExportSummary:
    """Writes the chosen messages of the store's namespace to a file, in global order, and its manifest after it.

    Args:
        store: where from.
        path: where to; `-` is standard output. A file appears when it is complete.
        selection: which messages; None is all, or those of `previous`.
        compression: how the file is compressed; None goes by its suffix.
        manifest: where the manifest is written, `-` being standard output; None is beside the file, and nowhere for
            what is no regular file.
        previous: the manifest of an earlier export; only what came after it is exported.
        jobs: over how many connections it is read.
        retries: how often a lost connection is tried again, without any progress in between; one that can't be made
            at first is not.
        progress: told after every thousand messages.
        tell: told of lost connections.

    Raises:
        InvalidArgument: the manifest would be written over the file, or the file over the export that it goes on from.
        FileError: a file can't be read or written.
        ManifestUnusable, IncrementRefused: `previous` can't be gone on from.
        NotAble: the store can't do several jobs.
        EvtoolError: what the store raises.
    """
    earlier = None
    if previous is not None:
        earlier = manifests.read(previous)
        increments.keep(previous, earlier[0], path)
    # what can't be reached at first is a wrong address more often than a lost connection: said at once
    store.get_namespace(store.namespace)
    beside = files.manifest_beside(path) if files.is_regular(path) else None
    kept = beside if manifest is None else manifests.place(manifest, path)
    written = _Written(progress)
    try:
        plan = resuming.answer(lambda: _plan(store, selection or Selection(), earlier), retries=retries, tell=tell)
        blocks = plan.blocks(store, jobs, retries, tell)
        # the first block before the file: a store that can't be read leaves no trace
        with contextlib.closing(blocks):  # type: ignore[type-var]
            block = next(blocks, None)
            with files.open_output(
                path,
                compression=by_suffix(path) if compression is None else compression,
                hashed=kept is not None,
                replacing=lambda: _forget(beside, kept),
            ) as output:
                while block is not None:
                    output.write(block.lines)
                    written.add(block)
                    block = next(blocks, None)
    except StoreUnreachable as error:
        raise StoreUnreachable(f"{error.message}; {written.state(path)}", hint=error.hint) from error
    if kept is not None:
        manifests.write(plan.manifest(path, output, written), kept)
    return ExportSummary(written.count, written.last, kept)


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is to be exported.

    Attributes:
        started_at: when it began, as a manifest has it.
        namespace: where from.
        origin: likewise, as a manifest has it.
        selection: the filters.
        rest: the filters without what an earlier export had; None where nothing can be left.
        watermark: up to where.
        after: the position of the earlier export's watermark; 0 without one.
        previous: the sha256 of its manifest.
    """

    started_at: str
    namespace: Namespace
    origin: Origin
    selection: Selection
    rest: Selection | None
    watermark: Watermark
    after: int
    previous: str | None

    def blocks(self, store: Store, jobs: int, retries: int, tell: Teller) -> Iterator[ExportBlock]:
        """The lines."""
        if self.rest is not None:
            yield from resuming.blocks(
                store, self.namespace, self.rest, self.watermark, jobs=jobs, retries=retries, tell=tell
            )

    def manifest(self, path: str, output: Pump, written: _Written) -> Manifest:
        """The manifest of the file that was written."""
        return Manifest(
            format=manifests.FORMAT,
            evtool=__version__,
            file=None if path == files.STANDARD else files.name_of(path),
            size=output.size,
            sha256=output.sha256,
            compression=str(output.compression),
            count=written.count,
            first_position=written.first,
            last_position=written.last,
            after=self.after,
            filters=manifests.filters_of(self.selection),
            watermark=manifests.mark_of(self.watermark),
            namespace=self.origin,
            started_at=self.started_at,
            finished_at=manifests.now(),
            previous=self.previous,
        )


def _plan(store: Store, selection: Selection, previous: tuple[Manifest, str] | None) -> _Plan:
    started_at = manifests.now()
    earlier, fingerprint = (None, None) if previous is None else previous
    namespace = store.get_namespace(store.namespace)
    origin = manifests.origin_of(namespace, store.kind, store.structure_version())
    watermark = store.watermark()
    if earlier is None:
        return _Plan(started_at, namespace, origin, selection, selection, watermark, 0, None)
    chosen = increments.selection_after(earlier, selection)
    # after the watermark, so that an import that came in before it is seen
    increments.check(store, namespace, watermark, earlier)
    after = earlier.watermark.position
    rest = increments.begin_after(chosen, after)
    return _Plan(started_at, namespace, origin, chosen, rest, watermark, after, fingerprint)


class _Written:
    """What has been written so far."""

    def __init__(self, progress: Listener) -> None:
        self.count = 0
        self.first: int | None = None
        self.last: int | None = None
        self._progress = progress

    def add(self, block: ExportBlock) -> None:
        """Counts a block, and tells of it where it brings another thousand."""
        if self.first is None:
            self.first = ndjson.first_position(block.lines)
        told = self.count // EVERY
        self.count += block.count
        self.last = block.last_position
        if self.count // EVERY > told:
            self._progress(Progress(self.count, self.last))

    def state(self, path: str) -> str:
        """What is there now that the rest won't come, for people."""
        if path != files.STANDARD and files.is_regular(path):
            return f"{path} was not written"
        if self.last is None:
            return "nothing was written"
        return f"what was written, {self.count} lines, is whole up to the global position {self.last}"


def _forget(*stale: Path | None) -> None:
    """Removes manifests of what is about to be overwritten: none may ever lie beside a file that it is not of."""
    for path in stale:
        if path is not None and files.is_regular(str(path)):
            files.target_of(str(path)).unlink(missing_ok=True)
