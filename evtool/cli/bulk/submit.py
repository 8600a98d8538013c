"""`evtool bulk submit`."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from evtool import settings
from evtool.cli import options, output

if TYPE_CHECKING:
    from evtool.bulk.jobs.model import Submission
    from evtool.bulk.resource import Resource

_Command = TypeVar("_Command", bound=Callable[..., Any])


@click.group()
def submit() -> None:
    """Queue an import or an export, to be done by `evtool bulk worker`.

    The job's number goes to stdout. Files are the workers': their paths must be right on the workers' machines, below
    a folder that these were started with. A job keeps each batch that it has entered, so there is no --atomic and no
    --dry-run here: `evtool bulk import` has both.

    \b
    Example:
      evtool bulk submit import users /srv/incoming/users.csv --idempotency-key users-2025-07-25
      evtool bulk submit export users -o /srv/out/users.ndjson.gz
    """


def _of_jobs(command: _Command) -> _Command:
    """What both kinds of jobs have."""
    for option in (
        click.option(
            "--idempotency-key",
            metavar="KEY",
            help="The same key with the same content is the same job, not a new one.",
        ),
        click.option(
            "--after", type=int, multiple=True, metavar="JOB", help="Wait until this job is over. Repeatable."
        ),
        click.option("--priority", type=int, default=0, metavar="N", help="The higher, the sooner. [default: 0]"),
        click.option(
            "--max-attempts",
            type=click.IntRange(min=1),
            default=5,
            metavar="N",
            help="Fail after so many beginnings without a batch done. [default: 5]",
        ),
        options.as_json,
        options.on_server,
    ):
        command = option(command)
    return command


@submit.command("import")
@click.argument("what", nargs=-1, required=True, metavar="[RESOURCE] SOURCE")
@click.option("--table", metavar="TABLE", help="A table, described by its catalog: name or schema.name.")
@click.option("--schema", metavar="SCHEMA", default="public", show_default=True, help="Where the table is.")
@click.option("--format", "form", type=click.Choice(["csv", "ndjson", "json"]), help="[default: by SOURCE's name]")
@click.option(
    "--mode", type=click.Choice(["insert", "upsert"]), default="insert", show_default=True, help="As in import."
)
@click.option("--batch-size", type=click.IntRange(min=1), metavar="N", help="Records a batch. [default: 1000]")
@click.option("--max-errors", metavar="N|P%", help="Stop behind so many rejected records.")
@_of_jobs
def import_(
    what: tuple[str, ...],
    table: str | None,
    schema: str,
    form: str | None,
    mode: str,
    batch_size: int | None,
    max_errors: str | None,
    dsn: str | None,
    json_: bool,
    **of_job: Any,
) -> None:
    """Queue an import of SOURCE, a file or an http(s) URL, into RESOURCE or a table.

    Each batch commits its records, the refused ones and its entry in the queue together. A file that can be read here
    is told by its checksum: the workers refuse another content, and so does the idempotency key.

    \b
    Example:
      evtool bulk submit import users users.csv --idempotency-key users-2025-07-25
      evtool bulk submit import comments https://example.org/comments.ndjson.gz
      evtool bulk submit import --table shop.orders orders.csv
    """
    from evtool.bulk import remote
    from evtool.bulk.jobs.places import checksum

    if len(what) > 2 or (len(what) == 2) == (table is not None):
        raise click.UsageError("Give RESOURCE SOURCE, or --table TABLE SOURCE.")
    resource, source = what if len(what) == 2 else (None, what[0])
    request: dict[str, Any] = {"schema": schema, "mode": mode}
    if remote.is_url(source):
        request["source"] = remote.check_url(source)
    else:
        request["source"] = os.path.abspath(source)
        if os.path.isfile(source):
            request["sha256"] = checksum(source)
        else:
            output.talk(f"evtool: {request['source']} is not on this machine: the workers look for it on theirs")
    request |= {
        name: value
        for name, value in (("format", form), ("batch_size", batch_size), ("max_errors", max_errors))
        if value is not None
    }
    _submit(_submission("import", resource, table, schema, request, of_job), dsn, json_=json_)


@submit.command("export")
@click.argument("resource", required=False)
@click.option("-o", "--output", "path", metavar="FILE", required=True, help="Where to, on the workers' machine.")
@click.option("--table", metavar="TABLE", help="A table, described by its catalog: name or schema.name.")
@click.option("--schema", metavar="SCHEMA", default="public", show_default=True, help="Where the table is.")
@click.option(
    "--format", "form", type=click.Choice(["ndjson", "json", "csv"]), help="[default: by FILE's name, else ndjson]"
)
@click.option("--columns", metavar="LIST", help="Only these, in this order, separated by commas.")
@click.option("--where", metavar="COND", multiple=True, help="field=value, !=, <, <=, >, >=; =null. Repeat it for AND.")
@click.option("--since", metavar="TIME", help="Only records from this time on. ISO 8601 or YYYY-MM-DD, UTC.")
@click.option("--until", metavar="TIME", help="Only records before this time.")
@click.option("--order-by", metavar="LIST", help="field or 'field desc', separated by commas; the key is appended.")
@click.option("--bom", is_flag=True, help="Begin a CSV with a byte-order mark, for Excel.")
@_of_jobs
def export(
    resource: str | None,
    path: str,
    table: str | None,
    schema: str,
    form: str | None,
    columns: str | None,
    where: tuple[str, ...],
    since: str | None,
    until: str | None,
    order_by: str | None,
    bom: bool,
    dsn: str | None,
    json_: bool,
    **of_job: Any,
) -> None:
    """Queue an export of RESOURCE, or of a table, to FILE with its manifest beside it.

    \b
    Example:
      evtool bulk submit export articles --where status=published -o /srv/out/articles.csv.gz
    """
    request: dict[str, Any] = {"output": os.path.abspath(path), "schema": schema}
    given: dict[str, Any] = {
        "format": form,
        "columns": _names("--columns", columns),
        "where": list(where) or None,
        "since": since,
        "until": until,
        "order_by": _names("--order-by", order_by),
        "bom": bom or None,
    }
    request |= {name: value for name, value in given.items() if value is not None}
    _submit(_submission("export", resource, table, schema, request, of_job), dsn, json_=json_)


def _submission(
    kind: str, resource: str | None, table: str | None, schema: str, request: dict[str, Any], of_job: dict[str, Any]
) -> Submission:
    from evtool.bulk.jobs import requests
    from evtool.bulk.jobs.model import Submission
    from evtool.bulk.resource import shipped

    if (resource is None) == (table is None):
        raise click.UsageError("Give a RESOURCE or --table TABLE.")
    described: Resource | None = shipped(resource).in_schema(schema) if resource is not None else None
    if table is not None:
        request["table"] = table
    # what can be said about a request without its worker is said now
    requests.check(kind, request)
    return Submission(
        kind,
        resource or table or "",
        request,
        target=requests.target(described, table, schema),
        refers_to=requests.references(described),
        idempotency_key=of_job["idempotency_key"],
        after=tuple(of_job["after"]),
        priority=of_job["priority"],
        max_attempts=of_job["max_attempts"],
    )


def _submit(submission: Submission, dsn: str | None, *, json_: bool) -> None:
    from evtool.bulk.jobs.queue import open_queue

    with open_queue(settings.dsn(dsn)) as queue:
        job, is_new = queue.submit(submission)
    if json_:
        output.as_json({"job": job, "is_new": is_new})
        return
    if not is_new:
        output.talk(f"evtool: job {job} has this idempotency key and content already; see: evtool bulk status {job}")
    output.data(str(job))


def _names(option: str, given: str | None) -> list[str] | None:
    if given is None:
        return None
    names = [name.strip() for name in given.split(",")]
    if not all(names):
        raise click.UsageError(f"{option} has an empty name in it.")
    return names
