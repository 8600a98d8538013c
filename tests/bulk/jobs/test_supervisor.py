"""The supervisor of worker processes."""

from __future__ import annotations

import os
import signal
import sys

import pytest

from evtool.bulk.jobs import supervisor
from evtool.bulk.jobs.supervisor import Supervisor


@pytest.mark.parametrize("steady", [0.0, 3600.0], ids=["slow", "quick"])
def test_workers_that_can_not_begin_are_given_up_when_draining(steady: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that fails five times ends a draining, however long each start takes on a busy machine."""
    monkeypatch.setattr(supervisor, "_STEADY_SECONDS", steady)
    monkeypatch.setattr(supervisor, "_LONGEST_PAUSE_SECONDS", 0.25)
    started: list[int] = []

    def command(number: int) -> list[str]:
        started.append(number)
        return [sys.executable, "-S", "-c", "raise SystemExit(1)"]

    assert Supervisor(command, os.environ, 1, drain=True).run() is False
    assert started == [1] * 5


def test_a_worker_that_is_killed_is_no_failure_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """However often a worker is killed, another is started until one has found the queue empty."""
    monkeypatch.setattr(supervisor, "_LONGEST_PAUSE_SECONDS", 0.25)
    started: list[int] = []

    def command(number: int) -> list[str]:
        started.append(number)
        ended = f"import os; os.kill(os.getpid(), {int(signal.SIGKILL)})" if len(started) < 8 else "pass"
        return [sys.executable, "-S", "-c", ended]

    assert Supervisor(command, os.environ, 1, drain=True).run() is True
    assert started == [1] * 8
