"""The journey in: records of files into tables, batch by batch, each record accepted or in the report."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import psycopg

from evtool import settings
from evtool.bulk import installing, opening, ordering, reading, reports
from evtool.bulk.catalog import from_catalog
from evtool.bulk.framing import Format, Framer, Rejoined, detect, open_framer
from evtool.bulk.ledger import Ledger, Place, Span, open_import
from evtool.bulk.loading import Loader, Outcome, Reject
from evtool.bulk.opening import Source
from evtool.bulk.records import Record, content
from evtool.bulk.reports import ImportReport
from evtool.bulk.resource import Resource
from evtool.bulk.rows import Rows
from evtool.connecting import server_dsn
from evtool.errors import InputDiffers, InvalidArgument, TooManyRejects
from evtool.stores.postgres.connection import Connection, Connector
from evtool.stores.postgres.translation import translated

BATCH = 1000
"""How many records are committed together, unless said otherwise."""

BATCH_BYTES = 1 << 23
"""A batch ends early at 8 MiB, so that records of a megabyte don't add up in memory."""

TRIES = 5
"""How often a batch is tried that loses against another transaction, before it is given up."""

# Lost against another transaction, or waited too long: the batch may do better the next time.
_TRY_AGAIN = ("40", "55P03", "57014")
_FIRST_PAUSE = 0.05

_PRIVILEGES = "importing takes INSERT on the table, UPDATE with upsert, and SELECT on it and on those that it refers to"


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """How files are imported.

    Attributes:
        upsert: a record whose key is in the table replaces the one that is there; else it is refused.
        batch: how many records are committed together.
        atomic: one transaction for all files: everything that is accepted, or nothing.
        max_rejects: stop when more records are refused; None never stops.
        max_percent: stop when more than this share of the records is refused, looked at after each batch.
        dry_run: report everything, keep nothing.
        restart: forget an import of the same file that was interrupted; else it is continued.
        format: of the files; None finds out by looking.
        columns: the names of the columns of a CSV without a header.
        ignore_unknown: pass over columns and keys that the resource doesn't have.
    """

    upsert: bool = False
    batch: int = BATCH
    atomic: bool = False
    max_rejects: int | None = None
    max_percent: float | None = None
    dry_run: bool = False
    restart: bool = False
    format: Format | None = None
    columns: tuple[str, ...] | None = None
    ignore_unknown: bool = False

    def __post_init__(self) -> None:
        """Refuses what makes no sense.

        Raises:
            InvalidArgument: a batch without records, fewer than no rejects, or a format that is none.
        """
        if self.batch < 1:
            raise InvalidArgument("a batch has at least one record", hint=f"the default is {BATCH}")
        if (self.max_rejects or 0) < 0 or (self.max_percent or 0) < 0:
            raise InvalidArgument("fewer than no rejects can't be allowed", hint="0 stops at the first one")
        if self.format is not None and not isinstance(self.format, Format):
            raise InvalidArgument(f"{self.format!r:.60} is no format", hint="take evtool.bulk.framing.Format")


@dataclass(frozen=True, slots=True)
class ImportProgress:
    """A moment of an import.

    Attributes:
        resource: which one.
        records: of its current file, so far.
        rejected: of those.
        bytes_read: of the file as it lies on disk; None where that isn't known.
        continued: how many of the records an earlier run of the same command had done already.
    """

    resource: str
    records: int
    rejected: int
    bytes_read: int | None
    continued: int


Listener = Callable[[ImportProgress], None]


def import_files(
    dsn: str | None,
    sources: Iterable[Source],
    options: ImportOptions | None = None,
    *,
    reject_file: str | os.PathLike[str] | None = None,
    progress: Listener = lambda _: None,
    on_report: Callable[[list[ImportReport]], None] = lambda _: None,
) -> list[ImportReport]:
    """Imports files into tables. Every record is in the table afterwards, or in the report.

    Each batch is committed with what was refused of it and its row of the ledger. When an import was interrupted, the
    same call goes on behind its last batch, and reports on all of them.

    Args:
        dsn: of a PostgreSQL server, as in `evtool.connect`.
        sources: what goes where. Resources that others refer to are imported first.
        options: how.
        reject_file: where the refused records are written, as CSV if the name ends in .csv, else as NDJSON. With
            several resources each has a file of its own, with the resource's name before the suffix.
        progress: is told after each batch.
        on_report: is given the reports before the imports are closed; what it has printed is not lost when the process
            is killed right then.

    Returns:
        A report for each resource, in the order of the imports.

    Raises:
        InvalidArgument: a resource that doesn't fit its table, or rejects that would be written over an imported file.
        ImportRefused: a file whose beginning can't be read.
        InputDiffers: a file was changed since its import was interrupted.
        TooManyRejects: more were refused than allowed; `reports` of the error tells all, in an atomic import of what
            would have been.
        StoreError: the server could not do what was asked; the same call goes on later.
    """
    options = options or ImportOptions()
    ordered = ordering.ordered(list(sources), lambda source: source.resource)
    if reject_file is not None:
        reject_file = os.fspath(reject_file)
        reports.check_reject_file(reject_file, [(one.resource, one.paths) for one in ordered])
    with (
        translated(privileges=_PRIVILEGES),
        contextlib.closing(Connector(server_dsn(settings.dsn(dsn))).open()) as connection,
    ):
        installing.install(connection)
        journey = _Journey(connection, options, progress)
        done = journey.run_whole(ordered, reject_file)
        # what is said of a transaction is said when it is over
        on_report(done.reports)
        if done.stopped is not None:
            raise done.stopped
        if not options.dry_run:
            for ledger in done.ledgers:
                ledger.deliver()
        return done.reports


