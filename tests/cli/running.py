"""evtool as its users run it: a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import evtool

_HOME = str(Path(evtool.__file__).parent.parent)
SECONDS = 60
"""No command of a test takes so long, unless it hangs."""


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
        """Runs a command to its end."""
        done = subprocess.run(
            self.command(*arguments),
            input=stdin,
            capture_output=True,
            env=self.environment(**variables),
            timeout=SECONDS,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)

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
