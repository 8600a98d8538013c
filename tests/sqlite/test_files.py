"""The files of a SQLite store: made when they are needed, removed when they are not, and never called by a name."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import pytest

from evtool.errors import NamespaceNotFound, StoreError
from evtool.model import Selection
from evtool.settings import DEFAULT_NAMESPACE
from evtool.stores.sqlite import SQLiteStore
from evtool.stores.sqlite.database import Database
from evtool.testing.contract.helping import append, every_call, everything, record
from tests.sqlite.conftest import files


def names_in(folder: Path) -> list[str]:
    """What is in a folder."""
    return sorted(path.name for path in folder.iterdir())


def open_files(folder: Path) -> list[str]:
    """What this process has open below a folder."""
    links = [path for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]
    return [target for link in links if str(folder) in (target := str(link.readlink()))]


def test_a_store_that_was_only_opened_has_no_files(folder: Path) -> None:
    """Opening a store makes nothing; `migrate` makes the folder and the registry."""
    with SQLiteStore(folder) as store:
        assert not folder.exists()
        store.migrate()
        assert files(folder) == []
        assert (folder / "registry.sqlite").exists()


def test_a_namespace_has_its_file_when_it_is_first_used(store: SQLiteStore, folder: Path) -> None:
    """Creating a namespace enters it into the registry; its file comes with the first call."""
    store.create_namespace("lazy")
    assert files(folder) == []
    assert everything(store.in_namespace("lazy")) == []
    (name,) = files(folder)
    assert name.startswith("lazy-")


def test_deleting_a_namespace_removes_its_files(store: SQLiteStore, folder: Path) -> None:
    """Neither the database nor its -wal and -shm are left, and none of them is open."""
    before = names_in(folder)
    other = store.in_namespace(store.create_namespace("gone").name)
    append(other, "thing-1", 100)
    during = {name.partition(".")[2] for name in names_in(folder) if name.startswith("gone-")}
    assert during == {"sqlite", "sqlite-wal", "sqlite-shm"}
    store.delete_namespace("gone")
    assert names_in(folder) == before
    assert [name for name in open_files(folder) if "gone-" in name] == []


def test_deleting_a_namespace_that_was_never_used_needs_no_file(store: SQLiteStore, folder: Path) -> None:
    """There is nothing to remove but the entry."""
    store.create_namespace("unused")
    store.delete_namespace("unused")
    assert files(folder) == []


def test_a_file_that_goes_between_two_looks_does_not_come_back(
    store: SQLiteStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who connects at the moment when another process deletes the namespace is told so, and makes no empty file."""
    before = names_in(folder)
    connect = Database._connect

    def too_late(database: Database) -> sqlite3.Connection:
        if database.path is not None and database.path.name.startswith("going-"):
            monkeypatch.undo()
            with SQLiteStore(folder) as other:
                other.delete_namespace("going")
        return connect(database)

    for name in every_call(store):
        store.create_namespace("going")
        append(store.in_namespace("going"), "thing-1")
        with SQLiteStore(folder, "going") as late:
            monkeypatch.setattr(Database, "_connect", too_late)
            with pytest.raises(NamespaceNotFound):
                every_call(late)[name]()
    assert names_in(folder) == before


