"""The gate through which threads enter a database: many at a time, one alone, and none while the process forks."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from evtool.errors import StoreTimeout

_COURTESY_SECONDS = 0.1
_FORK_SECONDS = 5.0


class Gate:
    """Counts who is inside.

    Attributes:
        lock: held by whoever changes something that those inside rely on; `alone` holds it.
    """

    def __init__(self) -> None:
        self.lock = threading.Condition()
        self._inside: dict[int, int] = {}
        self._waiting = 0

    @property
    def empty(self) -> bool:
        """Whether nobody is inside. Hold the lock."""
        return not self._inside

    def let_pass(self) -> None:
        """Lets those go first who want to be alone. Hold the lock, which is let go of meanwhile."""
        if self._waiting and threading.get_ident() not in self._inside:
            # not for ever: who is inside may be waiting for what this thread is about to do
            self.lock.wait_for(lambda: not self._waiting, _COURTESY_SECONDS)

    def enter(self) -> None:
        """Enters. Hold the lock."""
        me = threading.get_ident()
        self._inside[me] = self._inside.get(me, 0) + 1

    def leave(self) -> None:
        """Leaves, by the thread that has entered. Hold the lock."""
        me = threading.get_ident()
        count = self._inside.pop(me, 1) - 1
        if count:
            self._inside[me] = count
        if not self._inside:
            self.lock.notify_all()

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Keeps everybody out, once those who are inside have left.

        Raises:
            StoreTimeout: this thread is inside, and would wait for itself.
        """
        with self.lock:
            if threading.get_ident() in self._inside:
                raise StoreTimeout("this thread uses the namespace already", hint="end that first")
            self._waiting += 1
            try:
                self.lock.wait_for(lambda: not self._inside)
                yield
            finally:
                self._waiting -= 1
                self.lock.notify_all()

    def before_fork(self) -> None:
        """Waits for a moment until nobody is inside, unless it is this thread, and keeps everybody out."""
        self.lock.acquire()
        if threading.get_ident() not in self._inside:
            self._waiting += 1
            self.lock.wait_for(lambda: not self._inside, _FORK_SECONDS)
            self._waiting -= 1

    def after_fork(self, *, child: bool) -> None:
        """Lets everybody in again. In the child process nobody is inside: other threads aren't there any more."""
        if child:
            self._inside.clear()
        self.lock.notify_all()
        self.lock.release()
