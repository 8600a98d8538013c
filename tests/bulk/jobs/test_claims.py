"""sql/jobs/functions: claim, heartbeat, held, evict, release, fail, finish, cancel, retry, purge."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from tests.bulk.jobs.test_submit import submit
from tests.bulk.jobs.workers import until

Sessions = Callable[..., psycopg.Connection]

MINE = "pg_backend_pid(), (SELECT backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid())"


def claim(session: psycopg.Connection, worker: str = "w", lease: str = "30s") -> tuple[int, int] | None:
    """Number and token of the next job."""
    query = f"SELECT job, token FROM evtool_jobs.claim(%s, %s, {MINE})"
    row = session.execute(query, (worker, lease)).fetchone()
    return (row[0], row[1]) if row else None


def call(session: psycopg.Connection, function: str, *values: Any) -> Any:
    """The answer of a function of the queue."""
    holes = ", ".join(["%s"] * len(values))
    row = session.execute(f"SELECT evtool_jobs.{function}({holes})", values).fetchone()
    assert row is not None
    return row[0]


def mark(session: psycopg.Connection, function: str, *values: Any) -> str | None:
    """The mark with which a function refuses."""
    with pytest.raises(psycopg.errors.RaiseException) as caught:
        call(session, function, *values)
    return caught.value.diag.constraint_name


def state(session: psycopg.Connection, job: int) -> str:
    """Of a job."""
    row = session.execute("SELECT state FROM evtool_jobs.status WHERE job = %s", (job,)).fetchone()
    assert row is not None
    return str(row[0])


def record(session: psycopg.Connection, job: int, token: int, number: int, rejected: int = 0, **given: Any) -> Any:
    """Enters a batch of ten records."""
    values = {
        "job": job,
        "token": token,
        "number": number,
        "first_line": number * 10,
        "last_line": number * 10 + 9,
        "inserted": 10 - rejected,
        "updated": 0,
        "accepted": 10 - rejected,
        "rejected": rejected,
        "errors": rejected,
        **given,
    }
    arguments = ", ".join(f"{name} => %({name})s" for name in values)
    return session.execute(f"SELECT evtool_jobs.record_batch({arguments})", values).fetchone()


def test_ten_workers_on_one_queue_claim_each_job_once(sessions: Sessions) -> None:
    """Of a hundred jobs and ten workers that claim at once, each job goes to one of them."""
    admin = sessions()
    jobs = {submit(admin)[0] for _ in range(100)}
    workers = [sessions() for _ in range(10)]
    gate = threading.Barrier(len(workers))

    def run(worker: psycopg.Connection) -> list[int]:
        gate.wait()
        got = []
        while (claimed := claim(worker)) is not None:
            got.append(claimed[0])
        return got

    with ThreadPoolExecutor(10) as pool:
        taken = Counter(job for got in pool.map(run, workers) for job in got)
    # SKIP LOCKED may pass over a job that somebody looks at, and only leave it for the next round
    while (claimed := claim(admin)) is not None:
        taken[claimed[0]] += 1
    assert taken == Counter(dict.fromkeys(jobs, 1))


def test_a_job_is_claimed_again_when_its_lease_has_run_out(sessions: Sessions) -> None:
    """A lease keeps others off until it ends; then the next has the job, and knows the backend of the one before."""
    first, second = sessions(), sessions()
    submit(first)
    assert claim(first, lease="400ms") == (1, 1)
    assert claim(second) is None
    row = until(
        lambda: second.execute("SELECT job, token, attempts, stale_pid FROM evtool_jobs.claim('second')").fetchone()
    )
    assert row == (1, 2, 2, first.info.backend_pid)
    assert mark(first, "finish", 1, 1) == "job_lost"
    assert call(second, "finish", 1, 2) == "completed"


def test_a_heartbeat_keeps_a_job(session: psycopg.Connection) -> None:
    """A lease that is prolonged doesn't run out; of a job that isn't the caller's it says so."""
    submit(session)
    claim(session, lease="1s")
    assert call(session, "heartbeat", 1, 1, "1h") == "held"
    assert session.execute("SELECT lease_until > now() + '59min' FROM evtool_jobs.status").fetchone() == (True,)
    assert call(session, "heartbeat", 1, 2, "1h") == "lost"
    assert call(session, "heartbeat", 7, 1, "1h") == "lost"
    call(session, "cancel", 1)
    assert call(session, "heartbeat", 1, 1, "1h") == "cancel"


