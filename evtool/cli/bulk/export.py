"""`evtool bulk export`."""

from __future__ import annotations

import click

from evtool import settings
from evtool.cli import options
from evtool.cli.bulk.export_meter import RecordMeter


@click.command()
@click.argument("resource", required=False)
@click.option("--table", metavar="TABLE", help="A table, described by its catalog: name or schema.name.")
@click.option("--schema", metavar="SCHEMA", default="public", show_default=True, help="Where the table is.")
@click.option(
    "--format", "form", type=click.Choice(["ndjson", "json", "csv"]), help="[default: by FILE's name, else ndjson]"
)
@click.option("--columns", metavar="LIST", multiple=True, help="Only these, in this order, separated by commas.")
@click.option("--where", metavar="COND", multiple=True, help="field=value, !=, <, <=, >, >=; =null. Repeat it for AND.")
@click.option("--since", metavar="TIME", help="Only records from this time on. ISO 8601 or YYYY-MM-DD, UTC.")
@click.option("--until", metavar="TIME", help="Only records before this time.")
@click.option("--time-field", metavar="FIELD", help="What --since and --until look at. [default: created_at]")
@click.option("--order-by", metavar="LIST", help="field or 'field desc', separated by commas; the key is appended.")
@click.option("--bom", is_flag=True, help="Begin a CSV with a byte-order mark, for Excel.")
@options.compressed
@click.option("-o", "--output", "path", metavar="FILE", default="-", help="Where to. [default: stdout]")
@click.option("--batch-size", metavar="N", type=click.IntRange(1), help="Records taken at once. [default: 1000]")
@click.option("--no-space-check", is_flag=True, help="Begin even if the disk seems too small.")
@options.progress
@options.on_tables
def export(
    resource: str | None,
    table: str | None,
    schema: str,
    form: str | None,
    columns: tuple[str, ...],
    where: tuple[str, ...],
    since: str | None,
    until: str | None,
    time_field: str | None,
    order_by: str | None,
    bom: bool,
    gzip: bool,
    zstd: bool,
    path: str,
    batch_size: int | None,
    no_space_check: bool,
    progress: str,
    dsn: str | None,
) -> None:
    """Write the records of RESOURCE, or of a table, to a file.

    RESOURCE is users, articles, comments, posts, or a resource file of your own. The DSN is a PostgreSQL server's, or
    sqlite:///path/of/a/database/file. One snapshot, in a total order; equal records give equal bytes. A FILE appears
    when it is complete, with its manifest beside it.

    \b
    Example:
      evtool bulk export posts --dsn sqlite:///home/me/archive.db --format json -o posts.json
      evtool bulk export articles --where status=published --since 2025-07-01 --format csv -o articles.csv
      evtool bulk export --table sales.invoices --columns id,total --order-by 'total desc' | head
    """
    from evtool import times
    from evtool.bulk import exporting
    from evtool.bulk.resource import find
    from evtool.bulk.selecting import TIME_FIELD, BulkSelection, Condition
    from evtool.bulk.writers import Format

    if (resource is None) == (table is None):
        raise click.UsageError("Give a RESOURCE or --table TABLE.")
    format = Format(form) if form else Format.of(path)
    if bom and format is not Format.CSV:
        raise click.UsageError("--bom goes with --format csv: JSON has none.")
    if time_field is not None and since is None and until is None:
        raise click.UsageError("--time-field goes with --since or --until.")
    selection = BulkSelection(
        columns=_names("--columns", columns),
        where=tuple(Condition.parse(one) for one in where),
        since=times.parse_bound(since) if since is not None else None,
        until=times.parse_bound(until) if until is not None else None,
        order_by=_names("--order-by", (order_by,) if order_by is not None else ()),
        time_field=time_field or TIME_FIELD,
    )
    meter = RecordMeter(progress, "exported")
    try:
        summary = exporting.export_file(
            settings.dsn(dsn),
            find(resource) if resource is not None else table or "",
            path,
            selection,
            format=format,
            bom=bom,
            compression=options.compression(path, gzip=gzip, zstd=zstd),
            schema=schema,
            batch=batch_size or exporting.BATCH,
            check_space=not no_space_check,
            progress=lambda told: meter.show(told.records, told.total, exact=told.exact),
        )
    finally:
        meter.close()
    meter.done(summary.exported, f" to {path}; its manifest: {summary.manifest}" if summary.manifest else "")


def _names(option: str, given: tuple[str, ...]) -> tuple[str, ...]:
    names = tuple(name.strip() for one in given for name in one.split(","))
    if any(not name for name in names):
        raise click.UsageError(f"{option} has an empty name in it.")
    return names
