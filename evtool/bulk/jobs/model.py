"""What the queue deals in: jobs as they are submitted, as a worker holds them, and what a batch came to."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any


class State(enum.StrEnum):
    """Where a job stands."""

    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETED = "completed"
    COMPLETED_WITH_ERRORS = "completed_with_errors"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_over(self) -> bool:
        """Whether a job stays in it, unless it is retried."""
        return self not in {State.PENDING, State.PROCESSING}


@dataclass(frozen=True, slots=True)
class Submission:
    """A job that is to be queued. See sql/jobs/functions/submit.sql.

    Attributes:
        kind: `import` or `export`.
        resource: a shipped resource, or a table.
        request: what is to be done, as docs/bulk-jobs.md says.
        idempotency_key: the same key with the same content is the same job.
        target: the table, where the resource doesn't name it.
        refers_to: tables that it refers to, beyond its foreign keys.
        after: jobs that must be over before.
        priority: the higher, the sooner.
        max_attempts: after so many beginnings without a batch done the job has failed.
    """

    kind: str
    resource: str
    request: Mapping[str, Any]
    idempotency_key: str | None = None
    target: str | None = None
    refers_to: tuple[str, ...] = ()
    after: tuple[int, ...] = ()
    priority: int = 0
    max_attempts: int = 5


@dataclass(frozen=True, slots=True)
class Claim:
    """A job in the hands of a worker.

    Attributes:
        job: its number.
        token: what proves that it is the worker's.
        kind, resource, target, request: as submitted.
        source: what an earlier worker found the source to be.
        attempts: how often it was begun since it last made progress.
        batches: how many of its batches are entered.
        stale_pid, stale_start: the backend of the worker that fell silent at it.
    """

    job: int
    token: int
    kind: str
    resource: str
    target: str
    request: dict[str, Any]
    source: dict[str, Any] | None
    attempts: int
    batches: int
    stale_pid: int | None
    stale_start: datetime | None


@dataclass(frozen=True, slots=True)
class Batch:
    """What became of some records of a file, one after the other.

    Attributes:
        number: which batch of the job, from 1.
        first_line, last_line: physical lines on which its first and last record start.
        inserted, updated, accepted, rejected: records.
        errors: faults of the rejected ones.
        codes: how often each code of an error occurs.
        took: how long it was worked on.
        error_code, error_message: why all of it failed.
    """

    number: int
    first_line: int
    last_line: int
    inserted: int
    updated: int
    accepted: int
    rejected: int
    errors: int
    codes: Mapping[str, int] = field(default_factory=dict)
    took: timedelta = timedelta(0)
    error_code: str | None = None
    error_message: str | None = None

    @property
    def total(self) -> int:
        """All of its records."""
        return self.accepted + self.rejected
