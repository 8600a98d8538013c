"""Migrations for those who want to see them first: the SQL, complete and runnable by psql.

Running them is a store's own doing: `Store.migrate` and `Store.migration_status`.
"""

from __future__ import annotations

from evtool.connecting import open_store


def script(dsn: str | None) -> str:
    """The SQL of `evtool migrate`.

    Args:
        dsn: the database to be migrated, which is looked at and not changed; None for a fresh one.

    Raises:
        NotAble: the store of that DSN isn't migrated by SQL.
        EvtoolError: what the store raises.
    """
    if dsn is None:
        from evtool.stores.postgres import migration_scripts

        return migration_scripts.script(None)
    with open_store(dsn) as store:
        return store.migration_script()
