"""The layout of a SQLite store has a version, which is upgraded by `migrate` and by nothing else."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from evtool.errors import DatabaseTooNew, NotMigrated
from evtool.settings import DEFAULT_NAMESPACE
from evtool.stores.sqlite import SQLiteStore, database
from evtool.testing.contract.helping import append, every_call, everything, record
from tests.sqlite.conftest import files


def set_version(path: Path, version: int) -> None:
    """Writes the version of a database's tables."""
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {version}")
    connection.close()


def version_of(path: Path) -> int:
    """The version of a database's tables."""
    connection = sqlite3.connect(path)
    found: int = connection.execute("PRAGMA user_version").fetchone()[0]
    connection.close()
    return found


def test_there_is_a_file_for_every_version() -> None:
    """The version is the number of files in sql/sqlite for both kinds of database."""
    root = Path(__file__).parents[2] / "sql" / "sqlite"
    for kind in ("registry", "namespace"):
        assert [path.name for path in sorted(root.glob(f"{kind}_*.sql"))] == [
            f"{kind}_{number:04}.sql" for number in range(1, database.VERSIONS[kind] + 1)
        ]


def test_the_version_is_in_the_file(store: SQLiteStore, folder: Path) -> None:
    """PRAGMA user_version says which tables a database has."""
    append(store, "thing-1")
    (name,) = files(folder)
    assert version_of(folder / name) == database.VERSIONS["namespace"]
    assert version_of(folder / "registry.sqlite") == database.VERSIONS["registry"]


@pytest.mark.parametrize("what", ["registry", "namespace"])
def test_a_newer_layout_is_refused(store: SQLiteStore, folder: Path, what: str) -> None:
    """Nothing reads, writes or migrates a database that a newer evtool made, in stores open already or opened anew."""
    append(store, "thing-1")
    (name,) = files(folder)
    path = folder / ("registry.sqlite" if what == "registry" else name)
    set_version(path, database.VERSIONS[what] + 1)
    with SQLiteStore(folder) as other:
        for one in (store, other):
            # a store that has its namespace open asks the registry no more
            calls = every_call(one) if what == "namespace" or one is other else {}
            for call in (*calls.values(), one.migrate):
                with pytest.raises(DatabaseTooNew) as caught:
                    call()
                assert caught.value.code == "DATABASE_TOO_NEW"
                assert "upgrade evtool" in (caught.value.hint or "")
    assert version_of(path) == database.VERSIONS[what] + 1


def test_the_status_shows_a_newer_namespace(store: SQLiteStore, folder: Path) -> None:
    """`migrate status` says which namespace is newer, and doesn't fail."""
    append(store, "thing-1")
    (name,) = files(folder)
    newer = database.VERSIONS["namespace"] + 1
    set_version(folder / name, newer)
    (state,) = [one for one in store.migration_status() if one.name == DEFAULT_NAMESPACE]
    assert state.structure == f"{newer:04}"
    assert "newer" in (state.note or "")


def test_an_older_layout_waits_for_migrate(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database of an older layout is refused by every call and upgraded by `migrate`; its messages stay."""
    with SQLiteStore(folder) as store:
        store.migrate()
        append(store, "thing-1", 3)
    # the next evtool has one version more of both kinds, which adds a table
    read = database.sqltext.read
    versions = {kind: number + 1 for kind, number in database.VERSIONS.items()}
    monkeypatch.setattr(database, "VERSIONS", versions)
    added = [f"sqlite/{kind}_{number:04}.sql" for kind, number in versions.items()]
    monkeypatch.setattr(
        database.sqltext,
        "read",
        lambda path: "CREATE TABLE added (x);\n-- the end\n" if path in added else read(path),
    )
    with SQLiteStore(folder) as store:
        for call in every_call(store).values():
            with pytest.raises(NotMigrated) as caught:
                call()
            assert caught.value.hint == "run: evtool migrate, with this --dsn"
        assert store.migration_status()[0].pending == (f"{versions['registry']:04}",)
        assert [step.action for step in store.migrate()] == ["upgraded", "upgraded"]
        assert len(everything(store)) == 3
        assert append(store, "thing-1") == [3]
        assert [step.action for step in store.migrate()] == ["current", "current"]
        (name,) = files(folder)
        for path in (folder / name, folder / "registry.sqlite"):
            connection = sqlite3.connect(path)
            assert connection.execute("SELECT count(*) FROM added").fetchone() == (0,)
            connection.close()


def test_a_namespace_without_records_of_imports_is_upgraded(folder: Path) -> None:
    """Messages of structure 0001 are refused until `migrate`, which keeps them and makes room for records."""
    with SQLiteStore(folder) as store:
        store.migrate()
        append(store, "thing-1", 3)
    (name,) = files(folder)
    connection = sqlite3.connect(folder / name)
    connection.execute("DROP TABLE imports")
    connection.close()
    set_version(folder / name, 1)
    with SQLiteStore(folder) as store:
        with pytest.raises(NotMigrated):
            everything(store)
        assert [step.action for step in store.migrate()] == ["current", "upgraded"]
        assert len(everything(store)) == 3
        store.import_batch([record(10, "imported-1")])
        assert [one.last_position for one in store.import_records()] == [10]


def test_an_upgrade_is_whole_or_absent(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step that fails leaves the database at the version before it, with nothing of the step."""
    with SQLiteStore(folder) as store:
        store.migrate()
        append(store, "thing-1", 3)
    read = database.sqltext.read
    before = database.VERSIONS["registry"]
    monkeypatch.setitem(database.VERSIONS, "registry", before + 1)
    monkeypatch.setattr(
        database.sqltext,
        "read",
        lambda path: (
            "CREATE TABLE added (x);\nCREATE TABLE added (x);\n"
            if path == f"sqlite/registry_{before + 1:04}.sql"
            else read(path)
        ),
    )
    with SQLiteStore(folder) as store, pytest.raises(Exception, match="added"):
        store.migrate()
    assert version_of(folder / "registry.sqlite") == before
    connection = sqlite3.connect(folder / "registry.sqlite")
    assert connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'added'").fetchone() == (0,)
    connection.close()
    monkeypatch.undo()
    with SQLiteStore(folder) as store:
        assert len(everything(store)) == 3


def test_tables_are_strict(store: SQLiteStore, folder: Path) -> None:
    """SQLite itself refuses a value of a wrong type."""
    append(store, "thing-1")
    (name,) = files(folder)
    for path in (folder / name, folder / "registry.sqlite"):
        connection = sqlite3.connect(path)
        strict = connection.execute(
            "SELECT name, strict FROM pragma_table_list WHERE schema = 'main' AND type = 'table'"
        )
        assert {row[0]: row[1] for row in strict if not row[0].startswith("sqlite_")} in (
            {"messages": 1, "imports": 1},
            {"namespaces": 1},
        )
        connection.close()


def test_files_are_in_wal_mode(store: SQLiteStore, folder: Path) -> None:
    """Readers and a writer don't wait for each other."""
    append(store, "thing-1")
    (name,) = files(folder)
    for path in (folder / name, folder / "registry.sqlite"):
        connection = sqlite3.connect(path)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        connection.close()
