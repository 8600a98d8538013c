"""What Prometheus is told, by the client library: docs/metrics.md lists it with units.

A worker counts in its own process. Where several processes are one target, they count in files of a folder, which
settings.METRICS_FOLDER names in their environment before the library is imported; whoever answers scrapes adds them up
(`serve`, `Textfile`), and says how the queue stands by asking the database.

The library is the extra `metrics`: only who is asked to tell imports this module.
"""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    multiprocess,
    start_http_server,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import write_to_textfile

from evtool.bulk.counts import Counts
from evtool.bulk.jobs.model import Batch, Claim, State
from evtool.errors import FileError

_BATCH_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_JOB_BUCKETS = (0.1, 0.5, 1, 5, 10, 30, 60, 300, 600, 1800, 3600, 14400)

# The library makes a file and fills in its length afterwards: whoever reads in between finds none.
_READS = 20
_READ_PAUSE_SECONDS = 0.02

States = dict[str, tuple[int, float | None]]


class Metrics(Counts):
    """What one worker counts, for Prometheus."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        """Registers the metrics.

        Args:
            registry: where; None is one of its own.
        """
        into: dict[str, Any] = {"registry": registry or CollectorRegistry()}
        which = ("kind", "resource")
        self._jobs = Counter("evtool_bulk_jobs", "Jobs that a worker has ended, by state.", (*which, "state"), **into)
        self._records = Counter(
            "evtool_bulk_records", "Records by result: inserted, updated, unchanged, rejected, exported.",
            (*which, "result"), **into,
        )  # fmt: skip
        self._errors = Counter(
            "evtool_bulk_errors", "Faults of rejected records, by code.", ("resource", "code"), **into
        )
        self._failed_batches = Counter("evtool_bulk_failed_batches", "Batches that failed as a whole.", which, **into)
        self._batch_seconds = Histogram(
            "evtool_bulk_batch_seconds",
            "How long batches took, commit included.",
            which,
            buckets=_BATCH_BUCKETS,
            **into,
        )
        self._job_seconds = Histogram(
            "evtool_bulk_job_seconds",
            "How long jobs were in the hands of one worker.",
            which,
            buckets=_JOB_BUCKETS,
            **into,
        )
        self._rate = Gauge(
            "evtool_bulk_rows_per_second", "Records a second in the last batch, added over the workers at work.",
            which, multiprocess_mode="livesum", **into,
        )  # fmt: skip
        self._error_rate = Gauge(
            "evtool_bulk_error_ratio", "Share of the last finished import's records that were rejected, 0 to 1.",
            ("resource",), multiprocess_mode="mostrecent", **into,
        )  # fmt: skip
        self._connections = Gauge(
            "evtool_bulk_connections", "Connections to the database that workers hold.",
            multiprocess_mode="livesum", **into,
        )  # fmt: skip
        self._connections_in_use = Gauge(
            "evtool_bulk_connections_in_use", "Connections of workers that are at work on a job.",
            multiprocess_mode="livesum", **into,
        )  # fmt: skip
        self._lost = Counter("evtool_bulk_lost_jobs", "Jobs that a worker found to be another's by now.", **into)
        self._fetched = Counter("evtool_bulk_fetched_bytes", "Bytes of remote sources that came.", **into)

    def connected(self, connections: int) -> None:
        """How many connections this process holds."""
        self._connections.set(connections)

    def began(self, connections: int) -> None:
        """How many of them are at work now; 0 when the job has ended."""
        self._connections_in_use.set(connections)

    def batch(self, claim: Claim, batch: Batch) -> None:
        """A batch that is committed."""
        which = (claim.kind, claim.resource)
        took = batch.took.total_seconds()
        unchanged = batch.accepted - batch.inserted - batch.updated
        for result, count in (
            ("inserted", batch.inserted),
            ("updated", batch.updated),
            ("unchanged", unchanged),
            ("rejected", batch.rejected),
        ):
            self._records.labels(*which, result).inc(count)
        for code, count in batch.codes.items():
            self._errors.labels(claim.resource, code).inc(count)
        self._failed_batches.labels(*which).inc(batch.error_code is not None)
        self._batch_seconds.labels(*which).observe(took)
        self._rate.labels(*which).set(batch.total / took if took else 0)

    def exported(self, claim: Claim, count: int, seconds: float) -> None:
        """An export that is complete."""
        self._records.labels(claim.kind, claim.resource, "exported").inc(count)
        self._rate.labels(claim.kind, claim.resource).set(count / seconds if seconds else 0)

    def ended(self, claim: Claim, state: State, seconds: float, error_ratio: float | None = None) -> None:
        """A job that this worker has let go of: over, or pending again."""
        self._rate.labels(claim.kind, claim.resource).set(0)
        self._job_seconds.labels(claim.kind, claim.resource).observe(seconds)
        if state.is_over:
            self._jobs.labels(claim.kind, claim.resource, state.value).inc()
        if error_ratio is not None:
            self._error_rate.labels(claim.resource).set(error_ratio)

    def lost(self) -> None:
        """A job that was another's by the time of a commit."""
        self._lost.inc()

    def fetched(self, size: int) -> None:
        """Bytes of a remote source."""
        self._fetched.inc(size)


