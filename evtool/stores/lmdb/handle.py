"""An open environment: the library's object, and the size of its map."""

from __future__ import annotations

import os
from pathlib import Path

import lmdb

from evtool.errors import DatabaseTooNew, NamespaceNotFound, NotMigrated, StoreError
from evtool.stores.lmdb.translation import files_translated

VERSION = 1
"""Of the layout of both kinds of environment. 0 is an empty one, and DELETED a namespace that was deleted while
others have it open; they find that out with the next thing they do, instead of writing into a file without a name."""
DELETED = -1
MOVED = -2
"""A namespace whose messages are in another folder by now, which the environment names."""

DATA = "data.mdb"

_VERSION = b"\0version"
_SUCCESSOR = b"\0successor"
_MAX_READERS = 2048
_LEAST_BYTES = 1 << 13
"""Of a file of LMDB: the two pages with which it begins, however small pages are."""
_LARGEST_MAP = 1 << 44
_RESERVED = 4
"""An import's map is so many times the file system, because that may compress what it holds."""


class Moved(StoreError):
    """The messages of a namespace are in another environment by now."""

    def __init__(self) -> None:
        super().__init__("the messages of the namespace were replaced meanwhile", hint="try again")


class Handle:
    """The one open environment of a path in this process.

    Attributes:
        env: the library's.
        map_size: the most that the file can have.
        file: which file it is. That tells a folder that was removed, or removed and made anew.
        used: the size of the file when it was last looked at.
        made: whether the layout was there.
    """

    __slots__ = ("env", "file", "made", "map_size", "used")

    def __init__(self, path: Path, map_size: int, *, create: bool = False, sync: bool = True) -> None:
        """Opens it.

        Args:
            path: its folder.
            map_size: less of it where the process has no more addresses.
            create: whether its files may be made.
            sync: whether every commit is brought to the disk.
        """
        used = _size(path)
        refused = False
        while True:
            try:
                env = lmdb.open(str(path), map_size=map_size, create=create, max_readers=_MAX_READERS, sync=sync)
                break
            except lmdb.MemoryError:
                if map_size < 2 * used:
                    raise
                # and the half of what the process has is left for all else
                map_size //= 2 if refused else 4
                refused = True
            except lmdb.Error:
                if create and _size(path) < _LEAST_BYTES:
                    # the disk was full in the middle of it, and nobody could make anything of what there is
                    (path / DATA).unlink(missing_ok=True)
                raise
        try:
            # what processes that were killed still seem to read
            env.reader_check()
            with files_translated():
                found = (path / DATA).stat()
        except BaseException:
            env.close()
            raise
        self.env = env
        self.map_size = map_size
        self.file = (found.st_dev, found.st_ino)
        self.used = found.st_size
        self.made = False

    def remap(self, size: int) -> None:
        """Changes the size of the map, while this process has no transaction open.

        Raises:
            lmdb.Error: the map is lost; close and open anew.
        """
        # what dead readers seem to read is kept, and makes the file grow
        self.env.reader_check()
        self.env.set_mapsize(size)
        self.map_size = size


def version(transaction: lmdb.Transaction[bytes]) -> int:
    """The version of the layout; 0 where there is none."""
    return int(transaction.get(_VERSION) or b"0")


def set_version(transaction: lmdb.Transaction[bytes], number: int) -> None:
    """Sets the version of the layout."""
    transaction.put(_VERSION, b"%d" % number)


def check_version(transaction: lmdb.Transaction[bytes], path: Path) -> None:
    """Sees to it that the layout is the one that this evtool knows.

    Raises:
        NotMigrated, DatabaseTooNew, NamespaceNotFound, Moved: it isn't.
    """
    found = version(transaction)
    if found == VERSION:
        return
    if found == MOVED:
        raise Moved
    if found == DELETED:
        raise deleted()
    if found > VERSION:
        raise DatabaseTooNew(
            f"{path} has structure {found:04}, and this evtool knows {VERSION:04} at the most",
            hint="a newer evtool migrated it: upgrade evtool",
        )
    raise not_migrated()


def deleted() -> NamespaceNotFound:
    """The error of a namespace that somebody has deleted."""
    return NamespaceNotFound("the namespace was deleted", hint="see: evtool ns list")


def not_migrated() -> NotMigrated:
    """The error of a store, or a namespace, that isn't there."""
    return NotMigrated(
        "this store has no namespaces of evtool yet, or older ones", hint="run: evtool migrate, with this --dsn"
    )


def successor(transaction: lmdb.Transaction[bytes]) -> str | None:
    """The name of the folder where the messages are by now; None while they are here."""
    found = transaction.get(_SUCCESSOR)
    return None if found is None else bytes(found).decode()


def set_successor(transaction: lmdb.Transaction[bytes], folder: str) -> None:
    """Says that the messages are in another folder from now on: the commit of that is the moment of it."""
    transaction.put(_SUCCESSOR, folder.encode())
    set_version(transaction, MOVED)


def map_size_for(path: Path, at_least: int, *, reserve: bool) -> int:
    """The size of a map that the file fills by half at the most.

    Args:
        path: the environment's folder.
        at_least: and a doubling of it.
        reserve: whether it must be so large that the file system would be full before it.
    """
    used = _size(path)
    size = at_least
    while size < 2 * used:
        size *= 2
    if reserve:
        with files_translated():
            there = os.statvfs(path)
        size = max(size, min(_RESERVED * there.f_blocks * there.f_frsize, _LARGEST_MAP))
    return size


def _size(path: Path) -> int:
    with files_translated():
        try:
            return (path / DATA).stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            return 0
