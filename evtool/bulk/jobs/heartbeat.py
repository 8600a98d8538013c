"""Keeps a job while its worker is busy with it, from a thread and a connection of its own."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable
from datetime import timedelta

import psycopg

from evtool.bulk import logs
from evtool.bulk.jobs.model import Claim
from evtool.bulk.jobs.queue import Queue
from evtool.errors import EvtoolError
from evtool.stores.postgres.connection import Connection

_LOG = logging.getLogger(f"{logs.NAME}.heartbeat")

_WAITS_FOR_A_LOCK = "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = %s"

_BEATS_A_LEASE = 3
"""So that one may be late, or lost with its connection, and the job is still kept."""


class Heartbeat:
    """Prolongs the lease of a job until it is stopped; knows whether the job is to be cancelled, or was lost.

    Attributes:
        cancelled: set when somebody wants the job to stop.
        lost: set when it is another's, or its lease could not be prolonged in time.
    """

    def __init__(
        self,
        connect: Callable[[], Connection],
        claim: Claim,
        lease: timedelta,
        interrupt: Callable[[], object],
        backend_pid: int,
        is_stopping: Callable[[], bool],
    ) -> None:
        """Starts beating.

        Args:
            connect: opens the connection.
            claim: the job.
            lease: how long it is kept by a beat.
            interrupt: ends the statement that is at work; called in the thread when the job is lost, or shall end here
                while its batch waits for a lock.
            backend_pid: of the connection that the batches are written by.
            is_stopping: whether the worker shall end.
        """
        self.cancelled = threading.Event()
        self.lost = threading.Event()
        self._connect = connect
        self._claim = claim
        self._lease = lease
        self._interrupt = interrupt
        self._backend_pid = backend_pid
        self._is_stopping = is_stopping
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"heartbeat-{claim.job}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Beats no more."""
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        connection: Connection | None = None
        seconds = self._lease.total_seconds()
        kept_at = time.monotonic()
        try:
            while not self._ended.wait(seconds / _BEATS_A_LEASE):
                started = time.monotonic()
                try:
                    if connection is None or connection.closed:
                        connection = self._connect()
                    answer = Queue(connection).heartbeat(self._claim, self._lease)
                except EvtoolError as error:
                    _LOG.warning("heartbeat failed", extra=logs.fields(job=self._claim.job, error=error.code))
                    if connection is not None:
                        connection.close()
                    # nobody else's clock matters: the server refuses whoever comes too late
                    if time.monotonic() - kept_at > seconds:
                        self._lose()
                        return
                    continue
                kept_at = started
                if answer == "cancel":
                    self.cancelled.set()
                elif answer == "lost":
                    self._lose()
                    return
                if self.cancelled.is_set() or self._is_stopping():
                    self._unblock(connection)
        finally:
            if connection is not None:
                connection.close()

    def _unblock(self, connection: Connection) -> None:
        """Ends a batch that waits for somebody's lock: that may take for ever, and nothing of it is in yet."""
        with contextlib.suppress(psycopg.Error):
            row = connection.execute(_WAITS_FOR_A_LOCK, (self._backend_pid,)).fetchone()
            if row is not None and row[0]:
                self._interrupt()

    def _lose(self) -> None:
        self.lost.set()
        self._interrupt()
