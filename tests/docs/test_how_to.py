"""The how-to guides, word for word: what a page makes a file of is made, what it types is typed, in an empty folder."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

import evtool
from evtool import settings
from evtool.testing import reference
from evtool.testing.servers import probe_docker
from tests.conftest import EVENTS
from tests.docs.pages import DOCS, ROOT, follow

HOW_TO = DOCS / "how-to"


@pytest.fixture
def production(empty_dsn: str) -> str:
    """A database with the namespace that the guides call production."""
    with evtool.connect(empty_dsn) as store:
        store.migrate()
        store.create_namespace("production")
        evtool.import_file(store.in_namespace("production"), str(EVENTS))
    return empty_dsn


@pytest.mark.thorough
def test_a_bug_is_exported(production: str, tmp_path: Path) -> None:
    """The guide finds a slice, masks it, brings it home, and its test passes on it."""
    assert follow(HOW_TO / "export-for-a-bug.md", tmp_path, production, PROD=production) == 9


@pytest.mark.thorough
def test_increments_are_exported_daily(production: str, tmp_path: Path) -> None:
    """The guide's script makes a chain of files, and what is imported from it is what production has."""
    assert follow(HOW_TO / "daily-increments.md", tmp_path, production, PROD=production) == 15
    with evtool.connect(production, "production") as store, evtool.connect(production, "copy") as copy:
        assert copy.last_position() == store.last_position() == 43438
        assert copy.get_stream_messages("file-new.py") == store.get_stream_messages("file-new.py")


@pytest.mark.thorough
def test_message_db_is_adopted(empty_dsn: str, tmp_path: Path) -> None:
    """The guide adopts a store that Message DB's scripts installed, and its role goes on writing."""
    with psycopg.connect(empty_dsn, autocommit=True) as session:
        reference.install(session, reference.fetch(ROOT / ".cache"))
    assert follow(HOW_TO / "adopt-message-db.md", tmp_path, empty_dsn) == 8


def test_rejects_are_mended(empty_dsn: str, tmp_path: Path) -> None:
    """The guide's file is imported, what was refused is mended, and nothing is left."""
    assert follow(HOW_TO / "bulk-import.md", tmp_path, empty_dsn) == 8
    with psycopg.connect(empty_dsn) as session:
        rows = session.execute("SELECT email::text, role::text FROM shop.users ORDER BY 1").fetchall()
    assert rows == [("ann@example.com", "admin"), ("bob@example.com", "author"), ("eve@example.com", "author")]


@pytest.mark.thorough
def test_tests_run_in_ci(empty_dsn: str, tmp_path: Path) -> None:
    """The guide's tests pass on every store, and in a container where an engine answers."""
    has_engine = probe_docker(settings.docker_host() or "unix:///var/run/docker.sock") is None
    commands = follow(
        HOW_TO / "ci-with-testcontainers.md", tmp_path, empty_dsn, without=() if has_engine else ("test_service.py",)
    )
    assert commands == (4 if has_engine else 3)


def test_it_is_installed(empty_dsn: str, tmp_path: Path) -> None:
    """What the guide types says the version."""
    assert follow(HOW_TO / "install.md", tmp_path, empty_dsn) == 2
