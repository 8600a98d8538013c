"""Where records come from: a table of PostgreSQL, or of a SQLite database file."""

from __future__ import annotations

from evtool.bulk.sources.source import Block, Estimate, Request, Source

__all__ = ["Block", "Estimate", "Request", "Source", "open_source"]


def open_source(dsn: str, *, schema: str = "public") -> Source:
    """Opens a database for reading, in one snapshot.

    Args:
        dsn: `sqlite:///path/of/a/file`, or what PostgreSQL or the embedded server is named by.
        schema: of PostgreSQL, where a table is looked for that is named without one.

    Raises:
        InvalidDsn: nothing here knows such a DSN.
        StoreUnreachable: it isn't there.
    """
    if dsn.startswith("sqlite:"):
        from evtool.bulk.sources.sqlite import SQLiteSource

        return SQLiteSource(dsn)
    from evtool.bulk.sources.postgres import PostgresSource
    from evtool.connecting import server_dsn

    return PostgresSource(server_dsn(dsn), schema=schema)
