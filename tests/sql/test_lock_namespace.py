"""evtool.lock_namespace: the lock under which a namespace is deleted."""

from __future__ import annotations

import psycopg


def test_it_locks_the_table_until_the_end_of_the_transaction(dsn: str, namespace: str) -> None:
    """Inside the transaction the table is locked exclusively; afterwards it isn't."""
    query = "SELECT count(*) FROM pg_locks WHERE relation = to_regclass(%s) AND mode = 'AccessExclusiveLock'"
    with psycopg.connect(dsn, autocommit=True) as connection:
        with connection.transaction():
            connection.execute("SELECT evtool.lock_namespace(%s)", (namespace,))
            assert connection.execute(query, (f"{namespace}.messages",)).fetchone() == (1,)
        assert connection.execute(query, (f"{namespace}.messages",)).fetchone() == (0,)


def test_a_schema_that_is_gone_is_no_error(dsn: str) -> None:
    """A schema without the table is passed over, for a namespace whose schema was dropped can be deleted, too."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("SELECT evtool.lock_namespace('no such schema')")
