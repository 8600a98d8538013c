"""A queue of imports, done by four workers and by one."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
from benchmarks.measuring import Row, compared, in_turn, say, seconds

from evtool.bulk import installing as bulk
from evtool.bulk.jobs import installing
from evtool.bulk.jobs.model import Submission
from evtool.bulk.jobs.queue import open_queue
from evtool.stores.postgres.connection import Connector

_ROOT = Path(__file__).resolve().parent.parent.parent
_JOBS = 8


def measure(dsn: str, count: int, rounds: int) -> Iterator[Row]:
    """Rows on throughput.

    Args:
        dsn: a database of ours, in which the tables of the shipped resources may be made.
        count: how many users are imported in each run, by eight jobs.
        rounds: how many times.
    """
    say(f"jobs: {count:,} users in {_JOBS} imports, by four workers and by one")
    installing.install_at(dsn)
    with contextlib.closing(Connector(dsn).open()) as connection:
        bulk.make_tables(connection, "public")
    with tempfile.TemporaryDirectory(prefix="evtool-benchmark-") as folder:
        paths = [_users(Path(folder) / f"{number}.csv", number, count // _JOBS) for number in range(_JOBS)]

        def prepare() -> None:
            with psycopg.connect(dsn, autocommit=True) as session:
                session.execute("TRUNCATE users CASCADE; CHECKPOINT")
            with open_queue(dsn) as queue:
                for path in paths:
                    queue.submit(Submission("import", "users", {"source": str(path)}))

        def run(workers: int) -> float:
            took = seconds(lambda: _work(dsn, folder, workers))
            with psycopg.connect(dsn) as session:
                found = session.execute("SELECT count(*) FROM users").fetchone()
            if found != (count // _JOBS * _JOBS,):
                raise SystemExit(f"there should be {count} users and there are {found}")
            return count / took

        samples = in_turn(lambda: run(4), lambda: run(1), rounds, prepare)
        note = f"{os.cpu_count()} processors for workers and server together; the start of the processes included"
        what = f"{_JOBS} queued imports of {count // _JOBS:,} users each, four workers"
        yield compared(what, "rows/s", samples, side="one worker", target=None, higher_is_better=True, note=note)


def _users(path: Path, number: int, count: int) -> Path:
    with path.open("w") as file:
        file.write("id,email,name,role,active,created_at,updated_at\n")
        for record in range(count):
            file.write(
                f"{uuid.uuid4()},u{number}.{record}@example.org,Name {record},reader,true,"
                "2025-01-01T00:00:00Z,2025-01-01T00:00:00Z\n"
            )
    return path


def _work(dsn: str, folder: str, workers: int) -> None:
    command = [sys.executable, "-m", "evtool", "bulk", "worker", "--drain"]
    done = subprocess.run(
        [*command, "--workers", str(workers), "--files-under", folder],
        env={**os.environ, "PYTHONPATH": str(_ROOT), "EVTOOL_DSN": dsn},
        stderr=subprocess.PIPE,
        check=False,
    )
    if done.returncode != 0:
        raise SystemExit(done.stderr.decode("utf-8", "replace"))
