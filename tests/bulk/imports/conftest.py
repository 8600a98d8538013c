"""A schema with the shipped tables, and imports into it whose verdicts are looked at."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from evtool.bulk import installing
from evtool.bulk.importing import ImportOptions, described, import_files
from evtool.bulk.opening import Source
from evtool.bulk.reports import ImportReport
from evtool.bulk.resource import Resource, find, parse
from evtool.stores.postgres.connection import Connector

_numbers = itertools.count(1)


@dataclass(frozen=True)
class Imported:
    """What an import said."""

    report: ImportReport
    rejects: list[dict[str, Any]]

    @property
    def codes(self) -> dict[int, list[str]]:
        """The codes of each refused record, by its line."""
        return {one["line"]: [error["code"] for error in one["errors"]] for one in self.rejects}


@dataclass(frozen=True)
class Shop:
    """A schema of the test's own, with users, articles, comments and posts."""

    dsn: str
    schema: str
    folder: Path
    connection: psycopg.Connection[tuple[Any, ...]]

    def load(self, what: str | Resource, content: bytes | Path, name: str = "file", **options: Any) -> Imported:
        """Imports a file; its counts always add up."""
        path = content
        if isinstance(content, bytes):
            path = self.folder / name
            path.write_bytes(content)
        resource = find(what).in_schema(self.schema) if isinstance(what, str) else what
        target = self.folder / "rejects.ndjson"
        (report,) = import_files(
            self.dsn, [Source(resource, (str(path),))], ImportOptions(**options), reject_file=str(target)
        )
        rejects = [json.loads(line) for line in target.read_text().splitlines()]
        assert report.total == report.accepted + report.rejected
        assert report.accepted == report.inserted + report.updated
        assert report.rejected == len(rejects)
        assert report.errors == sum(report.by_code.values()) == sum(len(one["errors"]) for one in rejects)
        return Imported(report, rejects)

    def table(self, definition: str, name: str = "things") -> Resource:
        """Makes a table of one's own, and describes it by its catalog."""
        self.run(f"CREATE TABLE {self.schema}.{name} ({definition})")
        return described(self.dsn, name, schema=self.schema)

    def run(self, statement: str) -> None:
        """Runs a statement, the schema first in the search_path."""
        self.connection.execute(statement)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What a query returns."""
        return self.connection.execute(query).fetchall()

    def values(self, query: str) -> list[Any]:
        """The first column of what a query returns."""
        return [row[0] for row in self.rows(query)]


@pytest.fixture(scope="session")
def bulk_dsn(make_database: Callable[..., str]) -> str:
    """A database for imports, which has no registry: they don't need one."""
    return make_database()


@pytest.fixture
def shop(bulk_dsn: str, tmp_path: Path) -> Iterator[Shop]:
    """The shipped tables in a schema of the test's own."""
    schema = f"shop_{next(_numbers)}"
    with Connector(bulk_dsn).open() as connection:
        installing.install(connection)
        installing.make_tables(connection, schema)
        connection.execute(sql.SQL("SET search_path = {}, public").format(sql.Identifier(schema)))
        yield Shop(bulk_dsn, schema, tmp_path, connection)


def resource(schema: str, **given: Any) -> Resource:
    """A resource as a TOML file would describe it."""
    return parse(given).in_schema(schema)
