"""`evtool export` and `evtool import`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from evtool.cli import options, output
from evtool.cli.options import open_store


@click.command()
@click.option("--categories", metavar="LIST", multiple=True, help="Only these categories, separated by commas.")
@click.option("--since", metavar="TIME", help="Only messages from this time on. ISO 8601 or YYYY-MM-DD, UTC.")
@click.option("--until", metavar="TIME", help="Only messages before this time.")
@click.option("-o", "--output", "path", metavar="FILE", default="-", help="Where to. [default: stdout]")
@click.option("--gzip", "compress", is_flag=True, help="Compress; so does a FILE that ends in .gz.")
@options.progress
@options.namespaced
def export(
    categories: tuple[str, ...],
    since: str | None,
    until: str | None,
    path: str,
    compress: bool,
    progress: str,
    dsn: str | None,
    namespace: str | None,
) -> None:
    """Write messages to a file, one a line, at their exact positions.

    One snapshot, in global order, each message once, and nothing that a writer was busy with is missed. A FILE appears
    when it is complete.

    \b
    Example:
      evtool export --dsn postgresql://prod/shop -o all.ndjson.gz
      evtool export --categories workflow,order --since 2025-07-01 --until 2025-07-25 -o slice.ndjson
      evtool export | wc -l
    """
    from evtool import times
    from evtool.exporting import export_file
    from evtool.model import Selection

    names = tuple(name.strip() for given in categories for name in given.split(","))
    if any(not name for name in names):
        raise click.UsageError("--categories has an empty name in it.")
    selection = Selection(
        categories=names,
        since=times.parse_bound(since) if since is not None else None,
        until=times.parse_bound(until) if until is not None else None,
    )
    meter = output.Meter(progress, "exported")
    try:
        with open_store(dsn, namespace) as store:
            summary = export_file(store, path, selection, compress=compress or path.endswith(".gz"), progress=meter)
    finally:
        meter.close()
    meter.done(summary.exported, summary.last_position)
    if not summary.exported and progress != "none" and not output.wants_json_events():
        output.talk("evtool: no message matches; see: evtool categories, evtool stats")


@click.command("import")
@click.option("-i", "--input", "path", metavar="FILE", default="-", help="Where from. [default: stdin]")
@options.progress
@options.namespaced
def import_(path: str, progress: str, dsn: str | None, namespace: str | None) -> None:
    """Write the messages of an export file into a namespace, at the positions that they bring.

    All or nothing: a line that is wrong, or that clashes with a message that is there, is named, and the namespace is
    as it was. Gzip is recognised by content. Afterwards new messages get positions above the imported ones.

    \b
    Example:
      evtool import -i slice.ndjson.gz
      evtool export --dsn postgresql://prod/shop --categories order | evtool import -n debug
    """
    from evtool.importing import import_file

    if path == "-" and (sys.stdin is None or sys.stdin.isatty()):
        raise click.UsageError("Give a file with -i FILE, or pipe one in.")
    size = Path(path).stat().st_size if Path(path).is_file() else None
    meter = output.Meter(progress, "imported", total_bytes=size)
    try:
        with open_store(dsn, namespace) as store:
            summary = import_file(store, path, progress=meter)
    finally:
        meter.close()
    meter.done(summary.imported, summary.last_position)
