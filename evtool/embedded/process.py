"""PostgreSQL's processes: as whom they run, and what they leave to read.

PostgreSQL refuses to run as root, so root runs it in a user namespace or, where the
kernel forbids that, as an unprivileged user id. No user is created for it, and no
permission is loosened. initdb moreover refuses a user id that has no name, such as
containers like to give: a namespace, where it is another's, helps there too.
"""

from __future__ import annotations

import os
import pwd
import re
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from evtool import settings
from evtool.errors import EmbeddedServerError

NOBODY = 65534
"""The kernel's overflow id, and the id of `nobody` nearly everywhere."""

Privileges = Literal["auto", "user-namespace", "drop"]
"""How root runs PostgreSQL; for an ordinary user it says nothing."""


@dataclass(frozen=True, slots=True)
class RunAs:
    """As whom PostgreSQL's programs run.

    Attributes:
        prefix: words before the program's own.
        uid, gid: what to become, or None to stay.
    """

    prefix: tuple[str, ...] = ()
    uid: int | None = None
    gid: int | None = None

    @property
    def owner(self) -> int:
        """The user id that owns the server's files, as this process sees it."""
        return os.geteuid() if self.uid is None else self.uid

    def run(
        self,
        command: Sequence[str | Path],
        *,
        stderr: int = subprocess.STDOUT,
        keep: Sequence[int] = (),
        timeout: float | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a program to its end, in a session of its own, with English messages.

        `stderr` is a file descriptor, by default the one of stdout; `keep` are descriptors
        that the program inherits; `timeout` is in seconds. Raises OSError if it can't be
        started and subprocess.TimeoutExpired.
        """
        return subprocess.run(
            [*self.prefix, *map(str, command)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            encoding="utf-8",
            errors="replace",
            cwd="/",  # the caller's folder may be closed to the user that it becomes
            env=settings.child_environment(LC_ALL="C"),
            start_new_session=True,  # so that Ctrl-C in the terminal doesn't reach the server
            umask=0o077,
            pass_fds=keep,
            user=self.uid,
            group=self.gid,
            extra_groups=None if self.uid is None else [],
            timeout=timeout,
            check=False,
        )

    def require_access(self, path: Path, *, program: bool = False) -> None:
        """Raise EmbeddedServerError unless this user reaches a folder, or may execute a program."""
        if self == RunAs():
            return
        test = '[ -x "$1" ]' if program else 'cd -- "$1"'
        try:
            done = self.run(["/bin/sh", "-c", test, "sh", path], timeout=30)
        except (OSError, subprocess.SubprocessError) as error:
            raise EmbeddedServerError(f"cannot become user id {self.owner}: {error}") from error
        if done.returncode == 0:
            return
        if program:
            hint = "install PostgreSQL, or the wheel, where every user may execute it (EVTOOL_EMBEDDED_BIN)"
        else:
            hint = "choose a folder that this user can reach (EVTOOL_EMBEDDED_DIR)"
        whom = f"user id {self.owner}" if self.uid is not None else "a process without root's privileges"
        raise EmbeddedServerError(f"{path} can't be reached by {whom}", hint=hint)


def run_as(privileges: Privileges, owner: int | None = None, group: int | None = None) -> RunAs:
    """As whom a server runs, given how root may do it and who owns an existing data directory.

    Raises EmbeddedServerError if that owner and `privileges` don't go together, or user
    namespaces are asked for and the kernel forbids them.
    """
    if os.geteuid() != 0:
        nameless = not has_name(os.geteuid())
        return RunAs(prefix=_unshare()) if nameless and user_namespaces_work() else RunAs()
    foreign = owner is not None and owner != 0
    if privileges == "user-namespace" or (privileges == "auto" and not foreign):
        if foreign:
            message = f"the data directory belongs to user id {owner}, which a user namespace would not have"
            raise EmbeddedServerError(message, hint='use privileges "drop" for it')
        if user_namespaces_work():
            return RunAs(prefix=_unshare())
        if privileges == "user-namespace" or owner == 0:
            message = "PostgreSQL refuses to run as root, and user namespaces are forbidden here"
            raise EmbeddedServerError(message, hint="run evtool as an ordinary user, with another folder")
    if owner == 0:
        message = "the data directory belongs to root, and PostgreSQL refuses to run as root"
        raise EmbeddedServerError(message, hint='use privileges "user-namespace", or another folder')
    return RunAs(uid=NOBODY, gid=NOBODY) if owner is None else RunAs(uid=owner, gid=group)


def has_name(uid: int) -> bool:
    """Whether a user id is in the user database."""
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def _unshare() -> tuple[str, ...]:
    """The start of a command that runs under an id that has a name and isn't root's.

    Files made there belong to the caller all the same.
    """
    inner = next((uid for uid in (1000, NOBODY, 1) if has_name(uid)), 1000)
    return ("unshare", "-U", f"--map-user={inner}", f"--map-group={inner}")


@cache
def user_namespaces_work() -> bool:
    """Whether a program can be started in a user namespace under another user id."""
    try:
        done = subprocess.run(
            [*_unshare(), "true"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return done.returncode == 0


@dataclass(frozen=True, slots=True)
class Postmaster:
    """What a server writes into its postmaster.pid.

    Attributes:
        pid: its process id.
        started: when, in seconds of the Unix epoch.
        port: the number in the socket's name.
        socket_folder: where the socket is.
        ready: whether it takes connections.
    """

    pid: int
    started: int
    port: int
    socket_folder: str
    ready: bool


def read_postmaster(path: Path) -> Postmaster | None:
    """The contents of a postmaster.pid; None if it is missing or not whole yet."""
    try:
        lines = os.fsdecode(path.read_bytes()).split("\n")
        return Postmaster(
            pid=int(lines[0]),
            started=int(lines[2]),
            port=int(lines[3]),
            socket_folder=lines[4],
            ready=len(lines) > 7 and lines[7].strip() in {"ready", "standby"},
        )
    except (FileNotFoundError, ValueError, IndexError):
        return None


def exists(pid: int) -> bool:
    """Whether a process has this id; it may be a zombie."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def is_alive(pid: int) -> bool:
    """Whether a process lives; a zombie, which only waits to be reaped, doesn't."""
    if not exists(pid):
        return False
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return True  # no /proc on this system
    # "pid (name) state …", and the name may itself hold a parenthesis.
    return not stat.rpartition(b")")[2].lstrip().startswith((b"Z", b"X"))


def serves(pid: int, directory: Path) -> bool:
    """Whether a process is the server of a data directory, and not one that got its id later."""
    if not is_alive(pid):
        return False
    if not Path("/proc/self/cwd").exists():
        return True
    try:
        # The server's working directory is its data directory.
        return os.path.samestat(os.stat(f"/proc/{pid}/cwd"), os.stat(directory))
    except FileNotFoundError:
        return False  # it ended just now
    except PermissionError:
        # Another user's, or root in a container, which may not look into others' processes.
        with suppress(FileNotFoundError):
            return os.stat(f"/proc/{pid}").st_uid == os.stat(directory).st_uid
        return False


def last_words(log: str) -> str:
    """The fault that a server's or initdb's log ends with, on one line; empty if it says nothing."""
    fault: list[str] = []
    last = ""
    for line in filter(None, map(str.strip, log.splitlines())):
        last = line
        match = re.search(r"\b(FATAL|PANIC|ERROR|error|DETAIL|detail|HINT|hint):\s+(.*)", line)
        if match is None:
            continue
        if match[1].upper() in {"DETAIL", "HINT"}:
            fault.append(match[2])
        else:
            fault = [match[2]]
    return "; ".join(fault) or last


def conninfo(socket_folder: str, port: int) -> str:
    """libpq's key=value string for the superuser of a server on a Unix socket."""
    if re.search(r"[\s'\\]", socket_folder):
        socket_folder = "'" + re.sub(r"(['\\])", r"\\\1", socket_folder) + "'"
    # an empty hostaddr keeps PGHOSTADDR, or a service file's, from leading to another server
    return f"host={socket_folder} hostaddr='' port={port} user=postgres dbname=postgres"
