"""What kills are tried on: a database of each kind, a PostgreSQL server that may be killed, and a file of real events."""

from __future__ import annotations

import contextlib
import gzip
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import psycopg

from evtool import embedded
from evtool.connecting import open_store
from evtool.embedded import EmbeddedServer
from evtool.errors import EvtoolError
from evtool.store import Store
from evtool.testing.contract.helping import file_of, record, records
from tests.conftest import EVENTS

Kind = Literal["postgres", "sqlite", "lmdb"]

SECONDS = 60.0
"""Nothing takes so long, unless it hangs."""

_LINES = 12_000
_EXISTING = 10_000_000


@dataclass
class Rig:
    """A database of each kind, a PostgreSQL server of its own that may be killed, and a file of real events."""

    folder: Path
    server: EmbeddedServer
    lines: int
    stores: dict[Kind, Store] = field(default_factory=dict)
    dsns: dict[Kind, str] = field(default_factory=dict)
    _times: dict[tuple[Kind, str], float] = field(default_factory=dict)
    _wholes: dict[Kind, bytes] = field(default_factory=dict)
    _number: int = 0

    @property
    def file(self) -> Path:
        """The file that is imported."""
        return self.folder / "events.ndjson"

    def store(self, kind: Kind, namespace: str) -> Store:
        """A namespace of the store of a kind."""
        return self.stores[kind].in_namespace(namespace)

    def namespace(self, kind: Kind, *, filled: bool) -> str:
        """A fresh namespace; a filled one has a few messages above those of the file."""
        self._number += 1
        name = f"soak_{self._number}"
        self.stores[kind].create_namespace(name)
        if filled:
            self.store(kind, name).import_batch(record(_EXISTING + n, "there-1", n) for n in range(5))
        return name

    def source(self, kind: Kind) -> str:
        """The namespace that exports and copies are taken from, which holds the file."""
        self.whole(kind)
        return "soak_source"

    def whole(self, kind: Kind) -> bytes:
        """The file as an undisturbed run brings it, its JSON spelled as the store has it."""
        if kind not in self._wholes:
            self.stores[kind].create_namespace("soak_source")
            store = self.store(kind, "soak_source")
            store.import_batch(records(self.file.read_bytes()))
            self._wholes[kind] = file_of(store)
        return self._wholes[kind]

    def duration(self, kind: Kind, operation: str, measure: Callable[[], None]) -> float:
        """How long a command takes when nothing disturbs it; measured once."""
        if (kind, operation) not in self._times:
            start = time.monotonic()
            measure()
            self._times[kind, operation] = time.monotonic() - start
        return self._times[kind, operation]

    def revive(self, killed: int | None) -> None:
        """Has the server running and answering, once a process of it that was killed is gone."""
        deadline = time.monotonic() + SECONDS
        while killed is not None and _exists(killed):
            if time.monotonic() > deadline:
                raise TimeoutError(f"process {killed} outlives its kill")
            time.sleep(0.002)
        while True:
            try:
                # while backends of a killed postmaster still end, a new one refuses to start
                self.server.start()
                with psycopg.connect(self.server.dsn, connect_timeout=5) as connection:
                    connection.execute("SELECT 1")
            except (EvtoolError, psycopg.Error):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
            else:
                # the connections in its pool are dead
                self.stores["postgres"].close()
                self.stores["postgres"] = open_store(self.server.dsn)
                return

    def close(self) -> None:
        """Closes all stores."""
        for store in self.stores.values():
            store.close()

    def backends(self) -> list[int]:
        """The server processes that work for evtool's commands."""
        query = "SELECT pid FROM pg_stat_activity WHERE application_name = 'evtool soaked'"
        with psycopg.connect(self.server.dsn, autocommit=True) as connection:
            return [row[0] for row in connection.execute(query)]


def _exists(pid: int) -> bool:
    """Whether there is such a process, or nobody has yet taken note of its end."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@contextlib.contextmanager
def rig() -> Iterator[Rig]:
    """Everything that trials need, in a temporary folder."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="evtool-soak-")))
        # a kill of the server is no outage of the machine: what was written is in the machine's memory, but not what was
        # about to be, and of a page that was being written there may be half
        lasting = {"synchronous_commit": "on", "full_page_writes": "on"}
        server = stack.enter_context(embedded.temporary(parameters=lasting))
        lines = gzip.decompress(EVENTS.read_bytes()).splitlines(keepends=True)[:_LINES]
        made = Rig(folder, server, len(lines))
        stack.callback(made.close)
        made.dsns = {
            "postgres": f"{server.dsn} application_name='evtool soaked'",
            "sqlite": f"sqlite://{folder / 'sqlite'}",
            "lmdb": f"lmdb://{folder / 'lmdb'}",
        }
        made.file.write_bytes(b"".join(lines))
        for kind, dsn in made.dsns.items():
            made.stores[kind] = open_store(server.dsn if kind == "postgres" else dsn)
            made.stores[kind].migrate()
        yield made