def test_evict_ends_the_backend_that_was_meant(sessions: Sessions) -> None:
    """The backend of a silent worker is ended by its number and start; another that has the number by now is not."""
    silent, other = sessions(), sessions()
    submit(other)
    claim(silent, lease="1ms")
    pid, start = until(
        lambda: other.execute("SELECT stale_pid, stale_start FROM evtool_jobs.claim('other')").fetchone()
    )
    assert not other.execute("SELECT evtool_jobs.evict(%s, %s::timestamptz - '1s'::interval)", (pid, start)).fetchone()[
        0
    ]  # type: ignore[index]
    assert silent.execute("SELECT 1").fetchone() == (1,)
    assert call(other, "evict", pid, start) is True
    with pytest.raises(psycopg.OperationalError):
        until(lambda: silent.execute("SELECT 1").fetchone() is None)
    assert call(other, "evict", pid, start) is False


def test_a_released_job_is_free_at_once(session: psycopg.Connection) -> None:
    """A job that was given back is pending, without an attempt counted; it is given back only by its holder."""
    submit(session)
    claim(session)
    assert call(session, "release", 1, 9) is False
    assert call(session, "release", 1, 1) is True
    assert session.execute("SELECT state, attempts FROM evtool_jobs.status").fetchone() == ("pending", 0)
    assert mark(session, "finish", 1, 1) == "job_lost"
    assert claim(session) == (1, 3)


def test_a_transient_fault_is_tried_again_later_and_not_for_ever(session: psycopg.Connection) -> None:
    """A fault that may pass leaves the job pending, each time for twice as long, until its attempts are used up."""
    submit(session, max_attempts=3)
    pauses = []
    for attempt in range(1, 4):
        claimed = claim(session)
        assert claimed is not None
        answer = call(session, "fail", *claimed, "TIMEOUT", "too slow", "wait", True)
        assert answer == ("pending" if attempt < 3 else "failed")
        row = session.execute(
            "SELECT EXTRACT(epoch FROM run_at - clock_timestamp())::float FROM evtool_jobs.jobs"
        ).fetchone()
        assert row is not None
        pauses.append(round(row[0]))
        session.execute("UPDATE evtool_jobs.jobs SET run_at = now()")
    assert pauses[:2] == [1, 2]
    row = session.execute("SELECT error_code, error_message, error_hint FROM evtool_jobs.status").fetchone()
    assert row == ("TIMEOUT", "too slow", "wait")


def test_a_fault_that_stays_fails_the_job_at_once(session: psycopg.Connection) -> None:
    """What won't get better isn't tried again."""
    submit(session)
    claim(session)
    assert call(session, "fail", 1, 1, "FILE", "gone") == "failed"
    assert claim(session) is None


def test_progress_forgives_attempts(session: psycopg.Connection) -> None:
    """A job that gets a batch further each time may be interrupted any number of times."""
    submit(session, max_attempts=2)
    for number in range(1, 7):
        claimed = until(lambda: claim(session, lease="200ms"))
        record(session, *claimed, number)
    assert state(session, 1) == "processing"


