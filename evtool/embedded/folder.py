"""The folder of an embedded server: its data directory, and what lies around it.

Beside the data directory `name` lie `name.lock`, held while one process starts or stops
the server, and `name.log`, the server's log. The socket is in the data directory, or in a
short folder of its own where its path would be too long.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from evtool.embedded.binaries import Binaries
from evtool.embedded.process import Postmaster, RunAs, has_name, last_words, read_postmaster, serves
from evtool.errors import EmbeddedServerError

POLL = 0.02
"""Seconds between two looks at something that should change soon."""

# Only names the socket; servers in different folders never meet.
PORT = 5432

# sockaddr_un.sun_path less its final NUL: 108 bytes on Linux, 104 on BSD and macOS.
_SOCKET_LIMIT = 107 if sys.platform == "linux" else 103

# Tells a data directory of ours from one of somebody else's server.
_MARKER = "evtool-embedded"

_LOG_LIMIT = 8 * 1024 * 1024
"""Bytes after which a start puts the log aside as `name.log.1`."""

_INITDB_TIMEOUT = 300.0


class DataFolder:
    """The data directory of one embedded server, whether or not it is there yet.

    Methods raise OSError where the file system refuses, and EmbeddedServerError for what
    they say.

    Attributes:
        path: the data directory, absolute, without symbolic links.
        log_file: the server's log.
    """

    def __init__(self, path: Path) -> None:
        if re.search(r"[\r\n]", str(path)):
            # postmaster.pid is made of lines, and one of them is the folder.
            raise EmbeddedServerError("the folder's name holds a line break", hint="choose another folder")
        self.path = path.resolve()
        self.log_file = self._beside(".log")

    def _beside(self, suffix: str) -> Path:
        return self.path.with_name(self.path.name + suffix)

    def is_ours(self) -> bool:
        """Whether the data directory is there; False if it is missing or empty.

        Raises EmbeddedServerError if it holds something else.
        """
        try:
            names = set(os.listdir(self.path))
        except FileNotFoundError:
            return False
        if not names:
            return False
        if {_MARKER, "PG_VERSION"} <= names:
            return True
        what = "a data directory of another server" if "PG_VERSION" in names else "not empty"
        message = f"{self.path} is {what}, and was left alone"
        raise EmbeddedServerError(message, hint="choose another folder (EVTOOL_EMBEDDED_DIR)")

    def major(self) -> int | None:
        """The major version of PostgreSQL that made the folder, None if there is none."""
        try:
            return int((self.path / "PG_VERSION").read_text(encoding="ascii"))
        except (OSError, ValueError):
            return None

    def make(self, binaries: Binaries, whom: RunAs, lock: int, *, durable: bool) -> None:
        """initdb into a sibling, and rename it when it is whole: a kill leaves no half folder."""
        parent, prefix = self.path.parent, f".{self.path.name}.new-"
        for entry in parent.iterdir():
            if entry.name.startswith(prefix):
                shutil.rmtree(entry, ignore_errors=True)  # of a start that was killed
        complaint = ""
        for locale in ("C.UTF-8", "C"):
            sibling = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
            try:
                if whom.uid is not None:
                    os.chown(sibling, whom.uid, -1 if whom.gid is None else whom.gid)
                # initdb keeps the lock: if we are killed, the next start waits for its end.
                complaint = self._initdb(binaries, whom, sibling, lock, locale=locale, durable=durable)
                if not complaint:
                    _write_marker(sibling / _MARKER, whom)
                    sibling.rename(self.path)
                    _sync_folder(parent)
                    return
            finally:
                shutil.rmtree(sibling, ignore_errors=True)  # nothing is left to remove after the rename
        hint = f"see {self.log_file}"
        if not whom.prefix and not has_name(whom.owner):
            hint = f"give user id {whom.owner} a name (in /etc/passwd), which initdb asks for"
        raise EmbeddedServerError(f"initdb failed: {complaint}", hint=hint)

    def _initdb(self, binaries: Binaries, whom: RunAs, folder: Path, lock: int, *, locale: str, durable: bool) -> str:
        """Run initdb; return its complaint, or an empty string."""
        command: list[str | Path] = [binaries.program("initdb"), "-D", folder, "-U", "postgres"]
        command += ["--auth-local=trust", "--auth-host=reject", "--encoding=UTF8", f"--locale={locale}"]
        command += ["--data-checksums"] if durable else ["--no-sync"]
        try:
            done = whom.run(command, keep=[lock], timeout=_INITDB_TIMEOUT)
        except subprocess.TimeoutExpired:
            return f"not done after {_INITDB_TIMEOUT:g} s"
        if done.returncode == 0:
            return ""
        with os.fdopen(self.open_log(), "a", encoding="utf-8") as log:
            log.write(done.stdout)
        return last_words(done.stdout) or f"exit status {done.returncode}"

    def postmaster(self) -> Postmaster | None:
        """The running server, or None."""
        postmaster = read_postmaster(self.path / "postmaster.pid")
        return postmaster if postmaster is not None and serves(postmaster.pid, self.path) else None

    def socket_folder(self) -> Path:
        """Where the socket is: in the data directory, or in a short folder if that can't be.

        A socket's path is limited to some hundred bytes, and libpq takes a comma in it for
        the start of another host.
        """
        if _socket_fits(self.path):
            return self.path
        digest = hashlib.sha256(os.fsencode(self.path)).hexdigest()[:20]
        folder = Path(tempfile.gettempdir()) / f"evtool-{digest}"
        return folder if _socket_fits(folder) else Path("/tmp") / folder.name  # noqa: S108 - see make_socket_folder

    def make_socket_folder(self, whom: RunAs) -> Path:
        """Make sure that there is a folder for the socket, which only the server's user enters."""
        folder = self.socket_folder()
        if folder == self.path:
            return folder
        try:
            folder.mkdir(mode=0o700)
        except FileExistsError:
            info = folder.lstat()
            if (info.st_mode, info.st_uid) == (0o40700, whom.owner):
                return folder
            # Somebody else sits on the name. Later processes find the folder in postmaster.pid.
            folder = Path(tempfile.mkdtemp(prefix="evtool-", dir=folder.parent))
        if whom.uid is not None:
            os.chown(folder, whom.uid, -1, follow_symlinks=False)
        return folder

    def open_log(self) -> int:
        """A file descriptor that appends to the log, for the caller to close."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(self.log_file, flags, 0o600)

    def rotate_log(self) -> None:
        """Put a log that has grown large aside."""
        if self.log_size() > _LOG_LIMIT:
            self.log_file.replace(self._beside(".log.1"))

    def log_size(self) -> int:
        """The log's size in bytes, 0 if there is none."""
        try:
            return self.log_file.stat().st_size
        except FileNotFoundError:
            return 0

    def log_from(self, start: int) -> str:
        """What the log holds from byte `start` on."""
        try:
            with self.log_file.open("rb") as log:
                log.seek(start)
                return log.read(_LOG_LIMIT).decode("utf-8", "replace")
        except FileNotFoundError:
            return ""

    @contextmanager
    def locked(self, timeout: float) -> Iterator[int]:
        """Hold the lock that lets one process at a time start or stop the server.

        Yields its file descriptor; a child that inherits it holds the lock too. `timeout`
        is in seconds.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        lock = os.open(self._beside(".lock"), flags, 0o600)
        try:
            deadline = time.monotonic() + timeout
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        message = f"another process has been starting or stopping {self.path} for too long"
                        raise EmbeddedServerError(message, hint="end it and try again") from None
                    time.sleep(POLL)
            yield lock
        finally:
            os.close(lock)


def _socket_fits(folder: Path) -> bool:
    path = folder / f".s.PGSQL.{PORT}"
    try:
        return len(str(path).encode()) <= _SOCKET_LIMIT and "," not in str(folder)
    except UnicodeEncodeError:  # bytes that are no UTF-8 have no place in a DSN
        return False


def _write_marker(path: Path, whom: RunAs) -> None:
    marker = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(marker, "w", encoding="utf-8") as file:
        file.write("A PostgreSQL data directory that evtool made and runs.\n")
        file.flush()
        os.fsync(file.fileno())
        if whom.uid is not None:
            os.fchown(file.fileno(), whom.uid, -1)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
