"""A worker: one process that takes a job, does it batch by batch, and takes the next."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable

import psycopg

from evtool.bulk import logs
from evtool.bulk.counts import Counts
from evtool.bulk.jobs import running
from evtool.bulk.jobs.heartbeat import Heartbeat
from evtool.bulk.jobs.holding import Cancelled, Hold, Stopped
from evtool.bulk.jobs.model import Claim, State
from evtool.bulk.jobs.options import Options
from evtool.bulk.jobs.queue import CHANNEL, Queue
from evtool.errors import (
    EvtoolError,
    JobLost,
    JobNotFound,
    PermissionDenied,
    SourceUnreachable,
    StoreError,
    StoreTimeout,
    StoreUnreachable,
)
from evtool.stores.postgres.connection import Connection, Connector
from evtool.stores.postgres.translation import translated

_LOG = logging.getLogger(f"{logs.NAME}.worker")

# Lost against another, short of something, shutting down, or broken: nothing that the job has done wrong.
_PASSING = ("08", "40", "53", "55P03", "57", "58", "XX")
# A worker that waits looks so often whether it shall stop.
_SLICE_SECONDS = 0.25
_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 30.0


class Worker:
    """Does the jobs of a database, one after the other, until it is stopped."""

    def __init__(self, dsn: str, options: Options, metrics: Counts | None = None) -> None:
        """Prepares; nothing is connected.

        Raises:
            InvalidDsn: libpq does not understand the DSN.
        """
        self._connector = Connector(dsn)
        self._dsn = dsn
        self._options = options
        self._metrics = metrics or Counts()
        self._stopped = threading.Event()
        self._unfinished: Claim | None = None

    def stop(self) -> None:
        """Asks for an end, from any thread or a signal's handler: after the batch that is at work."""
        self._stopped.set()

    def run(self, is_wanted: Callable[[], bool] = lambda: True) -> None:
        """Works until it is stopped, or, draining, until no job is left; a lost connection is waited for.

        Args:
            is_wanted: asked now and then; False stops it.

        Raises:
            NotMigrated, DatabaseTooNew, MigrationFailed: there is no queue to work on.
            PermissionDenied: the role may not work on it.
        """
        pause = _FIRST_PAUSE_SECONDS
        while not self._stopped.is_set() and is_wanted():
            try:
                with contextlib.closing(self._connect()) as connection:
                    self._metrics.connected(1)
                    pause = _FIRST_PAUSE_SECONDS
                    self._serve(connection, is_wanted)
                    return
            except PermissionDenied:
                raise
            except StoreError as error:
                # a server that restarts, changes places with its standby, or is short of something
                _LOG.warning("no queue", extra=logs.fields(error=error.message, pause_seconds=pause))
                self._wait(pause, is_wanted)
                pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
            finally:
                self._metrics.connected(0)

    def _connect(self) -> Connection:
        connection = self._connector.open()
        with translated():
            # a worker that is stopped inside a transaction must not keep its locks from others for ever
            connection.execute(
                "SELECT set_config('idle_in_transaction_session_timeout', %s, false)",
                (f"{round(self._options.lease.total_seconds() * 1000)}ms",),
            )
            connection.execute(f"LISTEN {CHANNEL}")
        return connection

    def _serve(self, connection: Connection, is_wanted: Callable[[], bool]) -> None:
        queue = Queue(connection)
        if self._unfinished is not None:
            self._give_back(queue, self._unfinished)
            self._unfinished = None
        while not self._stopped.is_set() and is_wanted():
            claim = queue.claim(self._options.name, self._options.lease)
            if claim is not None:
                self._work(queue, claim, is_wanted)
                continue
            pause = self._options.poll_seconds
            busy, until_next = queue.left()
            if until_next is not None:
                pause = min(pause, max(until_next, 0.0))
            if self._options.drain and not busy and until_next is None:
                return
            self._listen(connection, pause, is_wanted)

    @staticmethod
    def _give_back(queue: Queue, claim: Claim) -> None:
        """Gives back a job whose connection was lost: its batch went with it, and nobody need wait for the lease."""
        # an attempt: a batch that brings the server down must not do so for ever
        with contextlib.suppress(JobLost):
            queue.fail(
                claim, StoreUnreachable.code, "the connection was lost in the middle of a batch",
                "look into the server's log", is_transient=True,
            )  # fmt: skip

    def _listen(self, connection: Connection, seconds: float, is_wanted: Callable[[], bool]) -> None:
        """Waits for a notification, but not longer than so many seconds."""
        end = time.monotonic() + seconds
        while not self._stopped.is_set() and is_wanted() and (left := end - time.monotonic()) > 0:
            with translated():
                if any(True for _ in connection.notifies(timeout=min(left, _SLICE_SECONDS), stop_after=1)):
                    return

    def _wait(self, seconds: float, is_wanted: Callable[[], bool]) -> bool:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if self._stopped.wait(min(left, _SLICE_SECONDS)) or not is_wanted():
                return False
        return not self._stopped.is_set()

    def _work(self, queue: Queue, claim: Claim, is_wanted: Callable[[], bool]) -> None:
        """Does a job, as far as it comes, and lets go of it.

        Raises:
            StoreUnreachable: the connection is lost.
        """
        which = {"job": claim.job, "kind": claim.kind, "resource": claim.resource, "worker": self._options.name}
        _LOG.info("job begun", extra=logs.fields(**which, attempt=claim.attempts, batches_done=claim.batches))
        started = time.monotonic()
        self._unfinished = claim
        self._metrics.connected(2)
        self._metrics.began(2)
        connection = queue.connection

        def is_stopping() -> bool:
            return self._stopped.is_set() or not is_wanted()

        heartbeat = Heartbeat(
            self._connector.open,
            claim,
            self._options.lease,
            lambda: _cancel(connection),
            connection.info.backend_pid,
            is_stopping,
        )
        hold = Hold(queue, claim, heartbeat, self._metrics, is_stopping)
        state = State.PENDING
        try:
            state = self._outcome(hold)
        except JobLost:
            self._unfinished = None
            self._metrics.lost()
            _LOG.warning("job lost", extra=logs.fields(**which))
        else:
            self._unfinished = None
        finally:
            heartbeat.stop()
            self._metrics.connected(1)
            self._metrics.began(0)
        seconds = time.monotonic() - started
        told = self._told(queue, claim)
        ratio = told.get("error_rate") if state.is_over and claim.kind == "import" else None
        self._metrics.ended(claim, state, seconds, ratio)
        _LOG.info(
            "job ended" if state.is_over else "job let go",
            extra=logs.fields(**which, state=state, **told, seconds=round(seconds, 3)),
        )

    def _outcome(self, hold: Hold) -> State:
        """Does a job, and says what came of it."""
        queue, claim = hold.queue, hold.claim
        try:
            return self._run(hold)
        except Stopped:
            queue.release(claim)
            return State.PENDING
        except Cancelled:
            return queue.finish(claim, is_cancelled=True)
        except (JobLost, StoreUnreachable):
            raise
        except EvtoolError as error:
            transient = _may_pass(error)
            _LOG.warning(
                "job failed", extra=logs.fields(job=claim.job, error=error.code, message=error.message), exc_info=True
            )
            return queue.fail(claim, error.code, error.message, error.hint, is_transient=transient)
        except Exception as error:  # noqa: BLE001 - it is the job's end, and told
            self._require_connection(queue, error)
            # a fault of ours must not take the worker along, nor come back for ever
            _LOG.exception(
                "job failed", extra=logs.fields(job=claim.job, error="INTERNAL", message=type(error).__name__)
            )
            message = f"internal error ({type(error).__name__})"
            return queue.fail(claim, "INTERNAL", message, "see the worker's log", is_transient=False)

    def _run(self, hold: Hold) -> State:
        try:
            return running.run(hold, self._dsn, self._options)
        except EvtoolError as error:
            hold.check_held()
            self._require_connection(hold.queue, error)
            if _may_pass(error):
                # where the job shall end here anyway, that is what is told of it
                hold.check()
            raise

    @staticmethod
    def _require_connection(queue: Queue, error: Exception) -> None:
        """What happens on a connection that was ended says nothing about the job."""
        if queue.connection.closed:
            raise StoreUnreachable("the connection was lost", hint="the worker connects again") from error

    @staticmethod
    def _told(queue: Queue, claim: Claim) -> dict[str, float | int | None]:
        """What a log says at the end of a job."""
        try:
            row = queue.status(claim.job)
        except JobNotFound:
            # purged as soon as it was over
            return {}
        rates = {name: float(row[name]) for name in ("rows_per_second", "error_rate") if row[name] is not None}
        return {name: row[name] for name in ("total", "accepted", "rejected", "errors", "failed_batches")} | rates


def _may_pass(error: EvtoolError) -> bool:
    """Whether the same job may do better later."""
    if isinstance(error, StoreTimeout | SourceUnreachable):
        return True
    cause = error.__cause__
    if type(error) is not StoreError or not isinstance(cause, psycopg.Error):
        return False
    return cause.sqlstate is None or cause.sqlstate.startswith(_PASSING)


def _cancel(connection: Connection) -> None:
    """Ends the statement that is at work, if there is one: nothing will be kept of it."""
    with contextlib.suppress(psycopg.Error):
        connection.cancel_safe(timeout=5.0)
