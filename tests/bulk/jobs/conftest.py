"""A database with a queue for each test, and what works on it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

import evtool
from evtool.bulk import installing as bulk
from evtool.bulk.jobs import installing
from evtool.bulk.jobs.queue import Queue
from evtool.stores.postgres.connection import Connector
from tests.bulk.jobs.workers import Workers
from tests.cli.running import Cli
from tests.migration.conftest import dump, pg_program, psql

__all__ = ["dump", "pg_program", "psql"]


@pytest.fixture(scope="session")
def queue_template(make_database: Callable[..., str]) -> str:
    """The name of a database with a registry, a queue, and the tables of the shipped resources."""
    made = make_database()
    with evtool.connect(made) as store:
        store.migrate()
    installing.install_at(made)
    with contextlib.closing(Connector(made).open()) as connection:
        bulk.make_tables(connection, "public")
    return psycopg.conninfo.conninfo_to_dict(made)["dbname"]


@pytest.fixture
def queue_dsn(queue_template: str, make_database: Callable[..., str]) -> str:
    """A database of this test's own with a queue."""
    return make_database(queue_template)


@pytest.fixture
def sessions(queue_dsn: str) -> Iterator[Callable[..., psycopg.Connection]]:
    """Opens sessions in autocommit, as psql would."""
    with contextlib.ExitStack() as opened:

        def make(**parameters: Any) -> psycopg.Connection:
            session = psycopg.connect(queue_dsn, autocommit=True, **parameters)
            opened.callback(session.close)
            session.execute("SET statement_timeout = '60s'")
            return session

        yield make


@pytest.fixture
def session(sessions: Callable[..., psycopg.Connection]) -> psycopg.Connection:
    """One of them."""
    return sessions()


@pytest.fixture
def queue(queue_dsn: str) -> Iterator[Queue]:
    """The queue, as Python has it."""
    with contextlib.closing(Connector(queue_dsn).open()) as connection:
        yield Queue(connection)


@pytest.fixture
def cli(queue_dsn: str) -> Cli:
    """Evtool on the queue's database."""
    return Cli(queue_dsn)


@pytest.fixture
def workers(queue_dsn: str, tmp_path: Path) -> Iterator[Workers]:
    """Starts worker processes whose jobs may use the test's folder; none is left when the test ends."""
    with Workers(queue_dsn, tmp_path) as made:
        yield made
