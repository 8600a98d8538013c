"""Several workers, a process each: started, started again when they crash, and ended together."""

from __future__ import annotations

import contextlib
import logging
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from evtool.bulk import logs

if TYPE_CHECKING:
    from evtool.bulk.metrics import Exposition

_LOG = logging.getLogger(f"{logs.NAME}.supervisor")

_LOOK_SECONDS = 0.1
# A process that crashes at once costs a second of the machine; every five seconds that is bearable.
_FIRST_PAUSE_SECONDS = 0.25
_LONGEST_PAUSE_SECONDS = 5.0
# Whoever has lived so long did not crash at its start: the next pause is a short one again.
_STEADY_SECONDS = 5.0
# Whoever only wants a queue emptied shall not wait for ever for workers that can't even begin.
_FAILURES = 5


@dataclass
class _Place:
    """Where one worker after the other runs."""

    number: int
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    pause: float = _FIRST_PAUSE_SECONDS
    start_at: float = 0.0
    failures: int = 0
    is_done: bool = False


class Supervisor:
    """Keeps some workers running."""

    def __init__(
        self,
        command: Callable[[int], Sequence[str]],
        environment: Mapping[str, str],
        workers: int,
        exposition: Exposition | None = None,
        *,
        drain: bool = False,
        grace_seconds: float = 60.0,
    ) -> None:
        """Prepares; nothing is started.

        Args:
            command: the command line of the worker of a number.
            environment: of the workers.
            workers: how many.
            exposition: is told of starts and ends.
            drain: workers end by themselves when the queue is empty.
            grace_seconds: how long they have for their batch once they shall end; then they are killed, which costs
                nothing but that batch.
        """
        self._command = command
        self._environment = dict(environment)
        self._places = [_Place(number) for number in range(1, workers + 1)]
        self._exposition = exposition
        self._drain = drain
        self._grace = grace_seconds
        self._stopped = threading.Event()
        self._hurried = threading.Event()
        self._given_up = False

    def stop(self) -> None:
        """Asks all for an end; asked again, kills them. For signals' handlers."""
        if self._stopped.is_set():
            self._hurried.set()
        self._stopped.set()

    def run(self) -> bool:
        """Keeps the workers running until it is stopped, or all have ended by themselves.

        Returns:
            Whether every worker ended as it should.
        """
        try:
            while not self._stopped.is_set():
                for place in self._places:
                    self._look_after(place)
                self._tell()
                if all(place.is_done for place in self._places):
                    break
                self._stopped.wait(_LOOK_SECONDS)
            return self._end() and not self._given_up
        finally:
            for place in self._places:
                if place.process is not None and place.process.poll() is None:
                    place.process.kill()
                    place.process.wait()

    def _look_after(self, place: _Place) -> None:
        now = time.monotonic()
        if place.process is not None:
            code = place.process.poll()
            if code is None:
                return
            pid, place.process = place.process.pid, None
            if code == 0 and self._drain:
                place.is_done = True
                self._gone(pid)
                return
            is_steady = now - place.started > _STEADY_SECONDS
            # a signal is somebody else's doing; how long it took says nothing, on a busy machine
            place.failures = 0 if code <= 0 else place.failures + 1
            if self._drain and place.failures >= _FAILURES:
                place.is_done = self._given_up = True
            pause = _FIRST_PAUSE_SECONDS if is_steady else place.pause
            place.pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
            place.start_at = now + pause
            again = None if place.is_done else pause
            _LOG.warning(
                "worker ended", extra=logs.fields(worker=place.number, pid=pid, exit_code=code, again_in_seconds=again)
            )
            if self._exposition is not None:
                self._exposition.crashed(pid)
        if not place.is_done and now >= place.start_at:
            # out of the terminal's reach: Ctrl-C is the supervisor's to pass on
            place.process = subprocess.Popen(
                self._command(place.number), env=self._environment, stdin=subprocess.DEVNULL, start_new_session=True
            )
            place.started = now
            _LOG.info("worker started", extra=logs.fields(worker=place.number, pid=place.process.pid))

    def _end(self) -> bool:
        """Ends all that run; whether they went by themselves and well."""
        processes = [place.process for place in self._places if place.process is not None]
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
        deadline = time.monotonic() + self._grace
        well = True
        for process in processes:
            while process.poll() is None:
                if self._hurried.is_set() or time.monotonic() >= deadline:
                    process.kill()
                self._hurried.wait(_LOOK_SECONDS)
            # the signal itself ended who had only just begun to start
            well = well and process.returncode in {0, -signal.SIGTERM}
            self._gone(process.pid)
        self._tell()
        return well

    def _tell(self) -> None:
        if self._exposition is not None:
            self._exposition.running(sum(p.process is not None and p.process.poll() is None for p in self._places))

    def _gone(self, pid: int) -> None:
        if self._exposition is not None:
            self._exposition.gone(pid)
