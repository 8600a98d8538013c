"""Whose turn it is to write to an environment: so that nobody waits for ever for another process's import.

LMDB's own lock has no timeout. Writes are short and nobody minds waiting for them; an import may take minutes. So an
import says that it is at work by a lock on a file, at which writers look first, for a minute at the most. A process
that dies lets go of it.

Between a look and LMDB's lock an import could slip in. So writers hold a second lock meanwhile, and an import lets
those pass who are that far already.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from evtool.errors import StoreTimeout, StoreUnreachable
from evtool.stores.lmdb.translation import files_translated

_IMPORTING = "importing.lock"
_BEGINNING = "beginning.lock"

_WAIT_SECONDS = 60.0
_FIRST_LOOK_SECONDS = 0.0005
_LAST_LOOK_SECONDS = 0.02


@contextlib.contextmanager
def importing(folder: Path) -> Iterator[None]:
    """The turn of an import, up to its end.

    Raises:
        StoreTimeout: another import is at work for too long.
    """
    with _locked(folder / _IMPORTING, fcntl.LOCK_EX):
        with _locked(folder / _BEGINNING, fcntl.LOCK_EX):
            pass
        yield


@contextlib.contextmanager
def beginning(folder: Path) -> Iterator[None]:
    """The turn of a write, until it has LMDB's own lock.

    Raises:
        StoreTimeout: an import is at work for too long.
    """
    with contextlib.ExitStack() as stack:
        with _locked(folder / _IMPORTING, fcntl.LOCK_SH):
            stack.enter_context(_locked(folder / _BEGINNING, fcntl.LOCK_SH))
        yield


@contextlib.contextmanager
def _locked(path: Path, kind: int) -> Iterator[None]:
    """A lock on a file; none where there is no folder, which whoever begins a transaction will find out."""
    try:
        with files_translated():
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except StoreUnreachable:
        yield
        return
    try:
        _wait(descriptor, kind)
        try:
            yield
        finally:
            # said aloud, since a child that was forked meanwhile has the descriptor, too
            fcntl.flock(descriptor, fcntl.LOCK_UN)
    finally:
        os.close(descriptor)


def _wait(descriptor: int, kind: int) -> None:
    end = time.monotonic() + _WAIT_SECONDS
    pause = _FIRST_LOOK_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() > end:
                raise StoreTimeout(
                    "an import keeps the namespace locked", hint="try again when it is done, or end that process"
                ) from error
            time.sleep(pause)
            pause = min(2 * pause, _LAST_LOOK_SECONDS)
        else:
            return
