"""The files that are made from others, and the migrations themselves."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from alembic import command
from psycopg import sql

import evtool
from evtool.stores.postgres import PostgresStore, structure

CHECKOUT = Path(__file__).resolve().parents[2]


def test_the_generated_files_are_current() -> None:
    """structure.sql and version.sql say what the migrations and the files of functions add up to."""
    done = subprocess.run(
        [sys.executable, str(CHECKOUT / "scripts" / "generate"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_alembics_folders_are_no_packages() -> None:
    """An __init__.py in alembic/ would hide the library of that name from a checkout."""
    assert list((CHECKOUT / "alembic").rglob("__init__.py")) == []


@pytest.mark.parametrize("scope", ["registry", "namespace"])
def test_versions_form_one_line(scope: str) -> None:
    """Each migration follows one other, and their numbers ascend."""
    versions = structure.revisions(scope)
    assert versions == sorted(versions)
    assert len(versions) == len(list((CHECKOUT / "alembic" / scope / "versions").glob("*.py")))


def test_the_messages_can_be_downgraded_and_come_back(shared_store: PostgresStore, dsn: str, namespace: str) -> None:
    """Down to nothing, the migrations leave no object behind, and up again they make the tables anew."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        schema = sql.Identifier(namespace)
        connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(schema))
        connection.execute(sql.SQL("CREATE SCHEMA {}").format(schema))
        for direction in ("up", "down", "up"):
            with connection.transaction():
                if direction == "up":
                    structure.upgrade(connection, "namespace", namespace, None)
                else:
                    _downgrade(connection, "namespace", namespace)
            objects = connection.execute(
                "SELECT relname::text FROM pg_class WHERE relnamespace = to_regnamespace(%(schema)s)"
                " UNION ALL SELECT proname::text FROM pg_proc WHERE pronamespace = to_regnamespace(%(schema)s)"
                " UNION ALL SELECT typname::text FROM pg_type WHERE typnamespace = to_regnamespace(%(schema)s)",
                {"schema": namespace},
            ).fetchall()
            left = {row[0] for row in objects}
            assert ("messages" in left) is (direction == "up")
            assert direction == "up" or left == set()


def test_the_registry_can_be_downgraded(empty_dsn: str) -> None:
    """The registry's migrations undo what they did."""
    with evtool.connect(empty_dsn) as store:
        store.migrate()
    with psycopg.connect(empty_dsn) as connection:
        _downgrade(connection, "registry", "evtool")
    with psycopg.connect(empty_dsn) as connection:
        assert connection.execute("SELECT to_regclass('evtool.namespaces')").fetchone() == (None,)


def _downgrade(connection: psycopg.Connection, scope: str, schema: str) -> None:
    """Undoes all migrations of a scope."""
    output = io.StringIO()
    newest = structure.revisions(scope)[-1]
    command.downgrade(structure._config(scope, output=output), f"{newest}:base", sql=True)
    connection.execute(sql.SQL("SET LOCAL search_path = {}").format(sql.Identifier(schema)))
    connection.execute(output.getvalue())
    if scope == "namespace":
        # Alembic keeps its own table
        assert connection.execute("SELECT * FROM evtool_version").fetchall() == []
        connection.execute("DROP TABLE evtool_version")
