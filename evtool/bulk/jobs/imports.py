"""An import as a job: batch by batch, in the order of the file, each entered by the transaction that did it."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
from psycopg import sql

from evtool import files
from evtool.bulk import catalog, remote
from evtool.bulk.framing import Format, Rejoined, detect, open_framer
from evtool.bulk.importing import BATCH, BATCH_BYTES, TRIES
from evtool.bulk.jobs import places, requests
from evtool.bulk.jobs.holding import Hold
from evtool.bulk.jobs.model import Batch, State
from evtool.bulk.jobs.options import Options
from evtool.bulk.loading import Loader, Outcome
from evtool.bulk.records import Record, content, size
from evtool.bulk.resource import SHIPPED, Resource, shipped
from evtool.errors import SourceChanged, SourceError, TooManyRejects
from evtool.stores.postgres.translation import translated

# Lost against another transaction, or waited too long: the batch may do better the next time.
_TRY_AGAIN = ("40", "55P03", "57014")
_FIRST_PAUSE_SECONDS = 0.05

_CODES = sql.SQL("""
    SELECT error ->> 'code', count(*)
    FROM {rejects}, json_array_elements(errors) AS error
    GROUP BY 1
""")
_NO_REJECTS = sql.SQL("(SELECT NULL::bigint AS line, NULL::json AS errors, NULL::text AS raw WHERE false) AS rejects")
# Of a batch that failed as a whole: each of its records was refused, for no fault of its own.
_ALL = sql.SQL("""(
    SELECT line, json_build_array(json_build_object(
      'field', NULL, 'value', NULL, 'code', 'batch_failed', 'message', {message}::text)) AS errors, raw
    FROM unnest({lines}::bigint[], {raws}::text[]) AS record (line, raw)
) AS rejects""")


def run(hold: Hold, options: Options) -> State:
    """Does an import, behind what is entered of it already; returns the state that the job is in then.

    Raises:
        JobLost, Cancelled, Stopped: it was interrupted; the batches that are entered stay.
        SourceChanged: the source is not what it was when the job was submitted, or begun.
        TooManyRejects: more records were refused than the request allows.
        EvtoolError: it failed.
    """
    claim, queue = hold.claim, hold.queue
    with translated(), _source(hold, options) as (path, name):
        queue.found_source(claim, places.checksum(path), path.stat().st_size)
        with files.open_input(str(path)) as opened:
            _records(hold, Rejoined(opened), name)
    return queue.finish(claim)


@contextlib.contextmanager
def _source(hold: Hold, options: Options) -> Iterator[tuple[Path, str]]:
    """The file on this machine, and the name that says what is in it."""
    claim = hold.claim
    source: str = claim.request["source"]
    if not remote.is_url(source):
        yield places.readable(source, options.folders), source
        return
    spool = places.Spool(options.spool)
    spool.tidy()
    with contextlib.ExitStack() as stack:
        try:
            path = stack.enter_context(
                spool.fetched(
                    source,
                    claim.job,
                    claim.token,
                    limits=options.limits,
                    allow_private=options.allow_private,
                    proceed=hold.proceed,
                )
            )
        except SourceError:
            # where it was we who had it stop, that is the reason
            hold.check()
            raise
        hold.metrics.fetched(path.stat().st_size)
        yield path, urlsplit(source).path


def _records(hold: Hold, stream: Rejoined, name: str) -> None:
    """Imports the records of a file that aren't entered yet."""
    request, queue = hold.claim.request, hold.queue
    resource = _resource(hold)
    form = Format(request["format"]) if "format" in request else detect(name, stream.head)
    framer = open_framer(stream, form, resource, columns=None, ignore_unknown=False)
    upsert = request.get("mode") == "upsert"
    loader = Loader(queue.connection, resource, framer.columns, upsert=upsert, typed=form is not Format.CSV)
    done = queue.done(hold.claim.job)
    for number, batch in enumerate(_batches(iter(framer), request.get("batch_size", BATCH)), 1):
        if number in done:
            # the same bytes, but perhaps another evtool, which cuts them otherwise
            if done[number] != (batch[0].line, batch[-1].line, len(batch)):
                raise SourceChanged(
                    f"Batch {number} of job {hold.claim.job} had other records when it was entered",
                    hint="submit a new job: what is in the table already will be rejected as duplicates",
                )
            continue
        hold.check()
        _batch(hold, loader, number, batch)
        _check_rejects(hold)


