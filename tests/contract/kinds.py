"""The stores that the contract is proven on: where each keeps its databases, and how it is opened."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from evtool.connecting import SQLITE_MEMORY, open_store
from evtool.store import Store

MakeDsn = Callable[[], str]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of store.

    Attributes:
        name: how the tests call it.
        shared: whether other processes can reach its database; one that can't be reached migrates itself, too.
        local: whether its processes are those that write, so that killing a writer can do it harm.
        make_dsn: the DSN of a new, empty database, given a maker of PostgreSQL databases and a folder that isn't there.
    """

    name: str
    shared: bool
    local: bool
    make_dsn: Callable[[MakeDsn, Path], str]


KINDS = (
    Kind("postgres", shared=True, local=False, make_dsn=lambda make_database, _: make_database()),
    Kind("sqlite-file", shared=True, local=True, make_dsn=lambda _, folder: f"sqlite://{folder}"),
    Kind("sqlite-memory", shared=False, local=True, make_dsn=lambda *_: SQLITE_MEMORY),
    Kind("lmdb", shared=True, local=True, make_dsn=lambda _, folder: f"lmdb://{folder}"),
)
SHARED = tuple(kind for kind in KINDS if kind.shared)


class Place:
    """A database of some kind; those in memory exist as long as it does."""

    def __init__(self, kind: Kind, make_database: MakeDsn, folder: Path) -> None:
        self.kind = kind
        self.dsn = kind.make_dsn(make_database, folder)
        self._first = open_store(self.dsn)
        self._opened: list[Store] = []

    def store(self, namespace: str | None = None) -> Store:
        """A store; all share their connections, and none is to be closed."""
        return self._first if namespace is None else self._first.in_namespace(namespace)

    def another(self, namespace: str) -> Store:
        """A store with connections of its own, where the database can be opened twice."""
        if not self.kind.shared:
            return self._first.in_namespace(namespace)
        self._opened.append(open_store(self.dsn, namespace))
        return self._opened[-1]

    def reopen(self) -> None:
        """Closes everything and opens it anew, as the next program would."""
        self.close()
        self._first = open_store(self.dsn)

    def close_others(self) -> None:
        """Closes what `another` has opened."""
        while self._opened:
            self._opened.pop().close()

    def close(self) -> None:
        """Closes everything."""
        self.close_others()
        self._first.close()
