"""Keeps a job while its worker is busy with it, from a thread and a connection of its own."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from datetime import timedelta

from evtool.bulk import logs
from evtool.bulk.jobs.model import Claim
from evtool.bulk.jobs.queue import Queue
from evtool.errors import EvtoolError
from evtool.stores.postgres.connection import Connection

_LOG = logging.getLogger(f"{logs.NAME}.heartbeat")

_BEATS_A_LEASE = 3
"""So that one may be late, or lost with its connection, and the job is still kept."""


class Heartbeat:
    """Prolongs the lease of a job until it is stopped; knows whether the job is to be cancelled, or was lost.

    Attributes:
        cancelled: set when somebody wants the job to stop.
        lost: set when it is another's, or its lease could not be prolonged in time.
    """

    def __init__(
        self, connect: Callable[[], Connection], claim: Claim, lease: timedelta, on_lost: Callable[[], object]
    ) -> None:
        """Starts beating.

        Args:
            connect: opens the connection.
            claim: the job.
            lease: how long it is kept by a beat.
            on_lost: called once, in the thread, when it is lost.
        """
        self.cancelled = threading.Event()
        self.lost = threading.Event()
        self._connect = connect
        self._claim = claim
        self._lease = lease
        self._on_lost = on_lost
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
        finally:
            if connection is not None:
                connection.close()

    def _lose(self) -> None:
        self.lost.set()
        self._on_lost()
