"""The SQLite store: a registry and a file per namespace in a folder, or all of it in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evtool.stores.sqlite.store import SQLiteStore

__all__ = ["SQLiteStore"]


def __getattr__(name: str) -> Any:
    """Imports the store when it is first used: parts of it serve without the whole."""
    if name != "SQLiteStore":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from evtool.stores.sqlite.store import SQLiteStore

    return SQLiteStore