def test_batches_refusals_and_counters_are_one(session: psycopg.Connection) -> None:
    """What a batch enters is in the job's counters, its state, and the view errors, a row a fault."""
    submit(session)
    claim(session)
    rejects = (
        '[{"line": 12, "errors": [{"field": "role", "value": "king", "code": "invalid_role", "message": "m"}, '
        '{"field": "email", "value": null, "code": "email_required", "message": "n"}], "raw": "a,\\"b\\""}]'
    )
    record(session, 1, 1, 1)
    record(session, 1, 1, 2, rejected=1, errors=2, rejects=rejects, took="2s")
    row = session.execute(
        "SELECT total, accepted, inserted, updated, rejected, errors, batches, rows_per_second, error_rate "
        "FROM evtool_jobs.status"
    ).fetchone()
    assert row == (20, 19, 19, 0, 1, 2, 2, 10, Decimal("0.05"))
    found = session.execute("SELECT line, number, field, value, code, message, raw FROM evtool_jobs.errors").fetchall()
    assert found == [
        (12, 1, "role", "king", "invalid_role", "m", 'a,"b"'),
        (12, 2, "email", None, "email_required", "n", 'a,"b"'),
    ]
    assert call(session, "finish", 1, 1) == "completed_with_errors"


def test_a_batch_is_entered_once(session: psycopg.Connection) -> None:
    """The same batch twice is an error, and changes no counter."""
    submit(session)
    claim(session)
    record(session, 1, 1, 1)
    with pytest.raises(psycopg.errors.UniqueViolation):
        record(session, 1, 1, 1)
    assert session.execute("SELECT total, batches FROM evtool_jobs.status").fetchone() == (10, 1)


def test_counters_that_do_not_add_up_are_refused(session: psycopg.Connection) -> None:
    """Nobody enters more new records than accepted ones."""
    submit(session)
    claim(session)
    with pytest.raises(psycopg.errors.CheckViolation):
        record(session, 1, 1, 1, inserted=11)


def test_cancelling(session: psycopg.Connection) -> None:
    """Pending jobs are cancelled at once, one at work is told to, one that is over stays; one that isn't is an error."""
    pending, busy, over = (submit(session)[0] for _ in range(3))
    session.execute("UPDATE evtool_jobs.jobs SET run_at = 'infinity' WHERE id = %s", (pending,))
    assert claim(session) == (busy, 1)
    assert claim(session) == (over, 1)
    call(session, "finish", over, 1)
    assert call(session, "cancel", pending) == "cancelled"
    assert call(session, "cancel", busy) == "processing"
    assert call(session, "cancel", over) == "completed"
    assert mark(session, "cancel", 99) == "no_job"
    assert record(session, busy, 1, 1) == (True,)
    assert call(session, "finish", busy, 1, None, True) == "cancelled"
    assert [state(session, job) for job in (pending, busy, over)] == ["cancelled", "cancelled", "completed"]


def test_a_job_cancelled_under_a_dead_worker_is_over_when_its_lease_is(session: psycopg.Connection) -> None:
    """Where its worker can't say so any more, whoever claims next finds a cancelled job, and passes it over."""
    submit(session)
    claim(session, lease="1ms")
    call(session, "cancel", 1)
    until(lambda: claim(session) is None and state(session, 1) == "cancelled")


def test_a_release_of_a_job_to_be_cancelled_ends_it(session: psycopg.Connection) -> None:
    """Nobody takes up a job that is cancelled while its worker gives it back."""
    submit(session)
    claim(session)
    call(session, "cancel", 1)
    call(session, "release", 1, 1)
    assert state(session, 1) == "cancelled"


def test_a_retry_goes_on_where_the_job_stopped(session: psycopg.Connection) -> None:
    """A failed job is pending again with its batches kept; a batch that failed is forgotten, with its counts."""
    submit(session)
    claim(session)
    record(session, 1, 1, 1)
    reject = '[{"line": 20, "errors": [{"code": "batch_failed"}], "raw": "x"}]'
    record(session, 1, 1, 2, rejected=10, rejects=reject, error_code="40P01", error_message="deadlock")
    assert call(session, "finish", 1, 1) == "completed_with_errors"
    assert session.execute("SELECT failed_batches FROM evtool_jobs.status").fetchone() == (1,)
    assert call(session, "retry", 1) == "pending"
    row = session.execute(
        "SELECT total, accepted, rejected, errors, batches, failed_batches, finished_at FROM evtool_jobs.status"
    ).fetchone()
    assert row == (10, 10, 0, 0, 1, 0, None)
    assert session.execute("SELECT count(*) FROM evtool_jobs.errors").fetchone() == (0,)
    claimed = claim(session)
    assert claimed is not None
    record(session, *claimed, 2)
    assert call(session, "finish", *claimed) == "completed"
    assert mark(session, "retry", 1) == "job_not_retryable"
    assert mark(session, "retry", 99) == "no_job"


