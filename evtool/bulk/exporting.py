"""The journey out: records of a table into a file."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evtool import __version__, files, settings, times
from evtool.bulk import manifest
from evtool.bulk.manifest import BulkManifest
from evtool.bulk.resource import Resource
from evtool.bulk.selecting import BulkSelection, Plan, plan
from evtool.bulk.sources import Block, Estimate, Request, open_source
from evtool.bulk.writers import Format, Writer
from evtool.compression import Compression, by_suffix
from evtool.errors import FileError, InvalidArgument
from evtool.progress import EVERY
from evtool.pumping import Pump

BATCH = 1000
"""How many records a page of a SQLite table has, and how many a block of PostgreSQL's has at the most."""

# What text comes down to at the least: who has a tenth of the space and a file that compresses well is not refused.
_COMPRESSED = 0.1


@dataclass(frozen=True, slots=True)
class ExportProgress:
    """A moment of an export.

    Attributes:
        records: written so far.
        total: how many there will be.
        exact: whether the total was counted, or is the planner's estimate.
    """

    records: int
    total: int
    exact: bool


Listener = Callable[[ExportProgress], None]


@dataclass(frozen=True, slots=True)
class BulkExportSummary:
    """What an export wrote.

    Attributes:
        exported: how many records.
        manifest: where the manifest is; None for standard output, a pipe or a device.
    """

    exported: int
    manifest: Path | None


def export_file(
    dsn: str | None,
    what: Resource | str,
    path: str | os.PathLike[str] = files.STANDARD,
    selection: BulkSelection | None = None,
    *,
    format: Format | None = None,
    bom: bool = False,
    compression: Compression | None = None,
    schema: str = "public",
    batch: int = BATCH,
    check_space: bool = True,
    progress: Listener = lambda _: None,
) -> BulkExportSummary:
    """Writes the chosen records of a table to a file, in a total order, from one snapshot.

    Equal records give equal bytes, whatever the batch and whatever the database is set to. A file appears when it is
    complete, with a manifest beside it; nothing is left of an export that fails.

    Args:
        dsn: `sqlite:///path/of/a/file`, or a PostgreSQL server, as in `evtool.connect`.
        what: a resource, or the name of a table, which its catalog then describes.
        path: where to; `-` is standard output.
        selection: which records and columns; None is all.
        format: of the file; None goes by its name, and is NDJSON without one.
        bom: begin with a byte-order mark.
        compression: how the file is compressed; None goes by its suffix.
        schema: where PostgreSQL looks for a table that is named without one.
        batch: how many records are taken at once.
        check_space: refuse to begin where the disk will be too small by the estimate.
        progress: told after every thousand records.

    Raises:
        InvalidArgument: there is no such table or field, a value is none of its field's type, or the file is the
            database itself.
        StoreUnreachable: the database isn't there, or went away.
        FileError: there is not enough space, the file can't be written, or zstd is not installed.
    """
    if batch < 1:
        raise InvalidArgument(f"a batch has at least one record, not {batch}", hint=f"the default is {BATCH}")
    path = os.fspath(path)
    format = Format.of(path) if format is None else format
    if not isinstance(format, Format):
        raise InvalidArgument(f"{format!r:.60} is no format", hint="take evtool.bulk.writers.Format")
    compression = by_suffix(path) if compression is None else compression
    beside = manifest.path_of(path) if files.is_regular(path) else None
    request = Request(what) if isinstance(what, str) else _request(what)
    with open_source(settings.dsn(dsn), schema=schema) as source:
        for output in (path, *((str(beside),) if beside is not None else ())):
            if source.file is not None and files.is_read_as(str(source.file), output):
                raise InvalidArgument(f"{output} is the database that is exported", hint="give the output another name")
        planned = plan(source.table(request), selection or BulkSelection())
        source.check(planned)
        estimate = source.estimate(planned, format)
        if check_space:
            require_space(path, estimate, compressed=compression is not Compression.NONE)
        blocks = source.blocks(planned, format, batch)
        with contextlib.closing(blocks):  # type: ignore[type-var]
            # the first records before the file: a table that can't be read leaves no trace
            first = next(blocks, None)
            writer = Writer(format, [column.name for column in planned.columns], bom=bom)
            with files.open_output(
                path, compression=compression, hashed=beside is not None, replacing=lambda: _forget(beside)
            ) as output:
                count = _write(output, writer, first, blocks, estimate, progress)
        described = _described(request, planned, source.snapshot())
    if beside is None:
        return BulkExportSummary(count, None)
    manifest.write(
        BulkManifest(
            **described,
            format=format.value,
            compression=str(compression),
            bom=bom,
            count=count,
            bytes=output.size,
            sha256=output.sha256,
            evtool=__version__,
        ),
        beside,
    )
    return BulkExportSummary(count, beside)


def _forget(beside: Path | None) -> None:
    """Removes the manifest of what is about to be overwritten: none may ever lie beside a file that it is not of."""
    if beside is not None:
        beside.unlink(missing_ok=True)


def _request(resource: Resource) -> Request:
    table = resource.table if resource.schema is None else f"{resource.schema}.{resource.table}"
    return Request(table, resource.name, {one.name: one.type for one in resource.columns}, resource.order)


def require_space(path: str, estimate: Estimate, *, compressed: bool) -> None:
    """Refuses an export that the disk has no space for.

    Args:
        path: where to.
        estimate: how much there will be.
        compressed: whether it will be smaller than that.

    Raises:
        FileError: the disk has less than the estimate.
    """
    if not files.is_regular(path):
        return
    folder = files.target_of(path).parent
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise FileError(f"can't write {path}: {error.strerror}", hint="choose another place for the output") from error
    needed = int(estimate.bytes * (_COMPRESSED if compressed else 1))
    if needed > free:
        raise FileError(
            f"{folder} has {_megabytes(free)} of free space, and the export will take about {_megabytes(needed)}",
            hint="free space, choose another place, compress, or go on regardless with --no-space-check",
        )


def _write(
    output: Pump,
    writer: Writer,
    first: Block | None,
    rest: Iterator[Block],
    estimate: Estimate,
    progress: Listener,
) -> int:
    """Writes all blocks; returns how many records they have."""
    count = told = 0
    output.write(writer.begin())
    for block in itertools.chain((first,) if first is not None else (), rest):
        output.write(writer.records(block.text))
        count += block.count
        if count - told >= EVERY:
            told = count
            progress(ExportProgress(count, estimate.records, estimate.exact))
    output.write(writer.end())
    return count


def _described(request: Request, planned: Plan, snapshot: dict[str, Any]) -> dict[str, Any]:
    """What a manifest says about the records."""
    filters: dict[str, Any] = {"where": [str(condition) for _, condition in planned.where]}
    if planned.time is not None:
        filters["time_field"] = planned.time.name
    for name, moment in (("since", planned.since), ("until", planned.until)):
        if moment is not None:
            filters[name] = times.render(moment)
    return {
        "table": planned.table.name,
        "resource": request.resource,
        "columns": [{"name": one.name, "type": one.type, "kind": one.kind.value} for one in planned.columns],
        "order": [str(one) for one in planned.order],
        "filters": filters,
        "snapshot": snapshot,
    }


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