def _batches(records: Iterator[Record], limit: int) -> Iterator[list[Record]]:
    """The records in batches, which are the same ones whoever cuts them: retries count on it."""
    batch: list[Record] = []
    held = 0
    for record in records:
        batch.append(record)
        held += size(record)
        if len(batch) == limit or held >= BATCH_BYTES:
            yield batch
            batch, held = [], 0
    if batch:
        yield batch


def _resource(hold: Hold) -> Resource:
    claim = hold.claim
    schema = claim.request.get("schema", catalog.DEFAULT_SCHEMA)
    table = claim.request.get("table")
    if table is None and claim.resource in SHIPPED:
        return shipped(claim.resource).in_schema(schema)
    return catalog.from_catalog(hold.queue.connection, table or claim.resource, schema=schema)


def _batch(hold: Hold, loader: Loader, number: int, records: Sequence[Record]) -> None:
    """Imports a batch and enters it, in one transaction; tries again what lost against another."""
    started = time.monotonic()
    connection = hold.queue.connection
    rows = loader.rows(records)
    for attempt in range(1, TRIES + 1):
        try:
            with connection.transaction():
                outcome = loader.load(rows)
                rejects: sql.Composable = loader.rejects_table if outcome.rejected else _NO_REJECTS
                codes: dict[str, int] = (
                    dict(connection.execute(_CODES.format(rejects=rejects)).fetchall()) if outcome.rejected else {}
                )
                batch = _entry(number, records, outcome, started, codes)
                hold.enter(batch, rejects)
        except psycopg.Error as error:
            hold.check_held()
            state = error.sqlstate or ""
            if connection.closed or not state.startswith(_TRY_AGAIN):
                raise
            # nothing of the batch is in: whoever shall end need not try again
            hold.check()
            if attempt == TRIES:
                batch = _give_up(hold, number, records, state, started)
            else:
                # longer each time, and not as long as the other one waits
                hold.proceed(_FIRST_PAUSE_SECONDS * 2**attempt * random.random())  # noqa: S311 - no secret
                continue
        hold.entered(batch)
        return


def _give_up(hold: Hold, number: int, records: Sequence[Record], state: str, started: float) -> Batch:
    """Enters a batch of which nothing is in."""
    message = f"the batch was given up after {TRIES} tries ({state})"
    count = len(records)
    outcome = Outcome(count, 0, 0, 0, count, count)
    batch = _entry(number, records, outcome, started, {"batch_failed": count}, state, message)
    rejects = _ALL.format(
        message=sql.Literal(message),
        lines=sql.Literal([record.line for record in records]),
        raws=sql.Literal([content(record).decode(errors="replace").replace("\0", "\ufffd") for record in records]),
    )
    with hold.queue.connection.transaction():
        hold.enter(batch, rejects)
    return batch


def _entry(
    number: int,
    records: Sequence[Record],
    outcome: Outcome,
    started: float,
    codes: dict[str, int],
    error_code: str | None = None,
    error_message: str | None = None,
) -> Batch:
    return Batch(
        number=number,
        first_line=records[0].line,
        last_line=records[-1].line,
        inserted=outcome.inserted,
        updated=outcome.updated,
        accepted=outcome.accepted,
        rejected=outcome.rejected,
        errors=outcome.errors,
        codes=codes,
        took=timedelta(seconds=time.monotonic() - started),
        error_code=error_code,
        error_message=error_message,
    )


def _check_rejects(hold: Hold) -> None:
    count, share = requests.max_errors(hold.claim.request)
    if count is None and share is None:
        return
    row = hold.queue.status(hold.claim.job)
    if (count is not None and row["rejected"] > count) or (
        share is not None and row["rejected"] > share * row["total"]
    ):
        raise TooManyRejects(
            f"{row['rejected']} of {row['total']} records were refused, and"
            f" {hold.claim.request['max_errors']} are allowed: stopped, its batches stay",
            hint=f"see: evtool bulk errors {hold.claim.job}; mend the file, or raise --max-errors",
        )
