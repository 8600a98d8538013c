"""`evtool export`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from evtool.cli import options, output
from evtool.cli.options import open_store
from evtool.cli.selecting import selection_options

if TYPE_CHECKING:
    from evtool.model import Selection


@click.command()
@selection_options
@click.option("-o", "--output", "path", metavar="FILE", default="-", help="Where to. [default: stdout]")
@options.compressed
@click.option(
    "--manifest",
    metavar="FILE",
    help="Where the manifest is written; - is stdout. [default: beside the output; none for stdout]",
)
@click.option("--incremental", metavar="MANIFEST", help="Only what came since the export that this is the manifest of.")
@click.option(
    "--jobs", type=click.IntRange(1, 64), metavar="N", default=1, help="Read over N connections. [default: 1]"
)
@click.option(
    "--retries",
    type=click.IntRange(0),
    metavar="N",
    default=5,
    show_default=True,
    help="How often to try again when the connection is lost. A database that isn't there at first is not waited for.",
)
@options.progress
@options.namespaced
def export(
    selection: Selection,
    path: str,
    gzip: bool,
    zstd: bool,
    manifest: str | None,
    incremental: str | None,
    jobs: int,
    retries: int,
    progress: str,
    dsn: str | None,
    namespace: str | None,
) -> None:
    """Write messages to a file, one a line, at their exact positions.

    One snapshot, in global order, each message once, and nothing that a writer was busy with is missed. All filters
    that are given must hold; of several names in one, any. A FILE appears when it is complete, and FILE.manifest.json
    beside it says what is in it and how far it goes: --incremental goes on from there, with the same filters, so that
    each message is in one of the files, and in one only. A lost connection is taken up again behind the last line.

    \b
    Example:
      evtool export --dsn postgresql://prod/shop -o all.ndjson.gz
      evtool export --categories workflow,order --since 2025-07-01 --until 2025-07-25 -o slice.ndjson
      evtool export --streams order-123 --types OrderPlaced,OrderPaid | jq .data
      evtool export --correlation checkout --from-position 5000 --zstd -o checkout.ndjson.zst
      evtool export --incremental all.ndjson.gz.manifest.json -o tomorrow.ndjson.gz
      evtool export | wc -l
    """
    from evtool.exporting import export_file

    meter = output.Meter(progress, "exported")
    try:
        with open_store(dsn, namespace) as store:
            summary = export_file(
                store,
                path,
                selection,
                compression=options.compression(path, gzip=gzip, zstd=zstd),
                manifest=manifest,
                previous=incremental,
                jobs=jobs,
                retries=retries,
                progress=meter,
                tell=_tell,
            )
    finally:
        meter.close()
    meter.done(summary.exported, summary.last_position)
    if not summary.exported and progress != "none" and not output.wants_json_events():
        since = "nothing came since" if incremental is not None else "no message matches"
        output.talk(f"evtool: {since}; see: evtool categories, evtool stats")


def _tell(text: str) -> None:
    """Says that a connection was lost: an event with --progress json, a line otherwise, for something is wrong."""
    output.talk(output.event(retry=text) if output.wants_json_events() else f"evtool: {text}")
