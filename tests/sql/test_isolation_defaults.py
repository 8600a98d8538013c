"""What a database's defaults must not change."""

from __future__ import annotations

import psycopg
from psycopg import conninfo, sql

import evtool


def test_a_default_isolation_does_not_keep_the_store_from_reading_all(empty_dsn: str) -> None:
    """Where transactions are REPEATABLE READ by default, the store still reads and exports gap-safe."""
    name = conninfo.conninfo_to_dict(empty_dsn)["dbname"]
    with evtool.connect(empty_dsn) as store:
        store.migrate()
        store.write_message(None, "a-1", "T", None)
    with psycopg.connect(empty_dsn, autocommit=True) as admin:
        admin.execute(
            sql.SQL("ALTER DATABASE {} SET default_transaction_isolation = 'repeatable read'").format(
                sql.Identifier(str(name))
            )
        )
    with evtool.connect(empty_dsn) as store:
        assert len(store.get_all_messages()) == 1
        assert sum(block.count for block in store.export(evtool.Selection())) == 1
