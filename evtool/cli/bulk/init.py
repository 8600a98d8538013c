"""`evtool bulk init`."""

from __future__ import annotations

import contextlib

import click

from evtool import settings
from evtool.cli import options, output


@click.command()
@click.option("--schema", metavar="SCHEMA", default="public", show_default=True, help="Where the tables go.")
@options.on_server
def init(schema: str, dsn: str | None) -> None:
    """Make the tables users, articles, comments and posts, and what imports need.

    The tables go into a schema of your choice, which is made too. The functions and the ledger of imports go into the
    schema evtool_bulk, of which a database has one; an import makes it by itself where it may.

    \b
    Example:
      evtool bulk init --dsn postgresql://localhost/shop
      evtool bulk init --schema blog
    """
    from evtool.bulk import installing
    from evtool.connecting import server_dsn
    from evtool.stores.postgres.connection import Connector
    from evtool.stores.postgres.translation import translated

    with translated(), contextlib.closing(Connector(server_dsn(settings.dsn(dsn))).open()) as connection:
        installing.install(connection)
        done = installing.make_tables(connection, schema)
    output.talk(f"The tables users, articles, comments and posts in the schema {schema}: {done}.")
