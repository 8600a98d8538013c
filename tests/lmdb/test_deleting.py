"""A namespace that is to be deleted while somebody imports into it."""

from __future__ import annotations

from pathlib import Path

import pytest

from evtool.errors import StoreTimeout
from evtool.stores.lmdb import LMDBStore, turns
from evtool.testing.contract.helping import record


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
