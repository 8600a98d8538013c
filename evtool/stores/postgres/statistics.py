"""What is in a namespace, counted and measured by the server."""

from __future__ import annotations

from typing import Any

from evtool import sqltext
from evtool.model import Breakdown, Count, StreamInfo, Unit
from evtool.stores.postgres import exporting, scripts
from evtool.stores.postgres.connection import Connection
from evtool.tallying import in_order


def read(connection: Connection, schema: str, unit: Unit, longest: int) -> Breakdown:
    """See `Store.breakdown`; all of it in one snapshot."""

    def ask(name: str, **variables: str) -> list[tuple[Any, ...]]:
        return connection.execute(
            scripts.fill(sqltext.read(f"statistics/{name}.sql"), {"ns": schema, **variables})
        ).fetchall()

    with exporting.snapshot(connection):
        counts = ask("counts", unit=unit)
        streams = ask("streams", longest=str(longest))
        ((disk, indexes),) = ask("sizes")
    categories, types, spans = (
        in_order(kind, (Count(*row[1:]) for row in counts if row[0] == kind)) for kind in ("category", "type", "span")
    )
    return Breakdown(categories, types, tuple(StreamInfo(*row) for row in streams), unit, spans, disk, indexes)
