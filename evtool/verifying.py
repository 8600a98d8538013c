"""The journey that compares: the messages of a file with those of a namespace."""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import hashlib
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from evtool import blocks, files, increments, json_values, ndjson, sorting
from evtool import manifest as manifests
from evtool.errors import ImportRefused
from evtool.manifest import Manifest
from evtool.model import ExportBlock, Selection
from evtool.ndjson import Record
from evtool.progress import EVERY, Listener, Progress, silent
from evtool.store import Store

LISTED = 100
"""How many differences are listed unless another number is asked for."""


class Kind(enum.StrEnum):
    """How a message of the file and one of the namespace can differ."""

    MISSING = "missing"
    """It is in the file, and not in the namespace."""

    EXTRA = "extra"
    """It is in the namespace, among what the file is to hold, and not in the file."""

    DIFFERENT = "different"
    """Both have a message at the global position, and they are not the same."""


class Scope(enum.StrEnum):
    """What says which messages of the namespace are to be in the file."""

    FILTERS = "filters"
    """The filters that were given."""

    MANIFEST = "manifest"
    """The manifest beside the file."""

    POSITIONS = "positions"
    """The first and the last position in the file: it is taken to hold everything between them."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A message that is not the same on both sides.

    Attributes:
        kind: how it differs.
        position: its global position.
        stream: its stream: the file's, or the namespace's if it is extra.
        id: its id, likewise.
        line: the number of its line in the file; None if it is extra.
        fields: the names of the fields that differ, as the file has them; () unless it is different.
    """

    kind: Kind
    position: int
    stream: str
    id: str
    line: int | None = None
    fields: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Verification:
    """What a comparison has found.

    Attributes:
        same: how many messages are the same on both sides.
        missing: how many are only in the file.
        extra: how many are only in the namespace.
        different: how many differ in a field.
        differences: the first of them, in global order.
        scope: what says which messages are to be in the file.
        from_position: the global position from which on the two were compared; None for the very first.
        to_position: the last that was; None where there was no such end.
        faults: what the file's manifest says of the file and is not so.
    """

    same: int
    missing: int
    extra: int
    different: int
    differences: tuple[Difference, ...]
    scope: Scope
    from_position: int | None
    to_position: int | None
    faults: tuple[str, ...] = ()

    @property
    def lines(self) -> int:
        """How many messages the file holds."""
        return self.same + self.missing + self.different

    @property
    def equal(self) -> bool:
        """Whether nothing differs."""
        return not (self.missing or self.extra or self.different or self.faults)


def verify_file(
    store: Store,
    path: str = files.STANDARD,
    selection: Selection | None = None,
    *,
    manifest: str | None = None,
    limit: int = LISTED,
    progress: Listener = silent,
) -> Verification:
    """Compares a file with the store's namespace: values, not spellings; in constant memory.

    Args:
        store: whose namespace.
        path: NDJSON, plain or compressed, its lines in any order; `-` is standard input.
        selection: which messages the file is to hold, up to the last position in it unless `until` or `to_position`
            sets another end; None asks the manifest beside the file, and without one it is all messages between the
            first and the last position in the file.
        manifest: where the manifest is; None is beside the file, if there is one. What it says of the file's bytes and
            their number is checked, too.
        limit: how many differences to list; all are counted.
        progress: told after every thousand lines.

    Raises:
        ImportRefused: a line is not a message, or repeats the position of another.
        FileError: the file, or its manifest, can't be read.
        ManifestUnusable: the manifest is damaged, or of a newer evtool.
        EvtoolError: what the store raises.
    """
    known = _manifest(path, manifest)
    side = _Side(store, selection, known)
    faults = [] if known is None or not Path(path).is_file() else list(_faults(Path(path), known))
    tally = _Tally(limit)
    try:
        if not Path(path).is_file():
            # what can be read only once is sorted at once, for it may turn out not to be in order
            raise _NotInOrderError  # noqa: TRY301 - as the reader below does
        with files.open_input(path) as source:
            compared = _compare(side, _in_order(enumerate(_told(source, progress), 1)), tally)
    except _NotInOrderError:
        tally = _Tally(limit)
        with files.open_input(path) as source:
            compared = _compare(side, _each_once(sorting.in_global_order(_told(source, progress))), tally)
    counts = tally.counts
    result = Verification(
        same=tally.same,
        missing=counts[Kind.MISSING],
        extra=counts[Kind.EXTRA],
        different=counts[Kind.DIFFERENT],
        differences=tuple(tally.listed),
        scope=side.scope,
        from_position=compared[0],
        to_position=compared[1],
        faults=tuple(faults),
    )
    if known is not None and known.count != result.lines:
        faults.append(f"the file holds {result.lines} messages, and the manifest says {known.count}")
        return dataclasses.replace(result, faults=tuple(faults))
    return result


def _manifest(path: str, named: str | None) -> Manifest | None:
    """The manifest that was named, or the one beside the file; None where there is none."""
    if named is None:
        if not Path(path).is_file() or not (beside := files.manifest_beside(path)).exists():
            return None
        named = str(beside)
    return manifests.read(named)[0]


def _faults(path: Path, manifest: Manifest) -> Iterator[str]:
    """What a manifest says of the bytes of its file and is not so."""
    size = path.stat().st_size
    if size != manifest.size:
        yield f"the file has {size} bytes, and the manifest says {manifest.size}"
        return
    with path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != manifest.sha256:
            yield "the file's bytes are not those that the manifest was written for: its sha256 is another"


