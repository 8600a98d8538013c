"""A TCP proxy before a PostgreSQL server, which cuts all connections after so many bytes."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
from types import TracebackType
from typing import Self

from psycopg import conninfo

_PIECE = 1 << 14
_RESET = struct.pack("ii", 1, 0)


class CuttingProxy:
    """Passes bytes between clients and a server; use it as a context manager.

    Attributes:
        dsn: of the server, by way of the proxy.
        passed: the bytes that have passed so far, on all connections, in both directions.
    """

    def __init__(self, dsn: str, *cuts: int) -> None:
        """Listens on a free port.

        Args:
            dsn: of the server.
            cuts: after how many bytes all connections are cut, as when a network goes away; new ones may be made.
        """
        given = conninfo.conninfo_to_dict(dsn)
        self._server = (str(given.get("host") or "localhost"), int(given.get("port") or 5432))
        self._cuts = sorted(cuts, reverse=True)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self.passed = 0
        port = self._listener.getsockname()[1]
        self.dsn = conninfo.make_conninfo(dsn, host="127.0.0.1", hostaddr="", port=port)

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            # wakes up whoever waits in accept
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._cut_all()
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive()

    def refuse(self) -> None:
        """Takes no connections any more, as when the server is down."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _start(self, target: object, *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = self._connect()
            with self._lock:
                self._sockets |= {client, server}
            self._start(self._pump, client, server)
            self._start(self._pump, server, client)

    def _connect(self) -> socket.socket:
        host, port = self._server
        if not host.startswith("/"):
            return socket.create_connection((host, port))
        made = socket.socket(socket.AF_UNIX)
        made.connect(os.path.join(host, f".s.PGSQL.{port}"))
        return made

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(_PIECE):
                with self._lock:
                    cut = bool(self._cuts) and self.passed + len(piece) >= self._cuts[-1]
                    part = piece[: self._cuts.pop() - self.passed] if cut else piece
                    self.passed += len(part)
                target.sendall(part)
                if cut:
                    self._cut_all()
        for one in (source, target):
            _cut(one)

    def _cut_all(self) -> None:
        with self._lock:
            while self._sockets:
                _cut(self._sockets.pop())


def _cut(connection: socket.socket) -> None:
    """Ends a connection at once, as a network that goes away does: the other side gets a reset."""
    with contextlib.suppress(OSError):
        if connection.family != socket.AF_UNIX:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()
