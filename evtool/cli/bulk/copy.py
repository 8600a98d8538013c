"""`evtool bulk copy`."""

from __future__ import annotations

import click

from evtool import settings
from evtool.cli import options
from evtool.cli.bulk.export_meter import RecordMeter


@click.command()
@click.argument("tables", metavar="TABLE...", nargs=-1, required=True)
@click.option(
    "--from",
    "source",
    metavar="DSN",
    required=True,
    callback=options.not_empty,
    help="Where from: a PostgreSQL server.",
)
@click.option(
    "--to",
    "target",
    metavar="DSN",
    callback=options.not_empty,
    help="Where to. [env: EVTOOL_DSN, else the PG* variables]",
)
@click.option("--schema", metavar="SCHEMA", default="public", show_default=True, help="Where the tables are.")
@click.option("--where", metavar="COND", multiple=True, help="table.field=value, !=, <, <=, >, >=; repeat it for AND.")
@options.progress
@options.verbose
def copy(
    tables: tuple[str, ...], source: str, target: str | None, schema: str, where: tuple[str, ...], progress: str
) -> None:
    """Copy tables into those of the same names in another database, all or nothing.

    TABLE is name, schema.name, or a resource. The source is read in one snapshot; parents go before children, by the
    target's foreign keys. A record that clashes is named by its constraint, and then nothing is copied. Sequences are
    moved above what came.

    \b
    Example:
      evtool bulk copy users articles comments --from postgresql://prod/shop --to postgresql://localhost/shop
      evtool bulk copy orders customers --from service=prod --where 'orders.created_at>=2025-07-01'
    """
    from evtool.bulk.copying import copy_tables
    from evtool.bulk.resource import SHIPPED, find
    from evtool.bulk.selecting import Condition

    what = [find(one) if one in SHIPPED or one.endswith(".toml") else one for one in tables]
    meter = RecordMeter(progress, "copied")
    try:
        summary = copy_tables(
            source,
            settings.dsn(target),
            what,
            [Condition.parse(one) for one in where],
            schema=schema,
            progress=lambda table, records: meter.show(records, of=table),
        )
    finally:
        meter.close()
    told = ", ".join(f"{name} {count}" for name, count in summary.copied.items())
    meter.done(sum(summary.copied.values()), f": {told}")
