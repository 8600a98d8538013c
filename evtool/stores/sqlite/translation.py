"""The one place where an error of SQLite becomes one of evtool's, by its code and never by its prose."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator

from evtool import errors

_CODES: dict[int, tuple[type[errors.EvtoolError], str, str]] = {
    sqlite3.SQLITE_BUSY: (
        errors.StoreTimeout,
        "another process keeps the database locked",
        "try again, or end that process",
    ),
    sqlite3.SQLITE_LOCKED: (errors.StoreTimeout, "another connection keeps the database locked", "try again"),
    sqlite3.SQLITE_CANTOPEN: (
        errors.StoreUnreachable,
        "the database file can't be opened",
        "check the folder and its permissions",
    ),
    sqlite3.SQLITE_NOTADB: (errors.StoreError, "the file is not a SQLite database", "give the DSN of another"),
    sqlite3.SQLITE_CORRUPT: (errors.StoreError, "the database file is damaged", "restore it from a backup"),
    sqlite3.SQLITE_FULL: (errors.StoreError, "the disk is full", "free space; nothing was changed"),
    sqlite3.SQLITE_READONLY: (
        errors.PermissionDenied,
        "the database file may not be written",
        "check the permissions of the folder and its files",
    ),
    sqlite3.SQLITE_PERM: (errors.PermissionDenied, "the database file may not be used", "check its permissions"),
    sqlite3.SQLITE_IOERR: (errors.StoreError, "the disk failed", "check the disk and its free space"),
    sqlite3.SQLITE_TOOBIG: (errors.InvalidMessage, "the value is too long for SQLite", "make the message smaller"),
}


def translate(error: sqlite3.Error) -> errors.EvtoolError:
    """An error of the driver as one of evtool's."""
    extended = getattr(error, "sqlite_errorcode", None)
    if extended is not None and (extended & 0xFF) in _CODES:
        kind, text, hint = _CODES[extended & 0xFF]
        return kind(text, hint=hint)
    name = getattr(error, "sqlite_errorname", None) or type(error).__name__
    return errors.StoreError(f"SQLite said {name}: {error}")


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Turns every error of the driver inside into one of evtool's, the cause kept."""
    try:
        yield
    except sqlite3.Error as error:
        raise translate(error) from error
