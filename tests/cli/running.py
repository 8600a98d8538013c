"""evtool as its users run it: a process of its own."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import evtool
from tests.cli.forking import Forking

_HOME = str(Path(evtool.__file__).parent.parent)
SECONDS = 60
"""No command of a test takes so long, unless it hangs."""

_OF_PYTHON = ("PYTHON", "LC_", "LANG", "TZ", "COLUMNS", "TERM", "NO_COLOR")

_GROUPS = {"bulk", "db", "migrate", "ns"}
"""Commands whose second word is a command as well."""

# What has been run of each.
_started: set[tuple[str, ...]] = set()
_forking = functools.cache(Forking)


@dataclass(frozen=True)
class Done:
    """What a command did."""

    code: int
    stdout: bytes
    stderr: bytes

    @property
    def out(self) -> str:
        """What it printed on stdout."""
        return self.stdout.decode()

    @property
    def err(self) -> str:
        """What it printed on stderr."""
        return self.stderr.decode()

    def ok(self) -> Done:
        """Itself, if it succeeded."""
        assert self.code == 0, self.err
        return self


@dataclass(frozen=True)
class Cli:
    """Runs evtool's commands with a DSN and a namespace, given by the environment as in a shell."""

    dsn: str | None = None
    namespace: str | None = None

    def __call__(self, *arguments: str | Path, stdin: bytes = b"", **variables: str) -> Done:
        """Runs a command to its end.

        Every command that a process of the run has not seen yet, or that has variables which Python itself reads, is
        started as it is elsewhere; others are forks of a process that has imported evtool.
        """
        given, environment = [*map(str, arguments)], self.environment(**variables)
        command = tuple(given[: 2 if given[:1] and given[0] in _GROUPS else 1])
        if command in _started and not any(name.startswith(_OF_PYTHON) for name in variables):
            done = _forking().run(given, stdin, environment, SECONDS)
            if done is not None:
                return Done(*done)
        _started.add(command)
        completed = subprocess.run(
            self.command(*arguments), input=stdin, capture_output=True, env=environment, timeout=SECONDS, check=False
        )
        return Done(completed.returncode, completed.stdout, completed.stderr)

    def start(self, *arguments: str | Path, **options: Any) -> subprocess.Popen[bytes]:
        """Starts a command. Its standard streams are pipes, unless options of Popen say otherwise."""
        streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        given = {"env": self.environment(), **streams, **options}
        return subprocess.Popen(self.command(*arguments), **given)

    @staticmethod
    def command(*arguments: str | Path) -> list[str]:
        """The command line that runs evtool."""
        return [sys.executable, "-m", "evtool", *map(str, arguments)]

    def environment(self, **variables: str) -> dict[str, str]:
        """The environment that the command gets."""
        own = {"PYTHONPATH": _HOME, "EVTOOL_DSN": self.dsn or "", "EVTOOL_NAMESPACE": self.namespace or ""}
        return {**os.environ, **own, **variables}


def assert_one_line(done: Done, code: int, *parts: str) -> None:
    """A command failed as it should: with its code, and one line that says what is wrong, and no traceback."""
    assert done.code == code, (done.code, done.err)
    lines = done.err.splitlines()
    assert len(lines) == 1, done.err
    assert lines[0].startswith("evtool: "), lines[0]
    assert "internal error" not in lines[0], lines[0]
    for part in parts:
        assert part in lines[0], (part, lines[0])