@dataclass(frozen=True, slots=True)
class _Done:
    """What became of a journey: its reports, its ledgers, and why it was stopped, if it was."""

    reports: list[ImportReport]
    ledgers: list[Ledger]
    stopped: TooManyRejects | None


def described(dsn: str | None, table: str, *, schema: str) -> Resource:
    """A table of a server as a resource, read from the catalog: see `evtool.bulk.catalog`."""
    with translated(), contextlib.closing(Connector(server_dsn(settings.dsn(dsn))).open()) as connection:
        return from_catalog(connection, table, schema=schema)


class _Journey:
    """An import of several files over one connection."""

    def __init__(self, connection: Connection, options: ImportOptions, progress: Listener) -> None:
        self._connection = connection
        self._options = options
        self._progress = progress
        self._one_transaction = options.atomic or options.dry_run
        self._contexts: Counter[str] = Counter()

    def run_whole(self, sources: Sequence[Source], reject_file: str | None) -> _Done:
        """Imports all files; in one transaction, if asked, which a dry run and too many rejects take back."""
        if not self._one_transaction:
            return self._run(sources, reject_file)
        done = _Done([], [], None)
        with self._connection.transaction():
            done = self._run(sources, reject_file)
            if self._options.dry_run or done.stopped is not None:
                done = replace(done, reports=[replace(one, kept=False) for one in done.reports])
                raise psycopg.Rollback
        return done

    def _run(self, sources: Sequence[Source], reject_file: str | None) -> _Done:
        """Imports all files, and writes the refused records."""
        found: list[ImportReport] = []
        ledgers: list[Ledger] = []
        stopped: TooManyRejects | None = None
        for source in sources:
            report = ImportReport(source.resource.name)
            refused: list[reports.Refused] = []
            with contextlib.ExitStack() as stack:
                rejects = None
                if reject_file is not None:
                    path = reports.path_of(reject_file, source.resource if len(sources) > 1 else None)
                    rejects = stack.enter_context(reports.reject_file(path, several=len(source.paths) > 1))
                for path in source.paths:
                    start = time.monotonic()
                    ledger, framer, stopped = self._file(source.resource, path)
                    ledgers.append(ledger)
                    refused.append(reports.Refused(ledger, opening.shown(path), framer))
                    report = reports.add(report, ledger, time.monotonic() - start)
                    if stopped is not None:
                        break
                if rejects is not None:
                    rejects.write(refused, source.resource)
            found.append(report)
            if stopped is not None:
                break
        return _Done(found, ledgers, stopped)

    def _file(self, resource: Resource, path: str) -> tuple[Ledger, Framer, TooManyRejects | None]:
        """Imports one file; tells whether too much of it was refused to go on."""
        options = self._options
        with opening.open_source(path) as input_:
            stream = Rejoined(input_)
            format_ = options.format or detect(opening.name_of(path), stream.head)
            framer = open_framer(
                stream, format_, resource, columns=options.columns, ignore_unknown=options.ignore_unknown
            )
            loader = Loader(
                self._connection, resource, framer.columns, upsert=options.upsert, typed=format_ is not Format.CSV
            )
            ledger = open_import(
                self._connection,
                self._context(resource, loader.oid, stream.head),
                resource=resource.name,
                target=f"{resource.schema}.{resource.table}",
                source=opening.shown(path),
                mode="upsert" if options.upsert else "insert",
                restart=options.restart,
            )
            place = ledger.place()
            counts = ledger.counts()
            digest = hashlib.sha256()
            records = iter(framer)
            _pass_over(records, place, digest)
            done = place.records
            # what was stopped there before is stopped there again
            stopped = _too_many(options, counts)
            # rows are made beside the server's work, too
            batches = ((batch, loader.rows(batch), sum_) for batch, sum_ in _batches(records, options.batch, digest))
            for batch, rows, sum_ in reading.ahead(batches if stopped is None else iter(())):
                place = Place(place.batch + 1, place.records + len(batch), sum_)
                outcome = self._batch(ledger, loader, Span(place, batch[0].line, batch[-1].line), batch, rows)
                counts = reports.sum_of(counts, outcome)
                self._progress(ImportProgress(resource.name, place.records, counts.rejected, input_.bytes_read(), done))
                if (stopped := _too_many(options, counts)) is not None:
                    break
            if not self._one_transaction:
                ledger.settle()
            if not options.dry_run and not (options.atomic and stopped is not None):
                # no rollback would take that back
                loader.raise_sequences()
        return ledger, framer, stopped

    def _context(self, resource: Resource, oid: int, head: bytes) -> str:
        """The context of a file; of several files that begin alike, each has its own, by their order."""
        context = _context(resource, oid, self._options, head)
        self._contexts[context] += 1
        number = self._contexts[context]
        return context if number == 1 else f"{context}/{number}"

    def _batch(self, ledger: Ledger, loader: Loader, span: Span, batch: Sequence[Record], rows: Rows) -> Outcome:
        """Imports a batch and writes it down, in one transaction; tries again what lost against another."""
        for attempt in range(1, TRIES + 1):
            try:
                with self._transaction():
                    ledger.hold(span.place.batch - 1)
                    outcome = loader.load(rows, together=self._one_transaction)
                    ledger.record(span, outcome, loader)
            except psycopg.Error as error:
                state = error.sqlstate or ""
                if self._one_transaction or not state.startswith(_TRY_AGAIN):
                    raise
                if attempt == TRIES:
                    return self._give_up(ledger, span, batch, state)
                # longer each time, and not as long as the other one waits
                time.sleep(_FIRST_PAUSE * 2**attempt * random.random())  # noqa: S311 - no secret
            else:
                return outcome
        raise AssertionError

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        """A transaction of the batch, unless there is one for all of them."""
        if self._one_transaction:
            yield
            return
        with self._connection.transaction():
            # What an outage of the server takes back, it takes from the ledger, too; the end of the file waits for all
            # of it. Not for the session: behind a pooler that would be anybody's.
            self._connection.execute("SET LOCAL synchronous_commit = off")
            yield

    def _give_up(self, ledger: Ledger, span: Span, batch: Sequence[Record], state: str) -> Outcome:
        message = f"the batch was given up after {TRIES} tries ({state})"
        error = {"field": None, "value": None, "code": "batch_failed", "message": message}
        rejects = [Reject(record.line, [error], content(record).decode(errors="replace")) for record in batch]
        with self._connection.transaction():
            ledger.hold(span.place.batch - 1)
            ledger.record_failure(span, rejects, state)
        return Outcome(len(batch), 0, 0, 0, len(batch), len(batch))


