"""A PostgreSQL server of evtool's own, in a data directory.

The server listens on a Unix socket in a folder that only its user can enter, so it needs
no password. It goes on after the process that started it has ended, until `stop()`.

    server = EmbeddedServer()
    dsn = server.start()

Beside the data directory `name` lie `name.lock`, held while one process starts or stops
the server, and `name.log`, the server's log.
"""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from evtool import settings
from evtool.embedded.binaries import Binaries, find_binaries
from evtool.embedded.folder import POLL, PORT, DataFolder
from evtool.embedded.process import (
    Privileges,
    RunAs,
    conninfo,
    exists,
    is_alive,
    last_words,
    read_postmaster,
    run_as,
    serves,
)
from evtool.errors import EmbeddedServerError, EvtoolError

__all__ = [
    "EmbeddedServer",
    "Privileges",
    "ServerStatus",
    "temporary",
]

StopMode = Literal["smart", "fast", "immediate"]
"""PostgreSQL's words: wait for sessions, end them, or don't even write a checkpoint."""

_SIGNALS = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}


# After kill -9 of the server its last children may hold the shared memory for a moment.
_CRASH_PATIENCE = 10.0

# For tests: what makes a server fast and an outage fatal.
_CARELESS = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "autovacuum_naptime": "10s",
    "max_wal_size": "2GB",
}


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """What is known of an embedded server.

    Attributes:
        running: whether the server's process lives.
        pid: its process id, None if it doesn't run.
        version: of the running server, for example "18.4"; else the folder's major
            version, or None if there is no folder yet.
        directory: the data directory.
        dsn: how to connect, None if it doesn't run.
        log_file: the server's log.
        started_at: in UTC, None if it doesn't run.
    """

    running: bool
    pid: int | None
    version: str | None
    directory: Path
    dsn: str | None
    log_file: Path
    started_at: datetime | None