def test_a_job_at_work_is_not_retried(session: psycopg.Connection) -> None:
    """Only what is over can be begun again, and rejected records alone are no reason."""
    submit(session)
    assert mark(session, "retry", 1) == "job_not_retryable"
    claim(session)
    assert mark(session, "retry", 1) == "job_not_retryable"
    record(session, 1, 1, 1, rejected=1)
    call(session, "finish", 1, 1)
    assert mark(session, "retry", 1) == "job_not_retryable"


def test_purging_forgets_what_is_over_for_long_enough(session: psycopg.Connection) -> None:
    """Old jobs that are over go with their batches and keys; young ones, open ones and those of other states stay."""
    old, young, failed, open_ = (submit(session, idempotency_key=str(number))[0] for number in range(4))
    for job in (old, young, failed):
        assert claim(session) == (job, 1)
        record(session, job, 1, 1)
    call(session, "finish", old, 1)
    call(session, "finish", young, 1)
    call(session, "fail", failed, 1, "X", "y")
    session.execute(
        "UPDATE evtool_jobs.jobs SET finished_at = now() - '8 days'::interval WHERE id <> ALL (%s)", ([young, open_],)
    )
    assert call(session, "purge", "7 days", ["completed"]) == 1
    assert {row[0] for row in session.execute("SELECT job FROM evtool_jobs.status")} == {young, failed, open_}
    assert session.execute("SELECT count(*) FROM evtool_jobs.batches WHERE job = %s", (old,)).fetchone() == (0,)
    assert submit(session, idempotency_key="0")[1]
    assert call(session, "purge", "7 days") == 1
    assert call(session, "purge", "0") == 1


def test_the_states_are_listed_even_where_no_job_is(session: psycopg.Connection) -> None:
    """The view states has all six, with the age of the oldest job in each."""
    names = ["pending", "processing", "completed", "completed_with_errors", "failed", "cancelled"]
    assert session.execute("SELECT state, jobs FROM evtool_jobs.states").fetchall() == [(name, 0) for name in names]
    submit(session)
    assert session.execute("SELECT jobs, oldest >= '0' FROM evtool_jobs.states LIMIT 1").fetchone() == (1, True)


def test_a_source_that_changed_is_refused(session: psycopg.Connection) -> None:
    """The first worker says what the source is; a later one that finds another is stopped, and so is one told before."""
    submit(session)
    submit(session, request={"source": "/x", "sha256": "aa"})
    claim(session)
    claim(session)
    call(session, "found_source", 1, 1, "aa", 5)
    call(session, "found_source", 1, 1, "aa", 5)
    assert mark(session, "found_source", 1, 1, "bb", 5) == "job_source_changed"
    assert mark(session, "found_source", 2, 1, "bb", 5) == "job_source_changed"


def test_a_mended_file_is_taken_by_a_retry_where_nothing_is_in(session: psycopg.Connection) -> None:
    """What the source was counts from the first batch on: a job without one is retried with another file."""
    submit(session)
    for token, sha256 in ((1, "aa"), (2, "bb")):
        claim(session)
        call(session, "found_source", 1, token, sha256, 5)
        call(session, "fail", 1, token, "INVALID", "no header")
        call(session, "retry", 1)
    claim(session)
    call(session, "found_source", 1, 3, "cc", 5)
    record(session, 1, 3, 1)
    call(session, "fail", 1, 3, "INVALID", "cut off")
    call(session, "retry", 1)
    claim(session)
    assert mark(session, "found_source", 1, 4, "dd", 5) == "job_source_changed"
