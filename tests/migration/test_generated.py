"""The files that are made from others, and the migrations themselves."""

from __future__ import annotations

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
            with structure.transaction(connection) as outer:
                if direction == "up":
                    structure.upgrade(outer, "namespace", namespace)
                else:
                    connection.execute(sql.SQL("SET LOCAL search_path = {}").format(schema))
                    command.downgrade(structure._config("namespace", connection=outer), "base")
            objects = connection.execute(
                "SELECT relname::text FROM pg_class WHERE relnamespace = to_regnamespace(%(schema)s)"
                " UNION ALL SELECT proname::text FROM pg_proc WHERE pronamespace = to_regnamespace(%(schema)s)"
                " UNION ALL SELECT typname::text FROM pg_type WHERE typnamespace = to_regnamespace(%(schema)s)",
                {"schema": namespace},
            ).fetchall()
            # Alembic keeps its own table
            left = {row[0] for row in objects} - {"evtool_version", "evtool_version_pkc", "_evtool_version"}
            assert ("messages" in left) is (direction == "up")
            assert direction == "up" or left == set()


def test_the_registry_can_be_downgraded(empty_dsn: str) -> None:
    """The registry's migrations undo what they did."""
    with evtool.connect(empty_dsn) as store:
        store.migrate()
    with (
        psycopg.connect(empty_dsn, autocommit=True) as connection,
        structure.transaction(connection) as outer,
    ):
        connection.execute("SET LOCAL search_path = evtool")
        command.downgrade(structure._config("registry", connection=outer), "base")
    with psycopg.connect(empty_dsn) as connection:
        assert connection.execute("SELECT to_regclass('evtool.namespaces')").fetchone() == (None,)