class _Side:
    """The namespace's side of a comparison: which of its messages the file is to hold."""

    def __init__(self, store: Store, given: Selection | None, manifest: Manifest | None) -> None:
        self._store = store
        self._manifest = manifest if given is None else None
        self._given = given or Selection()
        self.scope = Scope.FILTERS if given else Scope.POSITIONS if manifest is None else Scope.MANIFEST

    def begin(self, first: int | None) -> tuple[Iterator[ExportBlock], int | None, int | None, bool]:
        """Begins to read the namespace.

        Args:
            first: the first position in the file; None where it is empty.

        Returns:
            The blocks, the bounds within which the file is to hold them, and whether it is the file that ends them.
        """
        if self.scope is Scope.POSITIONS:
            # an empty file says nothing
            chosen = None if first is None else Selection(from_position=first)
        elif self._manifest is None:
            chosen = self._given
        else:
            chosen = _selection_of(self._manifest)
        if chosen is None:
            return _no_blocks(), None, None, False
        # what the file is to hold has an end of its own, or the file has none to give
        ends = chosen.to_position is None and chosen.until is None and first is not None
        return self._store.export(chosen), chosen.from_position, chosen.to_position, ends


def _no_blocks() -> Iterator[ExportBlock]:
    yield from ()


def _selection_of(manifest: Manifest) -> Selection | None:
    """What an export held, by its manifest: its filters, from where it began to its watermark; None is nothing."""
    selection = increments.begin_after(manifests.selection_of(manifest.filters), manifest.after)
    last = manifest.watermark.position
    if selection is None or last < (selection.from_position or 1):
        return None
    return dataclasses.replace(selection, to_position=min(last, selection.to_position or last))


class _NotInOrderError(Exception):
    """The lines of the file are not in global order."""


class _Tally:
    """Counts differences, and keeps the first."""

    def __init__(self, limit: int) -> None:
        self.same = 0
        self.counts = dict.fromkeys(Kind, 0)
        self.listed: list[Difference] = []
        self._limit = limit

    def add(self, kind: Kind, record: Record, line: int | None = None, fields: tuple[str, ...] = ()) -> None:
        """Takes note of a difference."""
        self.counts[kind] += 1
        if len(self.listed) < self._limit:
            self.listed.append(Difference(kind, record.gpos, record.stream, record.id.lower(), line, fields))


def _told(source: files.Input, progress: Listener) -> Iterator[Record]:
    """The records of the file, telling of them as they pass."""
    for count, record in enumerate(ndjson.read(source), 1):
        yield record
        if count % EVERY == 0:
            progress(Progress(count, record.gpos, source.bytes_read()))


def _in_order(lines: Iterable[tuple[int, Record]]) -> Iterator[tuple[int, Record]]:
    """Lines as they come, as long as each is above the one before it."""
    greatest = 0
    for number, record in lines:
        if record.gpos <= greatest:
            raise _NotInOrderError
        greatest = record.gpos
        yield number, record


def _each_once(lines: Iterable[tuple[int, Record]]) -> Iterator[tuple[int, Record]]:
    """Lines in global order; two of one position are what no import would take."""
    before, known = 0, 0
    for number, record in lines:
        if record.gpos == before:
            raise ImportRefused(
                "POSITION_EXISTS",
                f"global position {record.gpos} is in line {known} already",
                line=number,
                value=record.gpos,
                hint="a message has one line: remove the other",
            )
        before, known = record.gpos, number
        yield number, record


def _compare(side: _Side, lines: Iterator[tuple[int, Record]], tally: _Tally) -> tuple[int | None, int | None]:
    """Merges both sides by global position; returns the bounds within which it did."""
    head = next(lines, None)
    last = None if head is None else head[1].gpos
    found, from_position, to_position, ends_with_file = side.begin(last)
    with contextlib.closing(found):  # type: ignore[type-var]
        there = blocks.records(found)
        other = next(there, None)
        for number, record in itertools.chain(() if head is None else (head,), lines):
            last = record.gpos
            while other is not None and other.gpos < last:
                tally.add(Kind.EXTRA, other)
                other = next(there, None)
            if other is not None and other.gpos == last:
                fields = _fields_that_differ(record, other)
                if fields:
                    tally.add(Kind.DIFFERENT, record, number, fields)
                else:
                    tally.same += 1
                other = next(there, None)
            else:
                tally.add(Kind.MISSING, record, number)
        while other is not None and not ends_with_file:
            tally.add(Kind.EXTRA, other)
            other = next(there, None)
    return from_position, last if ends_with_file else to_position


def _fields_that_differ(record: Record, other: Record) -> tuple[str, ...]:
    differing = []
    if record.id != other.id and record.id.lower() != other.id.lower():
        differing.append("id")
    if record.stream != other.stream:
        differing.append("stream")
    if record.type != other.type:
        differing.append("type")
    if record.pos != other.pos:
        differing.append("pos")
    if record.data != other.data or record.meta != other.meta:
        if not json_values.same(bytes(record.data), bytes(other.data)):
            differing.append("data")
        if not json_values.same(bytes(record.meta), bytes(other.meta)):
            differing.append("meta")
    if record.time != other.time:
        differing.append("time")
    return tuple(differing)