def _batches(records: Iterator[Record], limit: int, digest: hashlib._Hash) -> Iterator[tuple[list[Record], str]]:
    """The records in batches: as many as are wanted, or fewer that are very large; each with the digest up to there."""
    batch: list[Record] = []
    texts: list[bytes] = []
    held = 0
    for record in records:
        batch.append(record)
        text = content(record)
        texts.append(text)
        held += len(text)
        if len(batch) == limit or held >= BATCH_BYTES:
            digest.update(b"".join(texts))
            yield batch, digest.hexdigest()
            batch, texts, held = [], [], 0
    if batch:
        digest.update(b"".join(texts))
        yield batch, digest.hexdigest()


def _pass_over(records: Iterator[Record], place: Place, digest: hashlib._Hash) -> None:
    """Reads what an earlier run has done already.

    Raises:
        InputDiffers: it isn't what that run has read.
    """
    if not place.records:
        return
    passed = 0
    for passed, record in enumerate(records, 1):
        digest.update(content(record))
        if passed == place.records:
            break
    if passed < place.records or digest.hexdigest() != place.digest:
        raise InputDiffers(
            f"the import of this file was interrupted after {place.records} records, and those are no longer the same",
            hint="import the file as it was; or --restart forgets that import and begins anew",
        )


def _context(resource: Resource, oid: int, options: ImportOptions, head: bytes) -> str:
    """What makes two commands the same: table, resource, options that change what is done, and the file's beginning."""
    parts = [repr(resource), oid, options.upsert, options.ignore_unknown, options.columns, options.dry_run]
    digest = hashlib.sha256(json.dumps(parts, default=str).encode())
    digest.update(head)
    return digest.hexdigest()


def _too_many(options: ImportOptions, counts: Outcome) -> TooManyRejects | None:
    limit: str | None = None
    if options.max_rejects is not None and counts.rejected > options.max_rejects:
        limit = str(options.max_rejects)
    elif options.max_percent is not None and counts.rejected * 100 > counts.total * options.max_percent:
        limit = f"{options.max_percent:g}%"
    if limit is None:
        return None
    is_kept = not (options.atomic or options.dry_run)
    kept, then = ("what was done is kept", "goes on from there") if is_kept else ("nothing is kept", "does it all")
    return TooManyRejects(
        f"{counts.rejected} of {counts.total} records were refused, and {limit} are allowed: stopped, {kept}",
        hint=f"see the report; with a larger --max-errors the command {then}",
    )
