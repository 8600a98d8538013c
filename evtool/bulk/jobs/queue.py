"""The queue, as Python calls it: each method is one call of the SQL function or view of the same name."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any, LiteralString

from psycopg import sql
from psycopg.rows import dict_row

from evtool.bulk.jobs import installing
from evtool.bulk.jobs.model import Batch, Claim, State, Submission
from evtool.connecting import server_dsn
from evtool.errors import JobLost, JobNotFound, JobRefused, PermissionDenied
from evtool.stores.postgres import translation
from evtool.stores.postgres.connection import Connection, Connector

CHANNEL = "evtool_jobs"
"""What workers LISTEN on."""

_SUBMIT = "SELECT * FROM evtool_jobs.submit(%s, %s, %s::jsonb, %s, %s, %s::text[], %s::bigint[], %s, %s)"
_CLAIM = """
    SELECT *
    FROM evtool_jobs.claim(
      %s, %s, pg_backend_pid(), (SELECT backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()))
"""
_RECORD = sql.SQL("""
    SELECT evtool_jobs.record_batch(
      %s, %s, %s, %s, %s, %s, %s, %s, %s, %s,
      (SELECT COALESCE(json_agg(json_build_object('line', line, 'errors', errors, 'raw', raw)), '[]') FROM {rejects}),
      %s, %s, %s)
""")
_MAY_CLAIM = """
    SELECT has_function_privilege('evtool_jobs.claim(text, interval, integer, timestamptz)', 'EXECUTE')
"""
_DONE = "SELECT number, first_line, last_line, total FROM evtool_jobs.batches WHERE job = %s"
_STATUS = "SELECT * FROM evtool_jobs.status WHERE job = %s"
_JOBS = """
    SELECT *
    FROM evtool_jobs.status
    WHERE (%(states)s::text[] IS NULL OR state = ANY (%(states)s::text[]))
      AND (%(resource)s::text IS NULL OR resource = %(resource)s)
      AND (%(before)s::bigint IS NULL OR job < %(before)s)
    ORDER BY job DESC
    LIMIT %(limit)s
"""
_STATES = "SELECT state, jobs, EXTRACT(epoch FROM oldest)::float FROM evtool_jobs.states"
_REJECTS = "SELECT line, batch, errors::text, raw FROM evtool_jobs.rejects WHERE job = %s ORDER BY line"
_FAILED = "SELECT * FROM evtool_jobs.batches WHERE job = %s AND error_code IS NOT NULL ORDER BY number"
_BUSY = """
    SELECT EXISTS (SELECT FROM evtool_jobs.jobs WHERE state = 'processing' OR (state = 'pending' AND run_at <= now())),
      (SELECT EXTRACT(epoch FROM min(run_at) - clock_timestamp())::float
       FROM evtool_jobs.jobs WHERE state = 'pending' AND run_at > now())
