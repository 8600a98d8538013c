"""A namespace that is deleted while somebody imports into it, or exports from it."""

from __future__ import annotations

from pathlib import Path

import pytest

from evtool.errors import NamespaceNotFound, StoreTimeout
from evtool.model import Selection
from evtool.stores.lmdb import LMDBStore, turns
from evtool.testing.contract.helping import append, file_of, record


def test_a_deletion_that_waits_too_long_removes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is told to try again finds the namespace as it was, and can delete it when the import is done."""
    monkeypatch.setattr(turns, "_WAIT_SECONDS", 0.1)
    with LMDBStore(tmp_path, "busy") as store, LMDBStore(tmp_path, "busy") as other:
        store.migrate()
        store.create_namespace("busy")
        store.write_message(None, "thing-1", "Happened", {})
        (folder,) = tmp_path.glob("busy-*")
        with turns.importing(folder), pytest.raises(StoreTimeout):
            other.delete_namespace("busy")
        assert len(store.get_all_messages()) == 1
        store.import_batch([record(7, "thing-2")])
        other.delete_namespace("busy")
        assert [namespace.name for namespace in store.list_namespaces()] == ["message_store"]
        assert not list(tmp_path.glob("busy-*"))


@pytest.mark.parametrize("again", [True, False], ids=["made anew", "gone"])
def test_an_export_of_what_is_deleted_meanwhile_is_told_so(tmp_path: Path, again: bool) -> None:
    """Begun, it has no more of a namespace that somebody deletes, whether there is another of that name or not."""
    with LMDBStore(tmp_path, "passing") as store, LMDBStore(tmp_path, "passing") as other:
        store.migrate()
        store.create_namespace("passing")
        store.import_batch(record(n, f"thing-{n}") for n in range(1, 2500))
        blocks = store.export(Selection())
        assert next(blocks).count < 2499
        other.delete_namespace("passing")
        if again:
            other.create_namespace("passing")
            append(other, "thing-1")
        with pytest.raises(NamespaceNotFound) as caught:
            list(blocks)
        assert caught.value.hint
        if again:
            assert file_of(store).count(b"\n") == 1


def test_an_export_begins_in_the_namespace_that_there_is(tmp_path: Path) -> None:
    """What an open store was looking at may be deleted and made anew before the export: it has the new one's messages."""
    with LMDBStore(tmp_path, "passing") as store, LMDBStore(tmp_path, "passing") as other:
        store.migrate()
        for stream_name in ("first-1", "second-1", "third-1"):
            other.create_namespace("passing")
            append(other, stream_name)
            assert stream_name.encode() in file_of(store)
            other.delete_namespace("passing")
        with pytest.raises(NamespaceNotFound):
            file_of(store)
