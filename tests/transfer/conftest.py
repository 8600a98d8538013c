"""Namespaces, what they hold, and ways in and out of them."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from evtool import ndjson
from evtool.imports import ImportSummary
from evtool.model import Selection
from evtool.stores.postgres import PostgresStore
from tests.cli.running import Cli

Contents = tuple[list[tuple[Any, ...]], tuple[Any, ...]]
REAL = Path(__file__).parents[1] / "data" / "repository-events.ndjson.gz"


@pytest.fixture
def cli(dsn: str, namespace: str) -> Cli:
    """Evtool on the shared database, in a fresh namespace."""
    return Cli(dsn, namespace)


@pytest.fixture(scope="session")
def events() -> list[dict[str, Any]]:
    """The messages of the real file, as JSON values."""
    with gzip.open(REAL, "rb") as file:
        return [json.loads(line) for line in file]


@pytest.fixture(scope="session")
def production(shared_store: PostgresStore, dsn: str) -> Cli:
    """Evtool in a namespace that holds the real file. Not to be written to."""
    name = shared_store.create_namespace("production").name
    cli = Cli(dsn, name)
    cli("import", "-i", REAL).ok()
    return cli


@pytest.fixture
def contents(connection: psycopg.Connection, namespace: str) -> Callable[[], Contents]:
    """All that the namespace holds now: its rows, and where its sequence is."""

    def read() -> Contents:
        rows = connection.execute(
            "SELECT global_position, position, time::text, stream_name, type, data::text, metadata::text, id::text"
            " FROM messages ORDER BY global_position"
        ).fetchall()
        sequence = connection.execute(
            sql.SQL("SELECT last_value, is_called FROM {}").format(
                sql.Identifier(namespace, "messages_global_position_seq")
            )
        ).fetchone()
        assert sequence is not None
        return rows, sequence

    return read


@pytest.fixture
def export(store: PostgresStore) -> Callable[..., bytes]:
    """What an export of the namespace holds."""
    return lambda **selection: b"".join(block.lines for block in store.export(Selection(**selection)))


@pytest.fixture
def import_lines(store: PostgresStore) -> Callable[[bytes], ImportSummary]:
    """Imports the bytes of a file into the namespace."""
    return lambda content: store.import_batch(ndjson.read(io.BytesIO(content)))
