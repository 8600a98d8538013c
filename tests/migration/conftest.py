"""What the tests of migrations share: psql and pg_dump for the server, and a release that is newer than this one."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import conninfo

import evtool
from evtool.embedded import find_binaries
from evtool.testing.servers import DatabaseServer

CHECKOUT = Path(__file__).resolve().parents[2]

Program = Callable[[str], Path]
Psql = Callable[..., "subprocess.CompletedProcess[str]"]
Dump = Callable[..., str]

REVISION = '''"""A migration of a release to come.

Revision ID: 0003
Revises: 0002
"""

from evtool.stores.postgres.structure import execute

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    execute("ALTER TABLE messages ADD COLUMN note text DEFAULT '50 % :x a[1:2]'")
    execute("CREATE INDEX messages_note ON messages (note)")


def downgrade() -> None:
    execute("ALTER TABLE messages DROP COLUMN note")
'''


@pytest.fixture(scope="session")
def pg_program(server: DatabaseServer) -> Program:
    """Finds a program of PostgreSQL that is at least as new as the server."""
    major = int(server.version.split(".")[0])
    binaries = find_binaries(prefer=major)
    if binaries.major < major:
        binaries = find_binaries()
    assert binaries.major >= major, f"psql and pg_dump {binaries.version} are too old for PostgreSQL {server.version}"
    return binaries.program


@pytest.fixture(scope="session")
def psql(pg_program: Program) -> Psql:
    """Runs a SQL text, or a file with variables, through psql, as it is for anybody: without a .psqlrc."""

    def run(
        dsn: str, text: str | None = None, *, file: Path | None = None, fails: bool = False, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        source = ["-f", str(file)] if file else []
        given = [argument for name, value in variables.items() for argument in ("-v", f"{name}={value}")]
        command = [str(pg_program("psql")), "-X", "-q", "-d", dsn, *given, *source]
        done = subprocess.run(command, input=text or "", capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode != 0) is fails, done.stderr
        return done

    return run


@pytest.fixture(scope="session")
def dump(pg_program: Program) -> Dump:
    """A schema as pg_dump has it, without data; what differs by the hour is left out."""

    def run(dsn: str, schema: str) -> str:
        pattern = '"' + schema.replace('"', '""') + '"'
        command = [str(pg_program("pg_dump")), "-d", dsn, "--schema-only", "-n", pattern]
        text = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
        # a key that pg_dump draws anew each time
        text = re.sub(r"^\\(un)?restrict .*\n", "", text, flags=re.MULTILINE)
        assert "CREATE FUNCTION" in text
        return text

    return run


@pytest.fixture
def as_role() -> Callable[[str, str], str]:
    """A DSN on which another role is in force from the first statement on."""

    def name(dsn: str, role: str) -> str:
        return conninfo.make_conninfo(dsn, options="-c role=" + role.replace(" ", "\\ "))

    return name


@pytest.fixture
def admin(empty_dsn: str) -> Iterator[psycopg.Connection]:
    """A superuser's session in autocommit on the test's own database."""
    with psycopg.connect(empty_dsn, autocommit=True) as session:
        yield session


class Release:
    """A copy of evtool in a folder of its own, to be changed and run as another version."""

    def __init__(self, folder: Path, version: str = "999.0") -> None:
        self.folder = folder
        for part in ("evtool", "sql", "alembic", "scripts"):
            shutil.copytree(CHECKOUT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        self.edit("evtool/__init__.py", evtool.__version__, version)

    def edit(self, path: str, old: str, new: str) -> None:
        """Replaces a text in a file."""
        file = self.folder / path
        text = file.read_text("utf-8")
        assert old in text
        file.write_text(text.replace(old, new), "utf-8")

    def add(self, path: str, text: str) -> None:
        """Adds a file."""
        (self.folder / path).write_text(text, "utf-8")

    def generate(self) -> None:
        """Runs its scripts/generate."""
        (self.folder / "docs").mkdir(exist_ok=True)
        self.python((self.folder / "scripts" / "generate").read_text("utf-8").replace("__file__", "'scripts/generate'"))

    def python(self, code: str, *arguments: str, fails: bool = False) -> str:
        """Runs Python with this release and returns what it prints, errors included."""
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(self.folder)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )
        assert (done.returncode != 0) is fails, done.stdout
        return done.stdout

    def migrate(self, dsn: str, *, fails: bool = False) -> str:
        """Migrates with this release; prints a step a line."""
        code = (
            "import sys, evtool\n"
            "for step in evtool.connect(sys.argv[1]).migrate(): print(step.name, step.action, step.structure)"
        )
        return self.python(code, dsn, fails=fails)

    def status(self, dsn: str) -> str:
        """The status as this release sees it, a state a line."""
        code = (
            "import sys, evtool\n"
            "for state in evtool.connect(sys.argv[1]).migration_status():\n"
            "    print(state.name, state.structure, list(state.pending), state.functions)"
        )
        return self.python(code, dsn)


@pytest.fixture(scope="module")
def newer_release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    """A release with one more migration of namespaces and one changed function."""
    release = Release(tmp_path_factory.mktemp("release"))
    release.add("alembic/namespace/versions/0003_note.py", REVISION)
    release.edit("sql/namespace/functions/message_store_version.sql", "'1.3.0'::varchar", "'1.4.0'::varchar")
    release.generate()
    return release


@pytest.fixture(scope="module")
def older_release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    """A release that knows only the first migration of namespaces."""
    release = Release(tmp_path_factory.mktemp("older"), "0.0.1")
    for later in sorted((release.folder / "alembic" / "namespace" / "versions").glob("*.py"))[1:]:
        later.unlink()
    release.generate()
    return release


@pytest.fixture
def make_release(tmp_path: Path) -> Callable[[], Release]:
    """A copy of this release to be changed."""
    return lambda: Release(tmp_path / "release")
