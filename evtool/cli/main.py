"""`evtool`: finds the command. Commands are imported when they are named, so that `--help` is quick."""

from __future__ import annotations

import gc
import sys

import click

from evtool import __version__
from evtool.cli import exits, options, output
from evtool.cli.lazy import LazyGroup

_COMMANDS = {
    "migrate": "evtool.cli.migrate:migrate",
    "ns": "evtool.cli.ns:ns",
    "write": "evtool.cli.write:write",
    "read": "evtool.cli.read:read",
    "tail": "evtool.cli.tail:tail",
    "streams": "evtool.cli.listing:streams",
    "categories": "evtool.cli.listing:categories",
    "stats": "evtool.cli.listing:stats",
    "export": "evtool.cli.export:export",
    "import": "evtool.cli.import_:import_",
    "verify": "evtool.cli.verify:verify",
    "copy": "evtool.cli.copy:copy",
    "bulk": "evtool.cli.bulk.group:bulk",
    "doctor": "evtool.cli.doctor:doctor",
    "db": "evtool.cli.db:db",
    "demo": "evtool.cli.demo:demo",
}


@click.group(
    cls=LazyGroup,
    modules=_COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="evtool")
@options.verbose
def cli() -> None:
    """Brings a slice of production home.

    Events of Message DB namespaces in PostgreSQL, SQLite or LMDB: written, read, exported and imported at their exact
    global positions, with nothing but a DSN in between.

    \b
    Example:
      evtool migrate --dsn postgresql://localhost/shop
      evtool export --dsn postgresql://prod/shop --categories order --since 2025-07-01 -o slice.ndjson.gz
      evtool import --dsn postgresql://localhost/shop -i slice.ndjson.gz
      evtool import --dsn sqlite:///home/ann/shop -i slice.ndjson.gz
    """


def main() -> None:
    """The console script."""
    exits.end_orderly()
    output.buffer_stdout()
    code = exits.run(cli)
    # the process ends: looking for garbage among all that was imported would take a fifth of a short command's time
    gc.freeze()
    sys.exit(code)
