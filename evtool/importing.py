"""The journey in: an export file into a namespace, at the positions that it brings; whole, or in batches."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice

from evtool import files, ndjson
from evtool.errors import EvtoolError, FileError, ImportRefused, InvalidArgument, WriteConflict
from evtool.imports import ImportPlan, ImportRecord, ImportSummary
from evtool.ndjson import Record
from evtool.progress import EVERY, Listener, Progress, silent
from evtool.store import Store

_PLAN = ImportPlan()


@dataclass(frozen=True, slots=True)
class BatchesSummary(ImportSummary):
    """What an import in batches did this time.

    Attributes:
        resumed_behind: the line behind which it went on; 0 where it began with the first.
        was_complete: whether there was nothing left to do.
    """

    resumed_behind: int = 0
    was_complete: bool = False


def import_file(
    store: Store, path: str = files.STANDARD, plan: ImportPlan = _PLAN, *, progress: Listener = silent
) -> ImportSummary:
    """Imports a file into the store's namespace, in one transaction.

    Args:
        store: where to.
        path: NDJSON, plain or compressed; `-` is standard input.
        plan: how.
        progress: told after every thousand messages.

    Raises:
        ImportRefused: a line is not a message, or clashes; nothing was imported. Or all is to be replaced by nothing.
        FileError: the file can't be read.
        EvtoolError: what the store raises.
    """
    with files.open_input(path) as source:
        records = _told(ndjson.read(source), source, progress)
        if plan.replace:
            records = _not_nothing(records, source.name)
        return store.import_batch(records, _named(plan, path))


def import_in_batches(
    store: Store,
    path: str,
    batch_size: int,
    plan: ImportPlan = _PLAN,
    *,
    resume: bool = False,
    progress: Listener = silent,
) -> BatchesSummary:
    """Imports a file in batches that are a transaction each; with `resume`, behind the last batch that is on record.

    Args:
        store: where to.
        path: as for `import_file`.
        batch_size: how many messages a batch has.
        plan: how; neither to replace nor as a dry run, which are one transaction.
        resume: go on with an import of this very file that was interrupted, or begin one that can be gone on with.
        progress: told after every thousand messages.

    Raises:
        InvalidArgument: the plan, the size or the file is none for batches; or another import has to be finished first.
        WriteConflict: another process imports the same file at this moment.
        ImportRefused, FileError, EvtoolError: as for `import_file`; the batches before it stay, as the hint says.
    """
    if batch_size < 1:
        raise InvalidArgument(f"a batch of {batch_size} messages is none", hint="--batch-size 10000 is a good size")
    if plan.replace or plan.dry_run:
        raise InvalidArgument(
            "to replace all, or to try an import out, is one transaction and not batches",
            hint="leave out --batch-size and --resume",
        )
    if not resume:
        return _import_batches(store, path, batch_size, _named(plan, path), 0, None, progress)
    version = _version(path)
    options = f"--on-conflict {plan.on_conflict} --batch-size {batch_size}"
    plan = dataclasses.replace(_named(plan, path), fingerprint=_fingerprint(path), options=options)
    last = _last_batch(store, plan)
    if last is not None and last.complete:
        return BatchesSummary(0, None, resumed_behind=last.last_line, was_complete=True)
    done = 0 if last is None else last.last_line
    return _import_batches(store, path, batch_size, plan, done, version, progress)


def _import_batches(
    store: Store,
    path: str,
    batch_size: int,
    plan: ImportPlan,
    done: int,
    version: tuple[int, ...] | None,
    progress: Listener,
) -> BatchesSummary:
    """Imports what is behind the line `done`."""
    line, imported, skipped, last_position = done, 0, 0, None
    try:
        with files.open_input(path) as source:
            records = ndjson.read(source)
            for _ in islice(records, line):
                pass
            records = _told(records, source, progress)
            complete = False
            while not complete:
                batch = _unchanged(islice(records, batch_size), path, version)
                first = list(islice(batch, 1))
                complete = not first
                at = dataclasses.replace(plan, first_line=line + 1, complete=complete)
                summary = store.import_batch(chain(first, batch), at)
                imported += summary.imported
                skipped += summary.skipped
                last_position = max(summary.last_position or 0, last_position or 0) or None
                line += summary.imported + summary.skipped
    except EvtoolError as error:
        _tell_of_others(store, plan, line, error)
        error.hint = _how_to_go_on(error, line, resumable=plan.fingerprint is not None)
        raise
    return BatchesSummary(imported, last_position, skipped, done)


def _last_batch(store: Store, plan: ImportPlan) -> ImportRecord | None:
    """The last batch of this file that is on record; None where none is, or where it was replaced since.

    Raises:
        InvalidArgument: another resumable import is not complete, or this one was begun with other options.
    """
    last: dict[str, ImportRecord] = {}
    given_up = 0
    for record in store.import_records():
        if record.replaced:
            last.clear()
        elif record.fingerprint is not None:
            last[record.fingerprint] = record
        else:
            # who imports without --resume behind an interruption, as a mended file is, has gone on in another way
            given_up = record.number
    own = last.pop(plan.fingerprint or "", None)
    other = next((record for record in last.values() if not record.complete and record.number > given_up), None)
    if own is None and other is not None:
        what = "has changed since its import began" if other.source == plan.source else "is another file"
        raise InvalidArgument(
            f'{plan.source} {what}: the import of "{other.source}" was interrupted behind line {other.last_line}',
            hint="finish that one with its own file; or import without --resume, a mended file with --on-conflict skip",
        )
    if own is not None and not own.complete and own.options != plan.options:
        raise InvalidArgument(
            f"the import of {plan.source} was begun with {own.options}",
            hint="go on with the same options, or import without --resume",
        )
    return own


def _tell_of_others(store: Store, plan: ImportPlan, line: int, error: EvtoolError) -> None:
    """Where a clash is with another process that imports the same file, says so instead."""
    if plan.fingerprint is None or not isinstance(error, ImportRefused) or not error.code.endswith("_EXISTS"):
        return
    others = [record.last_line for record in store.import_records(fingerprint=plan.fingerprint)]
    if others and others[-1] > line:
        raise WriteConflict(
            f"another process imports {plan.source} as well, and has come to line {others[-1]}",
            hint="let it finish; if it doesn't, the same command goes on",
        ) from error


def _how_to_go_on(error: EvtoolError, line: int, *, resumable: bool) -> str | None:
    """The hint of an error that has ended an import in batches."""
    if not line:
        return error.hint
    if isinstance(error, (ImportRefused, FileError)):
        then = "mend the file, and import it with --on-conflict skip"
    else:
        then = "the same command goes on" if resumable else "go on with --on-conflict skip"
    return f"{error.hint or 'see the line'}; lines 1 to {line} are imported: {then}"


def _unchanged(records: Iterator[Record], path: str, version: tuple[int, ...] | None) -> Iterator[Record]:
    """The records as they are, unless the file is not the one any more that it was."""
    yield from records
    if version is not None and _version(path) != version:
        raise FileError(
            f"{path} was changed while it was read", hint="the last batch was not imported; look at the file"
        )


def _version(path: str) -> tuple[int, ...]:
    """What changes when a file does.

    Raises:
        InvalidArgument: it can't be read twice.
        FileError: it isn't there.
    """
    if path == files.STANDARD:
        raise InvalidArgument("standard input can't be resumed", hint="write it to a file, and name that with -i")
    try:
        status = os.stat(path)
    except OSError as error:
        raise FileError(f"can't read {path}: {error.strerror}", hint="give the path of a readable file") from error
    if not stat.S_ISREG(status.st_mode):
        raise InvalidArgument(
            f"{path} can't be resumed: it is no file", hint="write it to a file, and name that with -i"
        )
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _fingerprint(path: str) -> str:
    """What tells a file from every other: of its bytes as they lie on disk."""
    try:
        with open(path, "rb") as file:
            return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
    except OSError as error:
        raise FileError(f"can't read {path}: {error.strerror}", hint="give the path of a readable file") from error


def _named(plan: ImportPlan, path: str) -> ImportPlan:
    name = "standard input" if path == files.STANDARD else files.name_of(path)
    return dataclasses.replace(plan, source=plan.source or name)


def _not_nothing(records: Iterator[Record], name: str) -> Iterator[Record]:
    """The records, if there are any: a pipe whose other end has failed must not empty a namespace."""
    first = list(islice(records, 1))
    if not first:
        raise ImportRefused(
            "IMPORT_FAILED",
            f"{name} holds no messages, and was to replace all that are there",
            hint="nothing was changed; to empty a namespace: evtool ns delete, evtool ns create",
        )
    return chain(first, records)


def _told(records: Iterator[Record], source: files.Input, progress: Listener) -> Iterator[Record]:
    """The records as they are, telling of them as they pass."""
    count = 0
    for count, record in enumerate(records, 1):
        yield record
        if count % EVERY == 0:
            progress(Progress(count, record.gpos, source.bytes_read()))
