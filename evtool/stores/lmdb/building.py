"""An environment that is filled beside the one in use, in many commits and without waiting for the disk.

One large transaction would keep every page that it changes in memory. Here each commit lets go of them, and a crash
leaves nothing but a folder that nobody looks for. Once all is in, and on the disk, the environment in use names this
one as its successor: that commit is the one moment at which everything changes.
"""

from __future__ import annotations

import os
import secrets
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import lmdb

from evtool.stores.lmdb.handle import VERSION, Handle, map_size_for, set_version
from evtool.stores.lmdb.translation import files_translated

if TYPE_CHECKING:
    Transaction: TypeAlias = lmdb.Transaction[bytes]
else:
    Transaction = lmdb.Transaction

_UNFINISHED = ".import"


class Building:
    """An environment that nobody else knows yet.

    Attributes:
        path: its folder.
        transaction: the one that is open; another after each `commit`.
    """

    def __init__(self, beside: Path, map_size: int) -> None:
        """Makes the folder.

        Args:
            beside: the folder of the environment in use, whose write transaction the caller has.
            map_size: how large its map is at the least; it is made larger than the file system.
        """
        # whoever left these was killed: it had that transaction, too
        remove_unfinished(beside)
        self._final = beside.with_name(f"{beside.name.rpartition('-')[0]}-{secrets.token_hex(6)}")
        self.path = beside.with_name(f"{beside.name}.{secrets.token_hex(6)}{_UNFINISHED}")
        with files_translated():
            self.path.mkdir()
        try:
            size = map_size_for(self.path, map_size, reserve=True)
            self._handle = Handle(self.path, size, create=True, sync=False)
            self.transaction: Transaction = self._handle.env.begin(write=True)
        except BaseException:
            shutil.rmtree(self.path, ignore_errors=True)
            raise

    def commit(self) -> None:
        """Commits, and begins a new transaction."""
        self.transaction.commit()
        self.transaction = self._handle.env.begin(write=True)

    def finish(self) -> str:
        """Commits, waits for the disk, and returns the name of the folder, which is another by now."""
        set_version(self.transaction, VERSION)
        self.transaction.commit()
        self._handle.env.sync(force=True)
        self._handle.env.close()
        with files_translated():
            self.path.rename(self._final)
            for folder in (self._final, self._final.parent):
                sync(folder)
        return self._final.name

    def discard(self) -> None:
        """Removes it."""
        self.transaction.abort()
        self._handle.env.close()
        shutil.rmtree(self.path, ignore_errors=True)


def remove_unfinished(beside: Path) -> None:
    """Removes what was being built for an environment by processes that are dead.

    Args:
        beside: the environment's folder.
    """
    for path in beside.parent.glob(f"{beside.name}.*{_UNFINISHED}"):
        shutil.rmtree(path, ignore_errors=True)


def sync(path: Path) -> None:
    """Brings a file, or the names in a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
