"""Workers that die, stop, hang and lose their server: every record is in exactly once, and the counters are right."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import psutil
import psycopg
import pytest

import evtool
from evtool.bulk import installing as bulk
from evtool.bulk.jobs import installing
from evtool.bulk.jobs.model import State, Submission
from evtool.bulk.jobs.queue import Queue, open_queue
from evtool.embedded import EmbeddedServer
from evtool.embedded.server import StopMode
from evtool.stores.postgres.connection import Connector
from tests.bulk.jobs.workers import Started, Workers, until, users

Sessions = Callable[..., psycopg.Connection]

JOBS = 20
KILLS = 12
RECORDS = 600
BAD_EVERY = 50
SLOW = """
    CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN PERFORM pg_sleep({seconds}); RETURN NULL; END $$;
    CREATE TRIGGER slow AFTER INSERT ON users FOR EACH STATEMENT EXECUTE FUNCTION slow();
"""


def _submit(queue: Queue, path: Path, batch_size: int = 100, max_attempts: int = 1000) -> int:
    request = {"source": str(path), "batch_size": batch_size}
    return queue.submit(Submission("import", "users", request, target="public.users", max_attempts=max_attempts))[0]


def _slow(session: psycopg.Connection, seconds: float) -> None:
    """Lets each batch into users take its time, so that something can happen meanwhile."""
    session.execute(SLOW.format(seconds=seconds))


def _count(session: psycopg.Connection) -> int:
    row = session.execute("SELECT count(*) FROM users").fetchone()
    assert row is not None
    return int(row[0])


def _check_books(session: psycopg.Connection) -> None:
    """What jobs, batches and refused records say is the same, and is what the table holds."""
    query = """
        SELECT job, total, accepted, inserted, rejected, errors, batches FROM evtool_jobs.status ORDER BY job
    """
    summed = """
        SELECT id, COALESCE(sum(b.total), 0), COALESCE(sum(b.accepted), 0), COALESCE(sum(b.inserted), 0),
          COALESCE(sum(b.rejected), 0), COALESCE(sum(b.errors), 0), count(b.number)
        FROM evtool_jobs.jobs LEFT JOIN evtool_jobs.batches AS b ON b.job = id GROUP BY id ORDER BY id
    """
    told = session.execute(query).fetchall()
    assert told == session.execute(summed).fetchall()
    for job, _, _, _, rejected, errors, batches in told:
        found = session.execute(
            "SELECT count(DISTINCT line), count(*) FROM evtool_jobs.errors WHERE job = %s", (job,)
        ).fetchone()
        assert found == (rejected, errors)
        numbers = session.execute("SELECT number FROM evtool_jobs.batches WHERE job = %s ORDER BY 1", (job,)).fetchall()
        assert [number for (number,) in numbers] == list(range(1, batches + 1))
    assert sum(row[3] for row in told) == _count(session)


def _busy_child(started: Started, session: psycopg.Connection) -> int:
    """The process that has a job in hand, by its name in the queue."""
    row = until(lambda: session.execute("SELECT worker FROM evtool_jobs.jobs WHERE state = 'processing'").fetchone())
    return int(row[0].split(":")[1].split("/")[0])


@pytest.mark.thorough
def test_twenty_jobs_survive_kills_at_random_moments(
    queue: Queue, session: psycopg.Connection, workers: Workers, tmp_path: Path
) -> None:
    """Workers are killed at random until twenty jobs are done: every record is in once, every bad one is reported once."""
    chance = random.Random(20)
    for number in range(JOBS):
        path = users(tmp_path / f"{number}.csv", RECORDS, start=number * RECORDS, bad_every=BAD_EVERY)
        _submit(queue, path, batch_size=50)
    _slow(session, 0.01)
    kills = 0
    started = workers.start("--workers", "3", "--lease", "1", "--drain")
    until(started.children)
    while started.process.poll() is None:
        time.sleep(chance.uniform(0.05, 0.4))
        children = started.children()
        # enough of them to be sure, and not so many that the start of Python is what takes the time
        if children and kills < KILLS:
            victim = chance.choice(children)
            try:
                os.kill(victim, signal.SIGKILL)
                kills += 1
            except ProcessLookupError:
                continue
    assert started.wait() == 0
    assert kills == KILLS
    assert {row["state"] for row in queue.jobs()} == {"completed_with_errors"}
    assert _count(session) == JOBS * (RECORDS - RECORDS // BAD_EVERY)
    total = session.execute("SELECT sum(total), sum(rejected), sum(batches) FROM evtool_jobs.status").fetchone()
    assert total == (JOBS * RECORDS, JOBS * RECORDS // BAD_EVERY, JOBS * RECORDS // 50)
    _check_books(session)
    crashed = [event for event in started.events("worker ended") if event["exit_code"] == -signal.SIGKILL]
    assert len(crashed) >= kills - 3


def test_a_worker_stopped_beyond_its_lease_cannot_commit(
    queue: Queue, session: psycopg.Connection, workers: Workers, tmp_path: Path
) -> None:
    """A worker that sleeps in a batch while another takes its job wakes to a fence: its batch is not in, nor twice."""
    job = _submit(queue, users(tmp_path / "users.csv", 500))
    _slow(session, 0.3)
    first = workers.start("--lease", "1")
    until(lambda: queue.status(job)["batches"] >= 1)
    victim = _busy_child(first, session)
    os.kill(victim, signal.SIGSTOP)
    # the supervisor must not help
    first.signal(signal.SIGSTOP)
    before = queue.status(job)
    second = workers.start("--lease", "1", "--drain")
    until(lambda: queue.status(job)["worker"] not in {None, before["worker"]} or queue.status(job)["batches"] == 5)
    os.kill(victim, signal.SIGCONT)
    first.signal(signal.SIGCONT)
    assert second.wait() == 0
    assert queue.status(job)["state"] == State.COMPLETED
    assert _count(session) == 500
    _check_books(session)
    tokens = session.execute("SELECT token, count(*) FROM evtool_jobs.batches GROUP BY 1 ORDER BY 1").fetchall()
    assert [token for token, _ in tokens] == [1, 2]
    told = until(lambda: first.events("job lost") + first.events("no queue"))
    assert told


def test_a_lease_that_ran_out_is_enough_to_be_fenced(queue: Queue, session: psycopg.Connection) -> None:
    """Even where nobody has taken the job, a worker whose lease has run out enters no batch and ends nothing."""
    job, _ = queue.submit(Submission("import", "users", {"source": "/tmp/x"}))
    session.execute("SELECT * FROM evtool_jobs.claim('w', '50ms')")
    until(lambda: session.execute("SELECT lease_until < clock_timestamp() FROM evtool_jobs.jobs").fetchone() == (True,))
    calls = [
        "record_batch(%s, 1, 1, 1, 2, 1, 0, 1, 0, 0)",
        "finish(%s, 1)",
        "fail(%s, 1, 'X', 'y')",
        "found_source(%s, 1, 'a', 1)",
    ]
    for call in calls:
        with pytest.raises(psycopg.errors.RaiseException) as caught:
            session.execute(f"SELECT evtool_jobs.{call}", (job,))
        assert caught.value.diag.constraint_name == "job_lost"
    assert session.execute("SELECT evtool_jobs.heartbeat(%s, 1)", (job,)).fetchone() == ("lost",)
    assert session.execute("SELECT batches, state FROM evtool_jobs.status").fetchone() == (0, "processing")


def test_nobody_takes_a_job_between_fence_and_commit(queue: Queue, sessions: Sessions) -> None:
    """Once a batch is entered the job can't be claimed before its transaction ends, even if the lease runs out then."""
    queue.submit(Submission("import", "users", {"source": "/tmp/x"}))
    old, new = sessions(), sessions()
    old.execute("SELECT * FROM evtool_jobs.claim('old', '300ms')")
    with old.transaction():
        old.execute("SELECT evtool_jobs.record_batch(1, 1, 1, 1, 2, 1, 0, 1, 0, 0)")
        until(lambda: new.execute("SELECT lease_until < clock_timestamp() FROM evtool_jobs.jobs").fetchone() == (True,))
        assert new.execute("SELECT * FROM evtool_jobs.claim('new')").fetchall() == []
    taken = new.execute("SELECT token, batches FROM evtool_jobs.claim('new')").fetchall()
    assert taken == [(2, 1)]