"""

_PAGE = 1000
_PERMISSION_HINT = (
    "looking takes a member of evtool_jobs_reader; submitting, cancelling, retrying and purging one of"
    " evtool_jobs_submitter; working one of evtool_jobs_worker"
)

_Query = LiteralString | sql.Composed


class Queue:
    """The queue of a database, on a connection in autocommit that the caller keeps.

    Every method raises the errors that `translate` makes of the server's.
    """

    def __init__(self, connection: Connection) -> None:
        """Looks whether there is a queue.

        Raises:
            NotMigrated: there is none.
            DatabaseTooNew, MigrationFailed: it is another version's.
        """
        self.connection = connection
        with _translated():
            installing.check(connection)

    def check_may_work(self) -> None:
        """Makes sure that this role may do jobs.

        Raises:
            PermissionDenied: it may not.
        """
        if not self._one(_MAY_CLAIM)[0]:
            raise PermissionDenied("this role may not work on the queue", hint=_PERMISSION_HINT)

    def submit(self, submission: Submission) -> tuple[int, bool]:
        """Queues a job; returns its number and whether it is new.

        Raises:
            IdempotencyKeyTaken: the key is that of a job that asks for something else.
            JobRefused: it can't be queued.
        """
        row = self._one(
            _SUBMIT,
            submission.kind,
            submission.resource,
            _json(submission.request),
            submission.idempotency_key,
            submission.target,
            list(submission.refers_to),
            list(submission.after),
            submission.priority,
            submission.max_attempts,
        )
        return int(row[0]), bool(row[1])

    def claim(self, worker: str, lease: timedelta) -> Claim | None:
        """The next job for a worker, or None; a silent predecessor's backend is ended first."""
        while True:
            with _translated():
                row = self.connection.execute(_CLAIM, (worker, lease)).fetchone()
            if row is None:
                return None
            try:
                # the connection leaves JSON as text
                loaded = [*row[:5], json.loads(row[5]), None if row[6] is None else json.loads(row[6]), *row[7:]]
            except (ValueError, RecursionError):
                # nested without end, or a number of thousands of digits: the server takes it, and nobody can do it
                self._refuse(row[0], row[1])
                continue
            claim = Claim(*loaded)
            if claim.stale_pid is not None:
                self._one("SELECT evtool_jobs.evict(%s, %s)", claim.stale_pid, claim.stale_start)
            return claim

    def _refuse(self, job: int, token: int) -> None:
        message, hint = "the request is nested too deeply, or holds a number that is too long", "see docs/bulk-jobs.md"
        values = (job, token, JobRefused.code, message, hint)
        # where another has it by now, that one finds the same
        with contextlib.suppress(JobLost):
            self._one("SELECT evtool_jobs.fail(%s, %s, %s, %s, %s, false)", *values)

    def heartbeat(self, claim: Claim, lease: timedelta) -> str:
        """Prolongs the lease: `held`, `cancel` or `lost`."""
        return str(self._one("SELECT evtool_jobs.heartbeat(%s, %s, %s)", claim.job, claim.token, lease)[0])

    def found_source(self, claim: Claim, sha256: str, size: int) -> None:
        """Enters what the source is.

        Raises:
            SourceChanged: an earlier worker found another.
            JobLost: the job is another's.
        """
        self._one("SELECT evtool_jobs.found_source(%s, %s, %s, %s)", claim.job, claim.token, sha256, size)

    def record_batch(self, claim: Claim, batch: Batch, rejects: sql.Composable) -> bool:
        """Enters a batch in the transaction that is open; returns whether the job is to be cancelled.

        Args:
            claim: the job.
            batch: what became of its records.
            rejects: of what may be selected: (line, errors, raw) of the refused ones.

        Raises:
            JobLost: the job is another's, and the transaction must be rolled back.
        """
        row = self._one(
            _RECORD.format(rejects=rejects),
            claim.job,
            claim.token,
            batch.number,
            batch.first_line,
            batch.last_line,
            batch.inserted,
            batch.updated,
            batch.accepted,
            batch.rejected,
            batch.errors,
            batch.took,
            batch.error_code,
            batch.error_message,
        )
        return bool(row[0])

    def done(self, job: int) -> dict[int, tuple[int, int, int]]:
        """The batches that are entered: by number the lines of the first and last record, and how many they are."""
        with _translated():
            return {row[0]: row[1:] for row in self.connection.execute(_DONE, (job,))}

    def finish(
        self, claim: Claim, result: Any = None, *, is_cancelled: bool = False, took: timedelta = timedelta(0)
    ) -> State:
        """Ends a job; returns its state.

        Raises:
            JobLost: it is another's.
        """
        text = None if result is None else _json(result)
        values = (claim.job, claim.token, text, is_cancelled, took)
        return State(self._one("SELECT evtool_jobs.finish(%s, %s, %s::jsonb, %s, %s)", *values)[0])

    def fail(self, claim: Claim, code: str, message: str, hint: str | None, *, is_transient: bool) -> State:
        """Gives a job up, for now or for good; returns its state.

        Raises:
            JobLost: it is another's.
        """
        values = (claim.job, claim.token, code, message, hint, is_transient)
        return State(self._one("SELECT evtool_jobs.fail(%s, %s, %s, %s, %s, %s)", *values)[0])

    def release(self, claim: Claim) -> bool:
        """Gives a job back; whether it was still the caller's."""
        return bool(self._one("SELECT evtool_jobs.release(%s, %s)", claim.job, claim.token)[0])

    def cancel(self, job: int) -> State:
        """Cancels a job, or asks its worker to; returns its state.

        Raises:
            JobNotFound: there is none.
        """
        return State(self._one("SELECT evtool_jobs.cancel(%s)", job)[0])

    def retry(self, job: int) -> State:
        """Queues a job again; returns its state.

        Raises:
            JobNotFound: there is none.
            JobRefused: it has nothing to be done again.
        """
        return State(self._one("SELECT evtool_jobs.retry(%s)", job)[0])

    def purge(self, older_than: timedelta, states: Sequence[str] | None = None) -> int:
        """Forgets jobs that are over; returns how many."""
        return int(self._one("SELECT evtool_jobs.purge(%s, %s)", older_than, None if states is None else [*states])[0])

    def status(self, job: int) -> dict[str, Any]:
        """A job, by the columns of the view `status`.

        Raises:
            JobNotFound: there is none.
        """
        rows = self._dicts(_STATUS, (job,))
        if not rows:
            raise JobNotFound(f"There is no job {job}", hint="see: evtool bulk jobs")
        return rows[0]

    def jobs(
        self, states: Sequence[str] | None = None, resource: str | None = None, limit: int = 50
    ) -> Iterator[dict[str, Any]]:
        """Jobs, the newest first."""
        before = None
        while limit > 0:
            page = min(limit, _PAGE)
            asked = {
                "states": None if states is None else [*states],
                "resource": resource,
                "before": before,
                "limit": page,
            }
            rows = self._dicts(_JOBS, asked)
            yield from rows
            if len(rows) < page:
                return
            limit -= page
            before = rows[-1]["job"]

    def states(self) -> dict[str, tuple[int, float | None]]:
        """How many jobs are in each state, and the age of the oldest in seconds."""
        with _translated():
            return {state: (jobs, age) for state, jobs, age in self.connection.execute(_STATES)}

    def rejects(self, job: int) -> Iterator[dict[str, Any]]:
        """The refused records of a job by line: {"line", "errors", "raw"}, in constant memory."""
        self.status(job)
        with _translated(), self.connection.transaction(), self.connection.cursor("evtool_rejects") as cursor:
            cursor.itersize = _PAGE
            cursor.execute(_REJECTS, (job,))
            for line, batch, errors, raw in cursor:
                yield {"line": line, "errors": json.loads(errors), "raw": raw, "batch": batch}

    def failed_batches(self, job: int) -> list[dict[str, Any]]:
        """The batches of a job that failed as a whole."""
        return self._dicts(_FAILED, (job,))

    def left(self) -> tuple[bool, float | None]:
        """Whether a job is at work or ready to be, and in how many seconds the next one will be."""
        busy, pause = self._one(_BUSY)
        return bool(busy), pause

    def _one(self, query: _Query, *values: Any) -> tuple[Any, ...]:
        with _translated():
            row = self.connection.execute(query, values).fetchone()
        assert row is not None
        return row

    def _dicts(self, query: str, values: Any) -> list[dict[str, Any]]:
        with _translated(), self.connection.cursor(row_factory=dict_row) as cursor:
            rows = cursor.execute(query, values).fetchall()
        for row in rows:
            for name in ("source", "result"):
                if isinstance(row.get(name), str):
                    row[name] = json.loads(row[name])
        return rows


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """Turns the server's errors into ours; whom it may not let in is told the roles of the queue."""
    try:
        with translation.translated():
            yield
    except PermissionDenied as error:
        error.hint = _PERMISSION_HINT
        raise


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


@contextlib.contextmanager
def open_queue(dsn: str) -> Iterator[Queue]:
    """The queue of a database, on a connection of its own.

    Args:
        dsn: a PostgreSQL server's, as in `evtool.connect`.

    Raises:
        InvalidDsn: it isn't one.
        StoreUnreachable: no server, no login.
        NotMigrated, DatabaseTooNew, MigrationFailed: there is no queue that can be used.
    """
    with contextlib.closing(Connector(server_dsn(dsn)).open()) as connection:
        yield Queue(connection)
