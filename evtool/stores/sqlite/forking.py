"""No connection goes through a fork: what SQLite knows of its locks is the process's.

A child that went on with its parent's connections would write to a log that the parent removes when it closes, thinking
itself the last: what was acknowledged would be lost. So idle connections are closed before a fork, and both open new
ones. What is in use can't be closed, and SQLite keeps in memory what it has locked: the child may not use that file.
"""

from __future__ import annotations

import ctypes
import os
import sqlite3
import threading
from pathlib import Path
from typing import Protocol
from weakref import WeakSet

from evtool.errors import StoreError


class Forkable(Protocol):
    """Something that has connections."""

    def before_fork(self) -> None:
        """Closes what nobody uses, and keeps everybody out."""

    def after_fork(self, *, child: bool) -> None:
        """Lets everybody in again."""


_databases: WeakSet[Forkable] = WeakSet()
_lock = threading.Lock()
_forking: list[Forkable] = []
_used_by_parent: set[Path] = set()


def register(database: Forkable) -> None:
    """Has a database asked before every fork."""
    with _lock:
        _databases.add(database)


def forbid(path: Path) -> None:
    """Says, in a child, that its parent was using a file."""
    _used_by_parent.add(path.resolve())


def check(path: Path) -> None:
    """Sees to it that a file may be opened.

    Raises:
        StoreError: the parent was using it when it was forked.
    """
    if _used_by_parent and path.resolve() in _used_by_parent:
        raise forked()


def check_process(pid: int) -> None:
    """Sees to it that this is still the process that began something.

    Raises:
        StoreError: it is a child of it.
    """
    if os.getpid() != pid:
        raise forked()


def abandon(connection: sqlite3.Connection) -> None:
    """Leaves a parent's connection alone for ever: losing the last reference, at the latest at exit, would close it."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))


def forked() -> StoreError:
    """The error of a child that can't use what its parent was using."""
    return StoreError("the process was forked while a thread used this database", hint="fork while nothing is going on")


def _before() -> None:
    _lock.acquire()
    _forking.extend(_databases)
    for one in _forking:
        one.before_fork()


def _after(*, child: bool) -> None:
    while _forking:
        _forking.pop().after_fork(child=child)
    _lock.release()


os.register_at_fork(
    before=_before, after_in_parent=lambda: _after(child=False), after_in_child=lambda: _after(child=True)
)
