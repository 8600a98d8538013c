"""`evtool bulk jobs`, `status`, `errors`, `cancel`, `retry` and `purge`: what the queue holds."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import click

from evtool import settings
from evtool.cli import exits, options, output

_STATES = ["pending", "processing", "completed", "completed_with_errors", "failed", "cancelled"]
_EXITS = {"completed": exits.DONE, "completed_with_errors": exits.REJECTED}
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_COLUMNS = ("JOB", "KIND", "RESOURCE", "STATE", "BATCHES", "TOTAL", "ACCEPTED", "REJECTED", "ROWS/S", "ELAPSED")
_CLEAR = "\x1b[H\x1b[2J"

_watch = click.option("--watch", is_flag=True, help="Go on showing what changes, until nothing is left to be done.")
_every = click.option(
    "--interval",
    type=click.FloatRange(min=0.05),
    default=1.0,
    metavar="SECONDS",
    help="With --watch: how often to look. [default: 1]",
)


@click.command()
@click.option("--init", is_flag=True, help="Make the queue in the database, or bring it up to date.")
@click.option("--state", "states", type=click.Choice(_STATES), multiple=True, help="Only jobs in it. Repeatable.")
@click.option("--resource", metavar="NAME", help="Only jobs of this resource or table.")
@click.option("--limit", type=click.IntRange(min=1), default=50, metavar="N", help="At most so many. [default: 50]")
@options.show_sql
@_watch
@_every
@options.as_json
@options.on_server
def jobs(
    init: bool,
    states: tuple[str, ...],
    resource: str | None,
    limit: int,
    sql: bool,
    watch: bool,
    interval: float,
    json_: bool,
    dsn: str | None,
) -> None:
    """List the jobs of the queue, the newest first; or make the queue.

    \b
    Example:
      evtool bulk jobs --init
      evtool bulk jobs --state failed --json
      evtool bulk jobs --watch
    """
    if sql and not init:
        raise click.UsageError("--sql goes with --init.")
    if init:
        _init(dsn, sql=sql)
        return
    from evtool.bulk.jobs.queue import open_queue

    with open_queue(settings.dsn(dsn)) as queue:

        def look() -> list[dict[str, Any]]:
            return list(queue.jobs(states or None, resource, limit))

        for found in _looks(look, lambda rows: not any(_is_open(row) for row in rows), interval, watch=watch):
            if json_:
                (_line if watch else output.as_json)([_plain(row) for row in found])
            else:
                if watch and sys.stdout.isatty():
                    click.echo(_CLEAR, nl=False)
                _table(found)
            output.flush()


@click.command()
@click.argument("job", type=int)
@_watch
@_every
@options.as_json
@options.on_server
def status(job: int, watch: bool, interval: float, json_: bool, dsn: str | None) -> int:
    """Show a job with its counters.

    With --watch the exit code is the job's: 0 completed, 5 completed with errors, 1 failed or cancelled.

    \b
    Example:
      evtool bulk status 7 --watch
      evtool bulk status 7 --json | jq .rejected
    """
    from evtool.bulk.jobs.queue import open_queue

    row: dict[str, Any] = {}
    with open_queue(settings.dsn(dsn)) as queue:
        # what grows by itself is no change
        for row in _looks(lambda: queue.status(job), lambda row: not _is_open(row), interval, watch=watch):
            plain = _plain(row)
            if json_:
                (_line if watch else output.as_json)(plain)
            elif watch:
                output.data(_progress(row))
            else:
                for key, value in plain.items():
                    if value is not None and value not in ([], False):
                        output.data(f"{key.replace('_', ' ') + ':':<18}{_shown(row[key], value)}")
            output.flush()
    return _EXITS.get(row["state"], exits.FAILED) if watch else exits.DONE


@click.command()
@click.argument("job", type=int)
@click.option(
    "--format", "form", type=click.Choice(["ndjson", "csv"]), default="ndjson", show_default=True, help="As what."
)
@options.on_server
def errors(job: int, form: str, dsn: str | None) -> None:
    """Print the refused records of a job: line, field, value, code and message of each fault, and the original text.

    NDJSON has an object a record, CSV a row a fault.

    \b
    Example:
      evtool bulk errors 7 | jq -r .errors[].code | sort | uniq -c
      evtool bulk errors 7 --format csv > rejected.csv
    """
    from evtool.bulk.jobs.queue import open_queue

    if form == "csv":
        output.data(_csv_row(["line", "field", "value", "code", "message", "raw"]))
    with open_queue(settings.dsn(dsn)) as queue:
        for reject in queue.rejects(job):
            if form == "ndjson":
                output.data(json.dumps({name: reject[name] for name in ("line", "errors", "raw")}, ensure_ascii=False))
                continue
            for error in reject["errors"]:
                cells = [error.get(name) for name in ("field", "value", "code", "message")]
                output.data(_csv_row([reject["line"], *cells, reject["raw"]]))
        for batch in queue.failed_batches(job):
            output.talk(
                f"evtool: batch {batch['number']}, lines {batch['first_line']} to {batch['last_line']}, failed as a"
                f" whole: {batch['error_code']}: {batch['error_message']}"
            )


@click.command()
@click.argument("numbers", metavar="JOB...", type=int, nargs=-1, required=True)
@options.as_json
@options.on_server
def cancel(numbers: tuple[int, ...], json_: bool, dsn: str | None) -> None:
    """Cancel jobs. One that is at work stops after its batch; what its batches did stays. Of several all, or none.

    \b
    Example:
      evtool bulk cancel 7 8
    """
    from evtool.bulk.jobs.queue import open_queue

    # all of them, or none where one can't be
    with open_queue(settings.dsn(dsn)) as queue, queue.connection.transaction():
        found = {job: queue.cancel(job).value for job in sorted({*numbers})}
    told = {"processing": "will stop after its batch", "cancelled": "cancelled"}
    _tell(found, {state: told.get(state, f"is over already: {state}") for state in _STATES}, json_=json_)


@click.command()
@click.argument("numbers", metavar="JOB...", type=int, nargs=-1, required=True)
@options.as_json
@options.on_server
def retry(numbers: tuple[int, ...], json_: bool, dsn: str | None) -> None:
    """Queue jobs again that have failed, were cancelled, or have failed batches. They go on where they stopped.

    Of several all are queued, or none where one can't be.

    \b
    Example:
      evtool bulk retry 7
    """
    from evtool.bulk.jobs.queue import open_queue

    # all of them, or none where one can't be
    with open_queue(settings.dsn(dsn)) as queue, queue.connection.transaction():
        found = {job: queue.retry(job).value for job in sorted({*numbers})}
    _tell(found, {"pending": "queued again"}, json_=json_)


@click.command()
@click.option(
    "--older-than", default="30d", metavar="TIME", help="Over for so long: 90s, 15m, 12h, 30d. [default: 30d]"
)
@click.option("--state", "states", type=click.Choice(_STATES[2:]), multiple=True, help="Only jobs in it. Repeatable.")
@options.as_json
@options.on_server
def purge(older_than: str, states: tuple[str, ...], json_: bool, dsn: str | None) -> None:
    """Forget jobs that have been over for a while, with their refused records and idempotency keys.

    \b
    Example:
      evtool bulk purge --older-than 7d --state completed
    """
    found = re.fullmatch(r"(\d{1,6})([smhd])", older_than)
    if found is None:
        raise click.UsageError("--older-than is a number and s, m, h or d, such as 30d.")
    from evtool.bulk.jobs.queue import open_queue

    with open_queue(settings.dsn(dsn)) as queue:
        count = queue.purge(timedelta(**{_UNITS[found[2]]: int(found[1])}), states or None)
    if json_:
        output.as_json({"purged": count})
    else:
        output.talk(f"{output.counted(count, 'job')} forgotten")


def _init(dsn: str | None, *, sql: bool) -> None:
    from evtool.bulk.jobs import installing

    if sql:
        output.data(installing.script().rstrip())
        return
    done, notes = installing.install_at(settings.dsn(dsn))
    for note in notes:
        output.talk(f"note: {note}")
    output.talk(f"The queue of bulk jobs: {done}.")


def _looks(look: Callable[[], Any], is_enough: Callable[[Any], bool], interval: float, *, watch: bool) -> Iterator[Any]:
    """What there is to see; when watching, again whenever it has changed, until it is enough."""
    last = None
    while True:
        found = look()
        seen = _steady(found)
        if seen != last:
            yield found
            last = seen
        if not watch or is_enough(found):
            return
        time.sleep(interval)


def _steady(found: Any) -> Any:
    """Without what changes by itself."""
    if isinstance(found, list):
        return [_steady(row) for row in found]
    return {name: value for name, value in found.items() if name not in {"elapsed", "lease_until"}}


def _is_open(row: dict[str, Any]) -> bool:
    return row["state"] in {"pending", "processing"}


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """A row of the view `status` as JSON has it: moments in ISO 8601, times in seconds."""
    return {name: _plain_value(value) for name, value in row.items()}


def _plain_value(value: Any) -> Any:
    if isinstance(value, timedelta):
        return round(value.total_seconds(), 3)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Decimal):
        return float(value)
    return value


def _shown(value: Any, plain: Any) -> str:
    """A value of the view `status` for people."""
    if isinstance(value, timedelta):
        return f"{plain}s"
    return json.dumps(plain, ensure_ascii=False) if isinstance(plain, dict | list) else str(plain)


def _line(value: Any) -> None:
    output.data(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def _progress(row: dict[str, Any]) -> str:
    rate = f", {row['rows_per_second']:,.0f} rows/s" if row["rows_per_second"] else ""
    waits = f", waits for {', '.join(map(str, row['waits_for']))}" if row["waits_for"] else ""
    error = f" — {row['error_code']}: {row['error_message']}" if row["error_code"] else ""
    batches = "1 batch" if row["batches"] == 1 else f"{row['batches']} batches"
    counts = f"{output.counted(row['total'], 'record')}, {row['accepted']} accepted, {row['rejected']} rejected"
    return f"{row['state']}: {counts}, {batches}{rate}{waits}{error}"


def _table(rows: list[dict[str, Any]]) -> None:
    if not rows:
        output.talk("There are no such jobs.")
        return
    cells = [
        (
            *(
                str(row[name])
                for name in ("job", "kind", "resource", "state", "batches", "total", "accepted", "rejected")
            ),
            f"{row['rows_per_second']:.0f}" if row["rows_per_second"] is not None else "-",
            f"{row['elapsed'].total_seconds():.1f}s" if row["elapsed"] is not None else "-",
        )
        for row in rows
    ]
    output.table(_COLUMNS, cells)


def _tell(found: dict[int, str], texts: dict[str, str], *, json_: bool) -> None:
    if json_:
        output.as_json([{"job": job, "state": state} for job, state in found.items()])
        return
    for job, state in found.items():
        output.talk(f"job {job}: {texts[state]}")


def _csv_row(cells: list[Any]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(cells)
    return text.getvalue()