class EmbeddedServer:
    """A PostgreSQL server in a data directory, started and stopped at will.

    Args:
        directory: the data directory; by default EVTOOL_EMBEDDED_DIR, else a folder
            `postgres-<major>` where the user's data belong (/var/lib/evtool for root
            where user namespaces are forbidden). It is created by the first start.
        binaries: the programs to run; by default `find_binaries()`'s, of the major
            version that an existing folder asks for.
        privileges: how root runs the server. "drop" becomes the folder's owner, and
            `nobody` for a new folder: whatever else runs as `nobody` can then reach it.
        parameters: configuration parameters of the server, in PostgreSQL's notation.
        timeout: seconds to wait for a start or a stop.
    """

    def __init__(
        self,
        directory: Path | None = None,
        binaries: Binaries | None = None,
        *,
        privileges: Privileges = "auto",
        parameters: Mapping[str, str] | None = None,
        timeout: float = 60.0,
    ) -> None:
        self._binaries = binaries
        self._privileges: Privileges = privileges
        self._parameters = dict(parameters or {})
        self._timeout = timeout
        directory = directory or settings.embedded_directory()
        if directory is None:
            self._binaries = binaries or find_binaries()
            directory = _default_directory(self._binaries, privileges)
        self._folder = DataFolder(directory)

    @property
    def directory(self) -> Path:
        """The data directory, absolute, without symbolic links."""
        return self._folder.path

    @property
    def log_file(self) -> Path:
        """The server's log, beside the data directory."""
        return self._folder.log_file

    @property
    def binaries(self) -> Binaries:
        """The programs that this server runs from. Raises BinariesMissing."""
        if self._binaries is None:
            self._binaries = find_binaries(prefer=self._folder.major())
        return self._binaries

    @property
    def dsn(self) -> str:
        """How to connect with libpq: to the running server, or where it will be."""
        postmaster = self._folder.postmaster()
        if postmaster is not None:
            return conninfo(postmaster.socket_folder, postmaster.port)
        return conninfo(str(self._folder.socket_folder()), PORT)

    def psql_path(self) -> Path:
        """The path of a psql that fits the server. Raises BinariesMissing."""
        return self.binaries.program("psql")

    def start(self) -> str:
        """Start the server unless it runs, make its data directory first if need be; return its DSN.

        Any number of processes may call this at once: one starts the server, the others
        wait. Raises EmbeddedServerError, with the last words of the server's log, and
        BinariesMissing.
        """
        with self._files_as_errors():
            self._folder.is_ours()  # a foreign folder is refused before a lock file appears beside it
            self.directory.parent.mkdir(parents=True, exist_ok=True)
            with self._folder.locked(2 * self._timeout) as lock:
                made = self._folder.is_ours()
                postmaster = self._folder.postmaster()
                if postmaster is not None:
                    self._wait_until_ready(postmaster.pid, self._folder.log_size())
                    return self.dsn
                self._check_major()
                whom = self._run_as()
                whom.require_access(self.directory.parent)
                whom.require_access(self.binaries.program("postgres"), program=True)
                if not made:
                    self._folder.make(self.binaries, whom, lock, durable=self._parameters.get("fsync") != "off")
                self._start_process(whom)
                return self.dsn

    def stop(self, mode: StopMode = "fast") -> bool:
        """Stop the server and wait for its end; return whether it ran.

        Raises EmbeddedServerError if it doesn't end in time.
        """
        with self._files_as_errors():
            if not self._folder.is_ours():
                return False
            with self._folder.locked(2 * self._timeout):
                postmaster = self._folder.postmaster()
                if postmaster is None:
                    return False
                with suppress(ProcessLookupError):
                    os.kill(postmaster.pid, _SIGNALS[mode])
                deadline = time.monotonic() + self._timeout
                while serves(postmaster.pid, self.directory):
                    if time.monotonic() > deadline:
                        message = f"the server did not stop within {self._timeout:g} s"
                        raise EmbeddedServerError(message, hint='end its sessions, or stop it with "immediate"')
                    time.sleep(POLL)
                if Path(postmaster.socket_folder) != self.directory:
                    with suppress(OSError):
                        Path(postmaster.socket_folder).rmdir()
                return True

    def status(self) -> ServerStatus:
        """Look at the server without changing anything. Raises EmbeddedServerError for a foreign folder."""
        with self._files_as_errors():
            ours = self._folder.is_ours()
            postmaster = self._folder.postmaster() if ours else None
            major = self._folder.major()
            version = None if major is None else str(major)
        if postmaster is None:
            return ServerStatus(
                running=False,
                pid=None,
                version=version,
                directory=self.directory,
                dsn=None,
                log_file=self.log_file,
                started_at=None,
            )
        dsn = conninfo(postmaster.socket_folder, postmaster.port)
        return ServerStatus(
            running=True,
            pid=postmaster.pid,
            version=_server_version(dsn) or version,
            directory=self.directory,
            dsn=dsn,
            log_file=self.log_file,
            started_at=datetime.fromtimestamp(postmaster.started, UTC),
        )

    # --- what it runs on ---------------------------------------------------------------

    def _check_major(self) -> None:
        major = self._folder.major()
        if major is not None and major != self.binaries.major:
            raise EmbeddedServerError(
                f"{self.directory} was made by PostgreSQL {major}, "
                f"the binaries are {self.binaries.version} ({self.binaries.source})",
                hint=f"name the binaries of PostgreSQL {major} (EVTOOL_EMBEDDED_BIN), or another folder"
                " (EVTOOL_EMBEDDED_DIR); pg_upgrade or pg_dumpall move the data",
            )

    def _run_as(self) -> RunAs:
        if self._folder.major() is None:
            return run_as(self._privileges)
        info = self.directory.stat()
        return run_as(self._privileges, info.st_uid, info.st_gid)

    # --- the process ------------------------------------------------------------------

    def _start_process(self, whom: RunAs) -> None:
        pid_file = self.directory / "postmaster.pid"
        crashed = pid_file.exists()
        left = read_postmaster(pid_file)
        if left is not None and exists(left.pid):
            # The process id is another program's by now, or a zombie's. PostgreSQL can't tell
            # and would refuse to start; `serves` looked, and it is no server of this folder.
            pid_file.unlink()
            (self._folder.socket_folder() / f".s.PGSQL.{PORT}.lock").unlink(missing_ok=True)
        self._folder.rotate_log()
        patience = time.monotonic() + _CRASH_PATIENCE
        while True:
            start = self._folder.log_size()
            pid = self._launch(whom)
            try:
                self._wait_until_ready(pid, start)
            except EmbeddedServerError:
                if not crashed or is_alive(pid) or time.monotonic() > patience:
                    raise
                time.sleep(0.1)
            else:
                return

    def _launch(self, whom: RunAs) -> int:
        folder = self._folder.make_socket_folder(whom)
        parameters = {
            **self._parameters,
            "listen_addresses": "",
            "unix_socket_directories": '"' + str(folder).replace('"', '""') + '"',
            "unix_socket_permissions": "0700",
            "port": str(PORT),
            "logging_collector": "off",
            "log_destination": "stderr",
        }
        command: list[str | Path] = [self.binaries.program("postgres"), "-D", self.directory]
        for name, value in parameters.items():
            command += ["-c", f"{name}={value}"]
        log = self._folder.open_log()
        try:
            # The shell ends at once, so that the server is init's child and not ours.
            script = '"$@" >&2 & echo $!'
            shell = RunAs(uid=whom.uid, gid=whom.gid)
            done = shell.run(["/bin/sh", "-c", script, "sh", *whom.prefix, *command], stderr=log, timeout=30)
        finally:
            os.close(log)
        return int(done.stdout)

    def _wait_until_ready(self, pid: int, log_start: int) -> None:
        deadline = time.monotonic() + self._timeout
        while True:
            postmaster = read_postmaster(self.directory / "postmaster.pid")
            if postmaster is not None and postmaster.pid == pid and postmaster.ready:
                return
            if not is_alive(pid):
                reason = last_words(self._folder.log_from(log_start)) or "it ended without a word"
                message = f"PostgreSQL {self.binaries.version} did not start: {reason}"
                raise EmbeddedServerError(message, hint=f"the server's log is {self.log_file}")
            if time.monotonic() > deadline:
                message = f"PostgreSQL is not ready after {self._timeout:g} s, and still starting"
                raise EmbeddedServerError(message, hint=f"wait, and see {self.log_file}")
            time.sleep(POLL)

    @contextmanager
    def _files_as_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            where = error.filename2 or error.filename or self.directory
            message = f"cannot use {self.directory}: {error.strerror or error} ({where})"
            raise EmbeddedServerError(message, hint="choose another folder (EVTOOL_EMBEDDED_DIR)") from error
        except subprocess.SubprocessError as error:
            raise EmbeddedServerError(f"cannot run PostgreSQL's programs: {error}") from error


