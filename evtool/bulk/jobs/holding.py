"""A job in the hands of a worker: what its doing asks before, and enters after, each batch."""

from __future__ import annotations

import logging
from collections.abc import Callable

from psycopg import sql

from evtool.bulk import logs
from evtool.bulk.counts import Counts
from evtool.bulk.jobs.heartbeat import Heartbeat
from evtool.bulk.jobs.model import Batch, Claim
from evtool.bulk.jobs.queue import Queue
from evtool.errors import JobLost

_LOG = logging.getLogger(f"{logs.NAME}.batch")


class Stopped(Exception):
    """The worker shall end, and somebody else goes on with the job."""


class Cancelled(Exception):
    """The job shall end; what is done of it stays."""


class Hold:
    """A claimed job, as those who do it see it.

    Attributes:
        queue: the queue, on the connection that the batches are written by.
        claim: the job.
        metrics: of this process.
    """

    def __init__(
        self, queue: Queue, claim: Claim, heartbeat: Heartbeat, metrics: Counts, is_stopped: Callable[[], bool]
    ) -> None:
        self.queue = queue
        self.claim = claim
        self.metrics = metrics
        self._heartbeat = heartbeat
        self._is_stopped = is_stopped
        self._to_cancel = False

    def check_held(self) -> None:
        """Raises JobLost where the job is known to be another's by now."""
        if self._heartbeat.lost.is_set():
            raise JobLost(f"Job {self.claim.job} is no longer this worker's")

    def check(self) -> None:
        """To be called between batches, and in whatever takes long.

        Raises:
            JobLost: the job is another's.
            Cancelled, Stopped: the job, or the worker, shall end here.
        """
        self.check_held()
        if self._to_cancel or self._heartbeat.cancelled.is_set():
            raise Cancelled
        if self._is_stopped():
            raise Stopped

    def proceed(self, seconds: float) -> bool:
        """Waits for some seconds; False where `check` would raise, and at once."""
        waited = 0.0
        while True:
            if self._is_over():
                return False
            if waited >= seconds:
                return True
            step = min(0.25, seconds - waited)
            self._heartbeat.lost.wait(step)
            waited += step

    def _is_over(self) -> bool:
        return (
            self._heartbeat.lost.is_set() or self._heartbeat.cancelled.is_set() or self._to_cancel or self._is_stopped()
        )

    def enter(self, batch: Batch, rejects: sql.Composable) -> None:
        """Enters a batch, in the transaction that did it, which is to be committed next.

        Args:
            batch: what became of its records.
            rejects: of what may be selected: (line, errors, raw) of the refused ones.

        Raises:
            JobLost: the job is another's, and the batch with it.
        """
        self._to_cancel = self.queue.record_batch(self.claim, batch, rejects)

    def entered(self, batch: Batch) -> None:
        """Tells of a batch that is committed."""
        self.metrics.batch(self.claim, batch)
        seconds = batch.took.total_seconds()
        _LOG.debug(
            "batch",
            extra=logs.fields(
                job=self.claim.job,
                batch=batch.number,
                total=batch.total,
                accepted=batch.accepted,
                rejected=batch.rejected,
                seconds=round(seconds, 6),
                rows_per_second=round(batch.total / seconds, 1) if seconds else None,
                error=batch.error_code,
            ),
        )