def test_closing_closes_every_file(folder: Path) -> None:
    """A closed store has nothing open, whatever was done with it, by however many threads."""
    with SQLiteStore(folder) as store:
        store.migrate()
        threads = [threading.Thread(target=append, args=(store, f"thing-{n}", 10)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        export = store.export(Selection())
        next(export)
        export.close()  # type: ignore[attr-defined]
        with pytest.raises(NamespaceNotFound):
            store.in_namespace("nowhere").get_all_messages()
        assert open_files(folder)
    assert open_files(folder) == []


def test_what_was_written_is_there_after_closing(folder: Path) -> None:
    """A store opened anew finds everything."""
    with SQLiteStore(folder) as store:
        store.migrate()
        append(store, "thing-1", 3)
    with SQLiteStore(folder) as store:
        assert store.stream_version("thing-1") == 2


def test_nothing_is_written_to_a_file_that_has_no_name_any_more(folder: Path, store: SQLiteStore) -> None:
    """Another process that has a namespace's file open when it is deleted is refused before it writes."""
    store.create_namespace("deleted elsewhere")
    with SQLiteStore(folder, "deleted elsewhere") as other:
        append(other, "thing-1")
        store.delete_namespace("deleted elsewhere")
        assert [name for name in names_in(folder) if name.startswith("deleted_elsewhere")] == []
        # its connections still have the nameless file, and what they would write would be lost
        assert [name for name in open_files(folder) if name.endswith("(deleted)")]
        with pytest.raises(NamespaceNotFound):
            append(other, "thing-1")
        with pytest.raises(NamespaceNotFound):
            other.import_batch([record(5)])
        with pytest.raises(NamespaceNotFound):
            everything(other)
    assert files(folder) == []


def test_a_namespace_made_anew_has_another_file(store: SQLiteStore, folder: Path) -> None:
    """A file that a crash has left over is never taken for that of a new namespace."""
    for _ in range(2):
        store.create_namespace("again")
        append(store.in_namespace("again"), "thing-1")
        (left,) = files(folder)
        content = (folder / left).read_bytes()
        store.delete_namespace("again")
        (folder / left).write_bytes(content)
        store.create_namespace("again")
        assert everything(store.in_namespace("again")) == []
        store.delete_namespace("again")
        (folder / left).unlink()


@pytest.mark.parametrize("left", ["nothing", "an empty file", "a file in WAL mode without tables"])
def test_a_crash_between_the_registry_and_the_tables_is_made_good(store: SQLiteStore, folder: Path, left: str) -> None:
    """Whatever a crash has left of a namespace's file, the next who uses the namespace completes it."""
    store.create_namespace("half")
    with sqlite3.connect(folder / "registry.sqlite") as registry:
        (name,) = registry.execute("SELECT file FROM namespaces WHERE name = 'half'").fetchone()
    registry.close()
    if left == "an empty file":
        (folder / name).touch()
    elif left == "a file in WAL mode without tables":
        connection = sqlite3.connect(folder / name)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.close()
    with SQLiteStore(folder, "half") as other:
        assert append(other, "thing-1", 2) == [0, 1]
        assert len(everything(store.in_namespace("half"))) == 2


NAMES = [
    "../x",
    "/etc/y",
    "..",
    "a/b",
    "A",
    "CON",
    "registry",
    "registry.sqlite",
    "é",
    "日本語",
    "x" * 63,
    "$(z)",
    "-rf",
]
SCHEMAS = ["../schema", "/etc/passwd", ".", "nul", "Upper", "s" * 63]


def test_no_name_becomes_a_path(store: SQLiteStore, folder: Path) -> None:
    """The files of namespaces are in the folder, and called by letters, digits, `_`, `-` and a token."""
    around = names_in(folder.parent)
    for name in NAMES:
        store.create_namespace(name)
        append(store.in_namespace(name), "thing-1")
    for number, schema in enumerate(SCHEMAS):
        store.create_namespace(f"of a schema {number}", schema)
        append(store.in_namespace(f"of a schema {number}"), "thing-1")
    made = files(folder)
    assert len(made) == len(NAMES) + len(SCHEMAS)
    for name in made:
        assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789_-."), name
        assert name.count(".") == 1
        assert len(name) < 100
    assert names_in(folder.parent) == around


def test_names_that_fold_together_have_different_files(store: SQLiteStore, folder: Path) -> None:
    """A and a, é in one character and in two: a file system that folds case or forms sees different names."""
    for name, schema in (("A", None), ("a", "a2"), ("\u00e9", None), ("e\u0301", "e2"), ("ﬁ", None), ("fi", None)):
        store.create_namespace(name, schema)
        append(store.in_namespace(name), "thing-1")
    assert len({name.casefold() for name in files(folder)}) == 6


def test_stores_in_memory_share_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each sqlite://:memory: is a store of its own, migrated at once, and leaves no file."""
    monkeypatch.chdir(tmp_path)
    with SQLiteStore(None) as one, SQLiteStore(None) as other:
        append(one, "thing-1")
        assert everything(other) == []
        assert [space.name for space in other.list_namespaces()] == [DEFAULT_NAMESPACE]
        one.create_namespace("more")
        append(one.in_namespace("more"), "thing-1")
        with pytest.raises(NamespaceNotFound):
            other.get_namespace("more")
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("column", ["data", "metadata", "stream_name", "type"])
def test_bytes_that_are_no_text_are_not_exported(store: SQLiteStore, folder: Path, column: str) -> None:
    """What somebody wrote around evtool, and no file could hold, ends the export instead of spoiling the file."""
    append(store, "thing-1", 3)
    (name,) = files(folder)
    connection = sqlite3.connect(folder / name)
    connection.execute(f"UPDATE messages SET {column} = CAST(x'22ff22' AS TEXT) WHERE global_position = 2")
    connection.commit()
    connection.close()
    with pytest.raises(StoreError):
        list(store.export(Selection()))
