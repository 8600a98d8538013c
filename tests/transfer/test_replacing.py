"""An export and a replacement of all messages that meet."""

from __future__ import annotations

import io
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from evtool import ndjson
from evtool.errors import StoreError
from evtool.imports import ImportPlan
from evtool.model import Selection
from evtool.stores.postgres import PostgresStore
from tests.transfer.lines import lines

_WAITS = "SELECT 1 FROM pg_locks WHERE NOT granted AND relation = to_regclass(quote_ident(%(ns)s) || '.messages')"


def test_an_export_that_waits_for_a_replacement_is_refused(
    store: PostgresStore, connection: psycopg.Connection, dsn: str, namespace: str
) -> None:
    """A snapshot from before a replacement finds nothing in the table: such an export is an error and never empty."""
    store.import_batch(ndjson.read(io.BytesIO(lines([1, 2]))))
    watermark = store.watermark()
    with ThreadPoolExecutor() as pool:

        def records() -> Any:
            yield from ndjson.read(io.BytesIO(lines([7])))
            # all rows are removed by now
            exports.append(pool.submit(lambda: list(store.export(Selection(), watermark))))
            while not connection.execute(_WAITS, {"ns": namespace}).fetchone():
                assert not exports[0].done()
            yield from ndjson.read(io.BytesIO(lines([8])))

        exports: list[Future[Any]] = []
        with PostgresStore(dsn, namespace) as other:
            other.import_batch(records(), ImportPlan(replace=True))
        with pytest.raises(StoreError, match="all messages of the namespace were replaced"):
            exports[0].result()
    assert sum(block.count for block in store.export(Selection())) == 2