def test_a_cancelled_job_keeps_whole_batches(
    queue: Queue, session: psycopg.Connection, workers: Workers, tmp_path: Path
) -> None:
    """Cancelled in the middle, a job ends after the batch at work: what is in is a multiple of a batch, and in the books."""
    job = _submit(queue, users(tmp_path / "users.csv", 2000))
    _slow(session, 0.1)
    workers.start("--lease", "2")
    until(lambda: queue.status(job)["batches"] >= 2)
    assert queue.cancel(job) == State.PROCESSING
    until(lambda: queue.status(job)["state"] == "cancelled")
    row = queue.status(job)
    assert 200 <= row["total"] < 2000
    assert row["total"] == row["batches"] * 100 == _count(session)
    _check_books(session)
    # and it can be gone on with
    assert queue.retry(job) == State.PENDING
    until(lambda: queue.status(job)["state"] == "completed")
    assert _count(session) == 2000
    _check_books(session)


@pytest.mark.thorough(but=["stop"])
@pytest.mark.parametrize("how", ["cancel", "stop"])
def test_a_batch_that_waits_for_a_lock_is_not_waited_for(
    queue: Queue, session: psycopg.Connection, sessions: Sessions, workers: Workers, tmp_path: Path, how: str
) -> None:
    """A job whose batch waits for somebody's lock is cancelled, or given back, while that is still held, without the batch."""
    job = _submit(queue, users(tmp_path / "users.csv", 200))
    other = sessions()
    waits = "SELECT EXISTS (SELECT FROM pg_locks WHERE relation = 'users'::regclass AND NOT granted)"
    with other.transaction():
        other.execute("LOCK TABLE users")
        started = workers.start("--lease", "2")
        until(lambda: session.execute(waits).fetchone() == (True,))
        if how == "cancel":
            assert queue.cancel(job) == State.PROCESSING
            until(lambda: queue.status(job)["state"] == "cancelled")
        else:
            started.signal(signal.SIGTERM)
            assert started.wait() == 0
            assert started.events("job let go")
            row = queue.status(job)
            assert (row["state"], row["attempts"], row["worker"]) == ("pending", 0, None)
    assert (queue.status(job)["batches"], _count(session)) == (0, 0)
    if how == "cancel":
        queue.retry(job)
    else:
        workers.start()
    until(lambda: queue.status(job)["state"] == "completed")
    assert _count(session) == 200


