"""Reading ahead: the next batch is taken from the file while the server works on this one."""

from __future__ import annotations

import contextlib
import queue
import sys
import threading
from collections.abc import Iterator
from typing import TypeVar

_Item = TypeVar("_Item")

_LOOK_SECONDS = 0.2
# Whoever speaks to the server is never long at it, and each time would wait for the reader's turn to end, which is ten
# times as long.
_TURN_SECONDS = 0.0002


def ahead(items: Iterator[_Item]) -> Iterator[_Item]:
    """The same items, each made in another thread while the one before is in use.

    The thread ends with the items, or when nobody wants more. It is a daemon, so that one that waits for a pipe keeps
    no program from ending.
    """
    ready: queue.Queue[tuple[_Item | None, BaseException | None]] = queue.Queue(maxsize=1)
    given_up = threading.Event()

    def put(item: _Item | None, error: BaseException | None) -> None:
        while not given_up.is_set():
            try:
                ready.put((item, error), timeout=_LOOK_SECONDS)
            except queue.Full:
                continue
            return

    def work() -> None:
        try:
            for item in items:
                put(item, None)
                if given_up.is_set():
                    return
        except BaseException as error:  # noqa: BLE001 - it is raised where the items are used
            put(None, error)
        else:
            put(None, None)

    threading.Thread(target=work, name="evtool-reading", daemon=True).start()
    try:
        with _turns.shortened():
            while True:
                item, error = ready.get()
                if error is not None:
                    raise error
                if item is None:
                    return
                yield item
    finally:
        given_up.set()


class _Turns:
    """How long a thread may keep the others waiting, which is one setting for the whole process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wanting = 0
        self._usual = 0.0

    @contextlib.contextmanager
    def shortened(self) -> Iterator[None]:
        """Short ones, until the last of those who want them has gone."""
        with self._lock:
            if not self._wanting:
                self._usual = sys.getswitchinterval()
                sys.setswitchinterval(_TURN_SECONDS)
            self._wanting += 1
        try:
            yield
        finally:
            with self._lock:
                self._wanting -= 1
                if not self._wanting:
                    sys.setswitchinterval(self._usual)


_turns = _Turns()
