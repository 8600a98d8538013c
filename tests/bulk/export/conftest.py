"""Tables to export: in PostgreSQL, a schema a test, and in SQLite, a file a test."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import conninfo, sql

from evtool.bulk.exporting import export_file
from evtool.bulk.resource import Resource
from evtool.bulk.selecting import BulkSelection, Condition
from evtool.bulk.writers import Format
from tests.cli.running import Cli

_numbers = itertools.count(1)

Export = Callable[..., bytes]


@pytest.fixture(scope="session")
def bulk_dsn(make_database: Callable[..., str]) -> str:
    """A database for tables; each test has its own schema in it."""
    return make_database()


@pytest.fixture
def schema(bulk_dsn: str) -> str:
    """The name of a fresh schema; nothing in it is what SQL would fold."""
    name = f"Bulk {next(_numbers)}"
    with psycopg.connect(bulk_dsn, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(name)))
    return name


@pytest.fixture
def tables(bulk_dsn: str, schema: str) -> Iterator[psycopg.Connection]:
    """A superuser's connection in autocommit, with the schema in its search_path."""
    with psycopg.connect(bulk_dsn, autocommit=True) as made:
        made.execute(sql.SQL("SET search_path = {}").format(sql.Identifier(schema)))
        yield made


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """A database file of SQLite, in autocommit."""
    made = sqlite3.connect(tmp_path / "an archive.db", isolation_level=None)
    yield made
    made.close()


@pytest.fixture
def export(bulk_dsn: str, schema: str, tmp_path: Path) -> Export:
    """The bytes of an export from PostgreSQL."""

    def run(what: Resource | str, form: str = "ndjson", *, dsn: str = bulk_dsn, **options: Any) -> bytes:
        return _export(dsn, what, form, tmp_path / "exported", schema=schema, **options)

    return run


@pytest.fixture
def export_archive(archive: sqlite3.Connection, tmp_path: Path) -> Export:
    """The bytes of an export from the SQLite file."""
    dsn = f"sqlite://{tmp_path / 'an archive.db'}"

    def run(what: Resource | str, form: str = "ndjson", **options: Any) -> bytes:
        return _export(dsn, what, form, tmp_path / "exported", **options)

    return run


def _export(dsn: str, what: Resource | str, form: str, path: Path, **options: Any) -> bytes:
    where = tuple(Condition.parse(text) for text in options.pop("where", ()))
    chosen = {
        name: options.pop(name) for name in ("columns", "order_by", "since", "until", "time_field") if name in options
    }
    selection = BulkSelection(where=where, **chosen)
    export_file(dsn, what, str(path), selection, format=Format(form), **options)
    return path.read_bytes()


@pytest.fixture
def bulk_cli(bulk_dsn: str) -> Cli:
    """Evtool on the database of tables."""
    return Cli(bulk_dsn)


def with_options(dsn: str, options: str) -> str:
    """The DSN with settings of the session."""
    return conninfo.make_conninfo(dsn, options=options)