def test_a_worker_that_is_asked_to_end_finishes_its_batch_and_gives_its_job_back(
    queue: Queue, session: psycopg.Connection, workers: Workers, tmp_path: Path
) -> None:
    """SIGTERM and SIGINT end workers in order: whole batches, the job pending again without an attempt counted, exit 0."""
    job = _submit(queue, users(tmp_path / "users.csv", 3000))
    _slow(session, 0.1)
    for number in (signal.SIGTERM, signal.SIGINT):
        done = queue.status(job)["batches"]
        started = workers.start("--lease", "60")
        until(lambda done=done: queue.status(job)["batches"] > done)
        started.signal(number)
        assert started.wait() == 0
        row = queue.status(job)
        assert (row["state"], row["attempts"], row["worker"]) == ("pending", 0, None)
        assert row["total"] == row["batches"] * 100 == _count(session)
        assert started.events("job let go")
    session.execute("DROP TRIGGER slow ON users")
    workers.drain()
    assert queue.status(job)["state"] == State.COMPLETED
    assert _count(session) == 3000
    _check_books(session)


def test_workers_end_when_their_supervisor_is_killed(
    queue: Queue, session: psycopg.Connection, workers: Workers, tmp_path: Path
) -> None:
    """Nobody is left behind that nobody looks after: the children of a killed supervisor give their jobs back and end."""
    job = _submit(queue, users(tmp_path / "users.csv", 2000))
    _slow(session, 0.1)
    started = workers.start("--workers", "2", "--lease", "60")
    until(lambda: queue.status(job)["batches"] >= 1)
    children = started.children()
    assert len(children) == 2
    started.signal(signal.SIGKILL)
    until(lambda: not any(psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie" for pid in children))
    assert queue.status(job)["state"] == State.PENDING
    _check_books(session)


def test_a_worker_that_falls_silent_every_time_fails_the_job(queue: Queue, session: psycopg.Connection) -> None:
    """A job at which worker after worker dies without a batch is failed, and not tried for ever."""
    job, _ = queue.submit(Submission("import", "users", {"source": "/tmp/x"}, max_attempts=3))
    for attempt in range(1, 4):
        row = until(lambda: session.execute("SELECT attempts FROM evtool_jobs.claim('w', '1ms')").fetchone())
        assert row == (attempt,)
    until(
        lambda: session.execute("SELECT * FROM evtool_jobs.claim('w')").fetchall() == [] and _is(queue, job, "failed")
    )
    assert queue.status(job)["error_code"] == "WORKER_LOST"


def test_a_batch_that_brings_its_connection_down_does_not_do_so_for_ever(
    queue: Queue, session: psycopg.Connection, workers: Workers, tmp_path: Path
) -> None:
    """A job whose connection is lost in every attempt fails like one whose workers die, and the worker goes on."""
    job = _submit(queue, users(tmp_path / "users.csv", 10), max_attempts=2)
    session.execute("""
        CREATE FUNCTION fall() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END $$;
        CREATE TRIGGER fall AFTER INSERT ON users FOR EACH STATEMENT EXECUTE FUNCTION fall();
    """)
    started = workers.start("--lease", "60")
    until(lambda: _is(queue, job, "failed"), 60)
    assert queue.status(job)["error_code"] == "STORE_UNREACHABLE"
    assert len(started.events("job begun")) == 2
    assert started.events("worker ended") == []
    assert _count(session) == 0


def test_a_job_that_is_purged_under_its_worker_is_let_go_of(
    queue: Queue, session: psycopg.Connection, workers: Workers, tmp_path: Path
) -> None:
    """A job that is cancelled and forgotten while its worker is stopped costs the worker its batch, and no more."""
    job = _submit(queue, users(tmp_path / "users.csv", 500))
    _slow(session, 0.3)
    started = workers.start("--lease", "1")
    until(lambda: queue.status(job)["batches"] >= 1)
    victim = _busy_child(started, session)
    os.kill(victim, signal.SIGSTOP)
    queue.cancel(job)
    until(
        lambda: (
            session.execute("SELECT * FROM evtool_jobs.claim('w')").fetchall() == [] and _is(queue, job, "cancelled")
        )
    )
    assert queue.purge(timedelta(0)) == 1
    os.kill(victim, signal.SIGCONT)
    until(lambda: started.events("job lost") + started.events("no queue"))
    session.execute("DROP TRIGGER slow ON users")
    other = _submit(queue, users(tmp_path / "others.csv", 10, start=1000))
    until(lambda: _is(queue, other, "completed"))
    assert started.events("worker ended") == []


def _is(queue: Queue, job: int, state: str) -> bool:
    return bool(queue.status(job)["state"] == state)


@pytest.mark.thorough
@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_a_restart_of_the_server_in_the_middle_costs_nothing(mode: StopMode, tmp_path: Path) -> None:
    """The server is stopped, or crashes, and comes back under busy workers: so do they, and every record is in once."""
    server = EmbeddedServer(tmp_path / "server")
    dsn = server.start()
    try:
        with evtool.connect(dsn) as store:
            store.migrate()
        installing.install_at(dsn)
        with contextlib.closing(Connector(dsn).open()) as connection:
            bulk.make_tables(connection, "public")
        with open_queue(dsn) as queue:
            for number in range(3):
                _submit(queue, users(tmp_path / f"{number}.csv", 1000, start=number * 1000))
        with psycopg.connect(dsn, autocommit=True) as session:
            _slow(session, 0.05)
        with Workers(dsn, tmp_path) as workers:
            started = workers.start("--workers", "2", "--lease", "5", "--drain")
            for _ in range(2):
                until(lambda: len(started.events("batch")) >= 2)
                started.lines.clear()
                assert server.stop(mode)
                until(lambda: started.events("no queue"))
                assert server.start() == dsn
            assert started.wait() == 0
            assert started.events("worker ended") == []
        with psycopg.connect(dsn, autocommit=True) as session:
            states = session.execute("SELECT DISTINCT state FROM evtool_jobs.status").fetchall()
            assert states == [("completed",)]
            assert _count(session) == 3000
            _check_books(session)
    finally:
        server.stop("immediate")
