"""The folders of namespaces: made when they are needed, gone when they are deleted, and never anybody else's."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import lmdb
import pytest

from evtool.errors import DatabaseTooNew, NamespaceNotFound, NotMigrated, StoreError, StoreUnreachable
from evtool.model import Selection
from evtool.stores.lmdb import LMDBStore
from evtool.stores.lmdb.handle import DELETED, set_version
from evtool.testing.contract.helping import append, every_call, everything, file_of, outcomes
from tests.lmdb.conftest import Start
from tests.lmdb.looking import check, environment_of, said, tell


def test_nothing_is_made_until_it_is_needed(tmp_path: Path) -> None:
    """Looking at a store that isn't there makes no folder, and a namespace gets one with its first use."""
    folder = tmp_path / "store"
    with LMDBStore(folder, "orders") as store:
        with pytest.raises(NotMigrated):
            everything(store)
        assert store.migration_status()[0].structure is None
        assert not folder.exists()
        store.migrate()
        store.create_namespace("orders")
        assert [path.name for path in folder.iterdir()] == ["registry"]
        append(store, "thing-1")
        assert len(list(folder.iterdir())) == 2


@pytest.mark.parametrize("name", ["../x", "/etc/x", "..", "registry", "x/../../y", "Ünï", "a" * 200, "CON"])
def test_a_name_never_becomes_a_path(store: LMDBStore, tmp_path: Path, name: str) -> None:
    """The folder of a namespace is below the store's, and holds letters, digits, _ and - only."""
    schema = None if len(name) < 60 and name != ".." else "short"
    own = store.in_namespace(store.create_namespace(name, schema).name)
    append(own, "thing-1")
    path = environment_of(own).path
    assert path.parent == (tmp_path / "store").resolve()
    assert path.name.replace("_", "").replace("-", "").isalnum()
    assert path.name.isascii()
    assert path.name != "registry"


def test_a_deleted_namespace_leaves_no_folder(store: LMDBStore, tmp_path: Path) -> None:
    """Its environment is closed and removed, and one of the same name is another."""
    own = store.in_namespace(store.create_namespace("orders").name)
    append(own, "thing-1")
    path = environment_of(own).path
    assert path.exists()
    store.delete_namespace("orders")
    assert [one.name for one in (tmp_path / "store").iterdir()] == ["registry"]
    with pytest.raises(NamespaceNotFound):
        append(own, "thing-1")
    store.create_namespace("orders")
    assert append(own, "thing-1") == [0]
    assert environment_of(own).path != path


def test_a_deleted_environment_says_so_to_those_who_have_it_open(store: LMDBStore, start: Start) -> None:
    """A process that is about to write while the folder goes away finds the mark in the file, whatever its name."""
    own = store.in_namespace(store.create_namespace("orders").name)
    process = start("""
from evtool.stores.lmdb.handle import version
own = store.in_namespace("orders")
say(own.write_message(None, "thing-1", "Happened", {}))
handle = own._open()._env._handle
wait()
with handle.env.begin(write=True) as transaction:
    say(version(transaction))
try:
    own.write_message(None, "thing-1", "Happened", {})
except errors.EvtoolError as error:
    say(error.code)
""")
    assert said(process) == "0"
    append(own, "thing-1")
    store.delete_namespace("orders")
    tell(process)
    assert said(process) == str(DELETED)
    assert said(process) == NamespaceNotFound.code


def test_nothing_is_read_from_or_written_to_a_deleted_environment(store: LMDBStore) -> None:
    """The mark counts from the moment that it is there, also before the folder is gone."""
    own = store.in_namespace(store.create_namespace("orders").name)
    append(own, "thing-1")
    own._open().write(lambda transaction: set_version(transaction, DELETED))
    calls = every_call(own)
    assert outcomes(calls) == dict.fromkeys(calls, NamespaceNotFound.code)


def test_an_export_of_a_namespace_that_is_deleted_ends_with_an_error(store: LMDBStore) -> None:
    """It is not taken for whole."""
    own = store.in_namespace(store.create_namespace("orders").name)
    append(own, "thing-1", 2500)
    blocks = own.export(Selection())
    next(blocks)
    store.delete_namespace("orders")
    with pytest.raises(NamespaceNotFound):
        list(blocks)


