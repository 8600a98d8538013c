"""The environments that this process has open: one for each path, as LMDB asks for, and none across a fork."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from weakref import WeakValueDictionary

from evtool.stores.lmdb.environment import MAP_SIZE, Environment

# One for each path, however many stores there are. It goes when the last store that uses it does.
_environments: WeakValueDictionary[Path, Environment] = WeakValueDictionary()
_lock = threading.Lock()
_forking: list[Environment] = []


def environment(path: Path, map_size: int = MAP_SIZE) -> Environment:
    """The environment of a path, shared by all threads and stores of this process.

    Args:
        path: its folder.
        map_size: how large its map is at the least.
    """
    with _lock:
        path = path.resolve()
        found = _environments.get(path)
        if found is None:
            found = _environments[path] = Environment(path, map_size)
        return found


def _before_fork() -> None:
    """A child process must not use what its parent opened: so it is closed, and both open it again."""
    _lock.acquire()
    _forking.extend(_environments.values())
    for one in _forking:
        one.before_fork()


def _after_fork(*, child: bool) -> None:
    while _forking:
        _forking.pop().after_fork(child=child)
    _lock.release()


os.register_at_fork(
    before=_before_fork,
    after_in_parent=lambda: _after_fork(child=False),
    after_in_child=lambda: _after_fork(child=True),
)
