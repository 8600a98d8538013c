"""How the queue stands, for whoever asks now and then: on a connection that is kept, and made anew when it is lost."""

from __future__ import annotations

import threading
from typing import Self

from evtool.bulk.jobs.queue import Queue
from evtool.errors import EvtoolError
from evtool.stores.postgres.connection import Connection, Connector


class States:
    """Counts jobs by state. Use it in `with`."""

    def __init__(self, dsn: str) -> None:
        """Prepares; nothing is connected.

        Raises:
            InvalidDsn: libpq does not understand the DSN.
        """
        self._connector = Connector(dsn)
        self._connection: Connection | None = None
        # scrapes come in threads of their own
        self._lock = threading.Lock()

    def __call__(self) -> dict[str, tuple[int, float | None]] | None:
        """How many jobs are in each state, and the age of the oldest in seconds; None where nobody answers."""
        with self._lock:
            try:
                if self._connection is None or self._connection.closed:
                    self._connection = self._connector.open()
                return Queue(self._connection).states()
            except EvtoolError:
                self._close()
                return None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._close()

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