def test_a_folder_that_somebody_removed_is_made_anew(store: LMDBStore, tmp_path: Path) -> None:
    """Nothing is written into files that have no name any more."""
    append(store, "thing-1")
    shutil.rmtree(environment_of(store).path)
    assert append(store, "thing-1") == [0]
    shutil.rmtree(tmp_path / "store")
    assert outcomes({"write": lambda: append(store, "thing-1")}) == {"write": "NOT_MIGRATED"}
    store.migrate()
    assert append(store, "thing-1") == [0]
    assert check(store) == 1


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_folder_that_goes_between_two_looks_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Who opens a namespace at the moment when its files are removed isn't told that a file can't be opened."""
    opened = lmdb.open

    def too_late(path: str, **options: Any) -> Any:
        if path.endswith("registry"):
            return opened(path, **options)
        monkeypatch.undo()
        if moment == "before":
            shutil.rmtree(path)
            return opened(path, **options)
        made = opened(path, **options)
        shutil.rmtree(path)
        return made

    for call in ("write_message", "get_all_messages", "export", "list_streams"):
        with LMDBStore(tmp_path, "message_store") as before:
            before.migrate()
            append(before, "thing-1")
        with LMDBStore(tmp_path, "message_store") as store:
            monkeypatch.setattr(lmdb, "open", too_late)
            every_call(store)[call]()
            assert check(store) == (1 if call == "write_message" else 0)


def test_a_namespace_that_was_half_made_is_made(store: LMDBStore) -> None:
    """A process that died while it made the files leaves an empty one, or an empty folder."""
    append(store, "thing-1")
    path = environment_of(store).path
    store.close()
    for leave in ((), ("data.mdb",)):
        shutil.rmtree(path)
        path.mkdir()
        for name in leave:
            (path / name).touch()
        assert append(store, "thing-1") == [0]
        store.close()


def test_a_newer_layout_is_refused(store: LMDBStore) -> None:
    """What a newer evtool made is neither read nor written."""
    append(store, "thing-1")
    store._open().write(lambda transaction: set_version(transaction, 7))
    calls = {
        "read": lambda: everything(store),
        "write": lambda: append(store, "thing-1"),
        "export": lambda: file_of(store),
        "migrate": store.migrate,
    }
    assert outcomes(calls) == dict.fromkeys(calls, DatabaseTooNew.code)
    note = store.migration_status()[1].note
    assert note is not None
    assert "0007" in note


def test_a_file_of_something_else_is_an_error_that_says_so(store: LMDBStore) -> None:
    """Neither a traceback nor a new database in its place."""
    append(store, "thing-1")
    file = environment_of(store).path / "data.mdb"
    store.close()
    file.write_bytes(b"something else" * 1000)
    with pytest.raises(StoreError, match="not an LMDB database"):
        everything(store)
    assert file.read_bytes() == b"something else" * 1000


def test_a_path_through_a_file_is_unreachable(tmp_path: Path) -> None:
    """A folder can't be made below a file."""
    (tmp_path / "file").touch()
    with LMDBStore(tmp_path / "file" / "store", "message_store") as store, pytest.raises(StoreUnreachable):
        store.migrate()


def test_a_file_that_may_not_get_larger_loses_nothing(store: LMDBStore, start: Start) -> None:
    """A disk that is full, here by a limit, fails the write; what was written before is there, and so is the rest."""
    process = start("""
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, resource.RLIM_INFINITY))
written = 0
try:
    while True:
        store.write_message(None, "thing-1", "Happened", ["x" * 3000])
        written += 1
except errors.StoreError:
    say(written, store.stream_version("thing-1"))
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
say(store.write_message(None, "thing-1", "Happened", ["x" * 3000]))
""")
    written, version = map(int, said(process).split())
    assert version == written - 1
    assert said(process) == str(written)
    process.wait()
    assert check(store) == written + 1


def test_a_folder_of_another_user_is_refused(store: LMDBStore, start: Start) -> None:
    """PERMISSION_DENIED, and nothing is made."""
    append(store, "thing-1")
    store._namespaces.folder.chmod(0)
    process = start("""
import os
if os.getuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
for call in (store.list_namespaces, store.migrate, lambda: store.stream_version("thing-1")):
    try:
        say(call())
    except errors.EvtoolError as error:
        say(error.code)
""")
    assert [said(process) for _ in range(3)] == ["PERMISSION_DENIED"] * 3
    store._namespaces.folder.chmod(0o755)
    assert check(store) == 1
