"""The LMDB store: a registry and an environment per namespace in a folder."""

from evtool.stores.lmdb.store import LMDBStore

__all__ = ["LMDBStore"]
