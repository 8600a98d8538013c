"""SQLite's own: what is in the files, and how they are read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from evtool.stores.sqlite import SQLiteStore


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of the store."""
    return tmp_path / "store"


@pytest.fixture
def store(folder: Path) -> Iterator[SQLiteStore]:
    """A migrated store, in the default namespace."""
    with SQLiteStore(folder) as made:
        made.migrate()
        yield made


def files(folder: Path) -> list[str]:
    """The files of the namespaces, without those that SQLite keeps beside them."""
    return sorted(path.name for path in folder.glob("*.sqlite") if path.name != "registry.sqlite")
