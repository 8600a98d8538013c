"""The SQLite store: a registry and a file per namespace in a folder, or all of it in memory."""

from evtool.stores.sqlite.store import SQLiteStore

__all__ = ["SQLiteStore"]
