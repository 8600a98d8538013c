"""A lock that a process has for itself: a child doesn't wait for a thread that only its parent has."""

from __future__ import annotations

import os
import threading
from types import TracebackType


class Lock:
    """A lock that its holder may take again. In a process that was forked it begins anew, held by nobody."""

    def __init__(self) -> None:
        self._locks: dict[int, threading.RLock] = {}

    def __enter__(self) -> None:
        """Waits for it."""
        self._own().acquire()

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        """Lets go of it."""
        self._own().release()

    def _own(self) -> threading.RLock:
        pid = os.getpid()
        # of two threads that come first the second takes the other's
        return self._locks.get(pid) or self._locks.setdefault(pid, threading.RLock())