class _Workers:
    """What the processes counted, added up."""

    def __init__(self, folder: str) -> None:
        self._collector = multiprocess.MultiProcessCollector(None, path=folder)

    def describe(self) -> list[Any]:
        """Nothing is known before a worker counts."""
        return []

    def collect(self) -> Iterator[Any]:
        """All of it; read again where a process is just making, or losing, its file."""
        for _ in range(_READS):
            try:
                found = list(self._collector.collect())
            except (OSError, ValueError, struct.error):
                time.sleep(_READ_PAUSE_SECONDS)
            else:
                yield from found
                return
        yield from self._collector.collect()


class _Queue:
    """How the queue stands, asked at each scrape."""

    def __init__(self, states: Callable[[], States | None]) -> None:
        self._states = states

    def describe(self) -> list[Any]:
        """Nothing is asked when it is registered."""
        return []

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The gauges; without the database only the one that says so."""
        found = self._states()
        yield GaugeMetricFamily("evtool_bulk_database_up", "Whether the queue could be asked.", value=found is not None)
        if found is None:
            return
        jobs = GaugeMetricFamily("evtool_bulk_queue_jobs", "Jobs in the queue, by state.", labels=("state",))
        oldest = GaugeMetricFamily(
            "evtool_bulk_queue_oldest_seconds", "Age of the oldest job that isn't over, by state.", labels=("state",)
        )
        for state, (count, age) in found.items():
            jobs.add_metric((state,), count)
            if not State(state).is_over:
                oldest.add_metric((state,), age or 0)
        yield jobs
        yield oldest


class Exposition:
    """All that is told in one place: the counts of the workers, how many there are, and the queue."""

    def __init__(self, folder: str, states: Callable[[], States | None]) -> None:
        """Gathers.

        Args:
            folder: where the workers count.
            states: asks the queue; None where it can't be asked.
        """
        self._folder = folder
        # a series for the birth of each counter is of no use to anybody here
        disable_created_metrics()
        self.registry = CollectorRegistry()
        self.registry.register(_Workers(folder))
        self.registry.register(_Queue(states))
        self._workers = Gauge("evtool_bulk_workers", "Worker processes that run.", registry=self.registry)
        self._restarts = Counter(
            "evtool_bulk_worker_restarts", "Worker processes that ended without being asked to.", registry=self.registry
        )

    def running(self, workers: int) -> None:
        """How many workers run."""
        self._workers.set(workers)

    def crashed(self, pid: int) -> None:
        """A worker ended without being asked to."""
        self._restarts.inc()
        self.gone(pid)

    def gone(self, pid: int) -> None:
        """A worker is no more: what it counted stays, what it had in hand does not."""
        multiprocess.mark_process_dead(pid, self._folder)

    def serve(self, host: str, port: int) -> tuple[int, Callable[[], None]]:
        """Answers scrapes in a thread; returns the port and what ends it.

        Raises:
            FileError: the port can't be had.
        """
        try:
            server, thread = start_http_server(port, host, self.registry)
        except OSError as error:
            raise FileError(
                f"can't listen on {host} port {port}: {error.strerror or error}", hint="name another --metrics-port"
            ) from error

        def stop() -> None:
            server.shutdown()
            server.server_close()
            thread.join()

        return server.server_port, stop

    def write(self, path: str) -> None:
        """Writes all of it to a file, which is whole at any time.

        Raises:
            FileError: it can't be written.
        """
        try:
            write_to_textfile(path, self.registry)
        except OSError as error:
            raise FileError(f"can't write {path}: {error.strerror or error}", hint="name another file") from error


class Textfile:
    """Writes the metrics to a file every few seconds, and once more at the end."""

    def __init__(self, exposition: Exposition, path: str, seconds: float = 15.0) -> None:
        """Writes it for the first time.

        Raises:
            FileError: it can't be written.
        """
        self._exposition = exposition
        self._path = path
        self._seconds = seconds
        self._ended = threading.Event()
        exposition.write(path)
        self._thread = threading.Thread(target=self._run, name="metrics", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Writes it for the last time."""
        self._ended.set()
        self._thread.join()
        self._exposition.write(self._path)

    def _run(self) -> None:
        while not self._ended.wait(self._seconds):
            try:
                self._exposition.write(self._path)
            except FileError:
                # a disk that is full for a while; the last writing tells
                continue
