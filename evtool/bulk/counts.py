"""What a worker counts, and for whom: for nobody, unless `evtool.bulk.metrics` is there to tell Prometheus."""

from __future__ import annotations

from evtool.bulk.jobs.model import Batch, Claim, State


class Counts:
    """What one worker tells of its work. This one keeps nothing, so that a worker needs no Prometheus."""

    def connected(self, connections: int) -> None:
        """How many connections this process holds."""

    def began(self, connections: int) -> None:
        """How many of them are at work now; 0 when the job has ended."""

    def batch(self, claim: Claim, batch: Batch) -> None:
        """A batch that is committed."""

    def exported(self, claim: Claim, count: int, seconds: float) -> None:
        """An export that is complete."""

    def ended(self, claim: Claim, state: State, seconds: float, error_ratio: float | None = None) -> None:
        """A job that this worker has let go of: over, or pending again."""

    def lost(self) -> None:
        """A job that was another's by the time of a commit."""

    def fetched(self, size: int) -> None:
        """Bytes of a remote source."""
