"""Worker processes as users start them, and files for them to import."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import psutil

from tests.cli.running import Cli

SECONDS = 120
"""What was waited for that long never comes."""


def until(condition: Callable[[], Any], seconds: float = SECONDS) -> Any:
    """Asks again until the answer is true, and returns it; fails after the deadline."""
    end = time.monotonic() + seconds
    while not (answer := condition()):
        assert time.monotonic() < end, "it never became true"
        time.sleep(0.005)
    return answer


class Started:
    """`evtool bulk worker`, running. What it logs is read as it comes."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """Of the supervisor."""
        return self.process.pid

    def events(self, event: str | None = None) -> list[dict[str, Any]]:
        """What was logged so far."""
        logged = [json.loads(line) for line in list(self.lines) if line.startswith("{")]
        return [one for one in logged if event in {None, one["event"]}]

    def children(self) -> list[int]:
        """The worker processes that run."""
        try:
            return [child.pid for child in psutil.Process(self.pid).children()]
        except psutil.NoSuchProcess:
            return []

    def signal(self, number: int) -> None:
        """Sends a signal to the supervisor."""
        self.process.send_signal(number)

    def wait(self, seconds: float = SECONDS) -> int:
        """The exit code, once it has ended."""
        code = self.process.wait(seconds)
        self._reader.join(10)
        return code

    def _read(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as stream:
            for line in stream:
                self.lines.append(line.decode())


class Workers:
    """Starts `evtool bulk worker`, and ends all that is left."""

    def __init__(self, dsn: str, folder: Path) -> None:
        self._cli = Cli(dsn)
        self._folder = folder
        self._started: list[Started] = []

    def start(self, *arguments: str, environment: dict[str, str] | None = None) -> Started:
        """Starts one, with its jobs' files in the test's folder, and JSON for a log."""
        command = self._cli.command(
            *("bulk", "worker", "-v", "--log-format", "json", "--files-under", self._folder),
            *("--spool", self._folder / "spool", "--poll", "0.2", *arguments),
        )
        process = subprocess.Popen(
            command,
            env={**self._cli.environment(), **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        self._started.append(Started(process))
        return self._started[-1]

    def drain(self, *arguments: str) -> Started:
        """Works until the queue is empty."""
        started = self.start("--drain", *arguments)
        assert started.wait() == 0, "".join(started.lines[-20:])
        return started

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for started in self._started:
            for pid in (*started.children(), started.pid):
                if started.process.poll() is None or psutil.pid_exists(pid):
                    try:
                        os.kill(pid, signal.SIGKILL)
                    except ProcessLookupError:
                        continue
            started.wait(30)


def users(path: Path, count: int, *, start: int = 0, bad_every: int = 0) -> Path:
    """A CSV of users with e-mail addresses of their own; every so manieth has a role that there isn't."""
    lines = ["id,email,name,role,active,created_at,updated_at"]
    for number in range(start, start + count):
        role = "king" if bad_every and number % bad_every == 0 else "reader"
        identifier = uuid.uuid5(uuid.NAMESPACE_URL, str(number))
        lines.append(
            f"{identifier},u{number}@example.org,N {number},{role},true,2025-01-01T00:00:00Z,2025-01-01T00:00:00Z"
        )
    path.write_text("\n".join(lines) + "\n")
    return path
