"""A folder that can't be used, or files that are no databases: a clear error, and nothing destroyed."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import evtool
from evtool.errors import EvtoolError, InvalidDsn, PermissionDenied, StoreError, StoreUnreachable
from evtool.stores.sqlite import SQLiteStore
from evtool.testing.contract.helping import append, everything
from tests.sqlite.conftest import files


@contextlib.contextmanager
def unprivileged() -> Iterator[None]:
    """Without the rights of root, to whom no file is read-only."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that everybody may look into and only its owner may change."""
    with tempfile.TemporaryDirectory() as made:
        Path(made).chmod(0o755)
        yield Path(made)


@pytest.mark.parametrize("dsn", ["sqlite:", "sqlite://", "sqlite:///tmp/a\0b"])
def test_a_dsn_without_a_folder_is_invalid(dsn: str) -> None:
    """The error says how to write one."""
    with pytest.raises(InvalidDsn) as caught:
        evtool.connect(dsn)
    assert "sqlite:///" in (caught.value.hint or "")


@pytest.mark.parametrize("scheme", ["sqlite", "lmdb"])
@pytest.mark.parametrize("path", ["::memory:", ":///:memory:", "://:memory:?cache=shared", ":///", ":////", "://///."])
def test_a_dsn_that_could_only_be_a_mistake_makes_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str, path: str
) -> None:
    """Memory as others spell it is no folder of that name, and an empty variable is not the root of the file system."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidDsn) as caught:
        evtool.connect(f"{scheme}{path}")
    if "memory" in path:
        assert "sqlite://:memory:" in (caught.value.hint or "")
    assert [*tmp_path.iterdir()] == []


def test_lmdb_has_no_store_in_memory() -> None:
    """The spelling of SQLite's names no folder of LMDB."""
    with pytest.raises(InvalidDsn):
        evtool.connect("lmdb://:memory:")


def test_a_dsn_that_names_a_file_is_invalid(tmp_path: Path) -> None:
    """A store is a folder; a file of that name is left as it is."""
    path = tmp_path / "file"
    path.write_text("precious")
    with pytest.raises(InvalidDsn, match="is a file"):
        evtool.connect(f"sqlite://{path}")
    assert path.read_text() == "precious"


@pytest.mark.parametrize("dsn", ["sqlite:relative", "sqlite://relative"])
def test_a_relative_folder_is_of_the_moment_of_opening(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dsn: str
) -> None:
    """A program that changes its directory afterwards keeps its store."""
    monkeypatch.chdir(tmp_path)
    with evtool.connect(dsn) as store:
        monkeypatch.chdir("/")
        store.migrate()
        append(store, "thing-1")
    assert (tmp_path / "relative" / "registry.sqlite").exists()


@pytest.mark.parametrize("name", ["a?mode=memory", "b#c", "d%41%zz", "é f", os.fsdecode(b"h\xff"), "k\\l"], ids=ascii)
def test_a_folder_may_be_called_anything(tmp_path: Path, name: str) -> None:
    """What means something in a URL is a character of the folder's name."""
    for number in range(2):
        with SQLiteStore(tmp_path / name) as store:
            store.migrate()
            assert append(store, "thing-1") == [number]
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("content", [b"this is no database, and never was one" * 100, b"\0" * 5000])
@pytest.mark.parametrize("what", ["registry", "namespace"])
def test_a_file_that_is_no_database_is_told_and_left(folder: Path, what: str, content: bytes) -> None:
    """The error is the store's, and says that the file is no SQLite database; it isn't overwritten."""
    with SQLiteStore(folder) as store:
        store.migrate()
        append(store, "thing-1")
    (name,) = files(folder)
    path = folder / ("registry.sqlite" if what == "registry" else name)
    path.write_bytes(content)
    with SQLiteStore(folder) as store:
        for call in (lambda: everything(store), lambda: append(store, "thing-1"), store.migrate):
            with pytest.raises(StoreError) as caught:
                call()
            assert "not a SQLite database" in caught.value.message
    assert path.read_bytes() == content


def test_a_damaged_file_is_told(folder: Path) -> None:
    """A page of garbage is an error of the store, with the advice to restore a backup."""
    with SQLiteStore(folder) as store:
        store.migrate()
        append(store, "thing-1", 2000)
    (name,) = files(folder)
    content = bytearray((folder / name).read_bytes())
    content[8192:-4096] = b"\xff" * (len(content) - 8192 - 4096)
    (folder / name).write_bytes(content)
    with SQLiteStore(folder) as store, pytest.raises(StoreError) as caught:
        everything(store)
    assert caught.value.hint == "restore it from a backup"


def test_a_folder_that_can_not_be_made_is_told(public: Path) -> None:
    """Migrating into a place where nothing may be made is refused, and says what to check."""
    with unprivileged(), SQLiteStore(public / "store") as store:
        with pytest.raises(PermissionDenied) as caught:
            store.migrate()
        assert "permissions" in (caught.value.hint or "")
    assert not (public / "store").exists()


def test_a_read_only_store_can_not_be_written(public: Path) -> None:
    """Whoever may only read gets a clear error and not a traceback of SQLite's, and changes nothing."""
    with SQLiteStore(public / "store") as store:
        store.migrate()
        append(store, "thing-1", 3)
    with unprivileged(), SQLiteStore(public / "store") as store:
        for call in (lambda: append(store, "thing-1"), lambda: store.create_namespace("x"), store.migrate):
            with pytest.raises((PermissionDenied, StoreUnreachable)) as caught:
                call()
            assert "permissions" in (caught.value.hint or "")
    with SQLiteStore(public / "store") as store:
        assert len(everything(store)) == 3


def test_a_folder_that_is_lost_is_told(folder: Path) -> None:
    """A folder that somebody removes while the store is open is an error of evtool's, whatever is called."""
    with SQLiteStore(folder) as store:
        store.migrate()
        append(store, "thing-1", 3)
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
        with pytest.raises(EvtoolError):
            store.create_namespace("x")
        with pytest.raises(EvtoolError):
            append(store.in_namespace("x"), "thing-1")
