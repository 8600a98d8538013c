"""The one place where an error of LMDB becomes one of evtool's, by its class and code and never by its prose."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator

import lmdb

from evtool import errors

_Translation = tuple[type[errors.EvtoolError], str, str]

_DISK_FULL: _Translation = (errors.StoreError, "the disk is full", "free space; nothing was changed")
_REFUSED: _Translation = (
    errors.PermissionDenied,
    "the folder or a file of the database may not be used",
    "check the permissions of the folder and its files",
)
_DAMAGED: _Translation = (errors.StoreError, "the database file is damaged", "restore it from a backup")
# LMDB calls it so too when the disk is full in the middle of a write.
_DISK_FAILED: _Translation = (
    errors.StoreError,
    "the disk is full, or it failed",
    "check the disk and its free space; nothing was changed",
)

_CLASSES: dict[type[lmdb.Error], _Translation] = {
    lmdb.DiskError: _DISK_FULL,
    lmdb.ReadonlyError: _REFUSED,
    lmdb.InvalidError: (errors.StoreError, "the file is not an LMDB database", "name another folder"),
    lmdb.VersionMismatchError: (
        errors.StoreError,
        "another version of LMDB wrote the file, or has it open",
        "use the same version of the package lmdb in all processes",
    ),
    lmdb.CorruptedError: _DAMAGED,
    lmdb.PageNotFoundError: _DAMAGED,
    lmdb.PanicError: _DAMAGED,
    lmdb.MapFullError: (
        errors.StoreError,
        "the database can't be mapped any larger",
        "raise the limit of the process's address space (ulimit -v)",
    ),
    lmdb.MapResizedError: (
        errors.StoreError,
        "another process made the database larger than this one can map",
        "raise the limit of the process's address space (ulimit -v)",
    ),
    lmdb.MemoryError: (
        errors.StoreError,
        "there is no memory or address space left for the database",
        "raise the limit of the process's address space (ulimit -v)",
    ),
    lmdb.ReadersFullError: (errors.StoreTimeout, "too many readers at the same time", "try again, or end some of them"),
    lmdb.LockError: (errors.StoreTimeout, "another process keeps the database locked", "try again"),
    lmdb.BadValsizeError: (errors.InvalidMessage, "the value is longer than LMDB allows", "make the message smaller"),
}

_NUMBERS: dict[int, _Translation] = {
    errno.ENOENT: (errors.StoreUnreachable, "the database file can't be opened", "check that the folder is there"),
    errno.ENOTDIR: (errors.StoreUnreachable, "a part of the folder's path is a file", "name another folder"),
    errno.EEXIST: (errors.StoreUnreachable, "a part of the folder's path is a file", "name another folder"),
    errno.EACCES: _REFUSED,
    errno.EPERM: _REFUSED,
    errno.EROFS: _REFUSED,
    errno.ENOSPC: _DISK_FULL,
    errno.EDQUOT: _DISK_FULL,
    errno.EFBIG: (errors.StoreError, "the file may not get any larger", "raise the limit of files' sizes (ulimit -f)"),
    errno.EIO: _DISK_FAILED,
    errno.EMFILE: (errors.StoreError, "the process has too many files open", "raise the limit (ulimit -n)"),
    errno.ENFILE: (errors.StoreError, "the machine has too many files open", "close some programs"),
}


def translate(error: lmdb.Error | OSError) -> errors.EvtoolError:
    """An error of the library, or of a file, as one of evtool's."""
    number = error.errno if isinstance(error, OSError) else getattr(error, "code", 0)
    found = None if isinstance(error, OSError) else _CLASSES.get(type(error))
    found = found or _NUMBERS.get(number or 0)
    if found is not None:
        kind, text, hint = found
        place = error.filename if isinstance(error, OSError) and isinstance(error.filename, str) else ""
        return kind(f"{text}: {place}" if place else text, hint=hint)
    if isinstance(error, OSError):
        return errors.StoreError(f"the file system said: {error.strerror or type(error).__name__}")
    return errors.StoreError(f"LMDB said {type(error).__name__}: {error}")


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Turns every error of the library inside into one of evtool's, the cause kept."""
    try:
        yield
    except lmdb.Error as error:
        raise translate(error) from error


@contextlib.contextmanager
def files_translated() -> Iterator[None]:
    """The same for the file system's errors. Only for what this package does: a caller's iterator may raise its own."""
    try:
        yield
    except OSError as error:
        raise translate(error) from error
