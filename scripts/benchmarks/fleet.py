#!/usr/bin/env python3
"""A fleet of namespaces on a temporary server: made, migrated by several jobs, found current. `fleet.py 1000`."""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import psycopg

from evtool import embedded
from evtool.model import MigrationPlan
from evtool.stores.postgres import PostgresStore


def main(size: int) -> None:
    """Prints seconds, one line for each thing that was done."""
    with embedded.temporary(parameters={"fsync": "off"}) as server, PostgresStore(server.dsn) as store:
        store.migrate()
        start = time.monotonic()
        for number in range(size):
            store.create_namespace(f"tenant_{number:05}")
        print(f"{size} namespaces made one after the other: {time.monotonic() - start:.1f} s")
        for jobs in (1, 4):
            with psycopg.connect(server.dsn, autocommit=True) as admin:
                admin.execute("UPDATE evtool.behaviours SET checksum = 'old' WHERE schema_name <> 'evtool'")
            for what in ("all functions replaced", "all found current"):
                start = time.monotonic()
                steps = list(store.administration().migrate(MigrationPlan(jobs=jobs)))
                assert len({step.action for step in steps if step.name is not None}) == 1
                print(f"{what}, {jobs} jobs: {time.monotonic() - start:.1f} s")
        start = time.monotonic()
        assert all(state.current for state in store.migration_status())
        print(f"migrate status: {time.monotonic() - start:.1f} s")


if __name__ == "__main__":
    main(int(sys.argv[1]))