@contextmanager
def temporary(
    *,
    binaries: Binaries | None = None,
    privileges: Privileges = "auto",
    max_connections: int = 100,
    parameters: Mapping[str, str] | None = None,
) -> Iterator[EmbeddedServer]:
    """A running server in a fresh temporary folder, for tests: fast, and gone afterwards.

    It would not survive an outage: nothing is flushed to disk. `parameters` are further
    configuration parameters. It is stopped and removed at the end of the block, or at the
    latest at the end of the interpreter.
    """
    binaries = binaries or find_binaries()
    whom = run_as(privileges)
    folder = Path(tempfile.mkdtemp(prefix="evtool-")).resolve()
    server = EmbeddedServer(
        folder / "data",
        binaries,
        privileges=privileges,
        parameters={**_CARELESS, "max_connections": str(max_connections), **(parameters or {})},
    )
    creator = os.getpid()

    def remove() -> None:
        if os.getpid() != creator:
            return  # a forked child that ends normally runs atexit too
        with suppress(EvtoolError):
            server.stop("immediate")
        shutil.rmtree(folder, ignore_errors=True)

    atexit.register(remove)
    try:
        if whom.uid is not None:
            folder.chmod(0o711)  # the user that the server becomes must pass through
        server.start()
        yield server
    finally:
        atexit.unregister(remove)
        remove()


def _default_directory(binaries: Binaries, privileges: Privileges) -> Path:
    name = f"postgres-{binaries.major}"
    if run_as(privileges).uid is not None:
        return Path("/var/lib/evtool") / name  # root's home is closed to the user that it becomes
    import platformdirs

    return platformdirs.user_data_path("evtool") / name


def _server_version(dsn: str) -> str | None:
    """The version of a running server, None if it doesn't answer within two seconds."""
    import psycopg  # takes 0.2 s

    try:
        with psycopg.connect(dsn, connect_timeout=2) as connection:
            told = connection.info.parameter_status("server_version")
    except psycopg.Error:
        return None
    return told.split()[0] if told else None
