"""sql/jobs/functions/submit.sql: what becomes of a job that is submitted, by whomever and how often."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.bulk.jobs.workers import until

Sessions = Callable[..., psycopg.Connection]

SOURCE = {"source": "/data/users.csv"}


def submit(session: psycopg.Connection, resource: str = "users", request: Any = None, **given: Any) -> tuple[int, bool]:
    """Calls it by the names of its arguments, as somebody at psql may."""
    values = {"kind": "import", "resource": resource, "request": Jsonb(request or SOURCE), **given}
    arguments = ", ".join(f"{name} => %({name})s" for name in values)
    row = session.execute(f"SELECT * FROM evtool_jobs.submit({arguments})", values).fetchone()
    assert row is not None
    return row[0], row[1]


def refused(session: psycopg.Connection, **given: Any) -> str | None:
    """The mark with which it refuses."""
    with pytest.raises(psycopg.errors.RaiseException) as caught:
        submit(session, **given)
    return caught.value.diag.constraint_name


def test_a_job_is_pending_with_all_counters_at_zero(session: psycopg.Connection) -> None:
    """A new job is pending, told apart as new, and has done nothing."""
    assert submit(session) == (1, True)
    row = session.execute(
        "SELECT state, total, accepted, inserted, updated, rejected, errors, batches, failed_batches, attempts, file "
        "FROM evtool_jobs.status"
    ).fetchone()
    assert row == ("pending", 0, 0, 0, 0, 0, 0, 0, 0, 0, "/data/users.csv")


def test_a_key_with_the_same_content_is_the_same_job(session: psycopg.Connection) -> None:
    """Submitting twice under one key gives the job's number again, in whatever order its words are written."""
    request = {"source": "/a", "mode": "upsert"}
    assert submit(session, request=request, idempotency_key="k") == (1, True)
    assert submit(session, request={"mode": "upsert", "source": "/a"}, idempotency_key="k") == (1, False)
    assert submit(session, request=request, idempotency_key="k", priority=5) == (1, False)
    assert submit(session, request=request, idempotency_key="other")[1]
    assert submit(session, request=request)[1]


@pytest.mark.parametrize(
    "other",
    [
        {"request": {"source": "/b"}},
        {"resource": "articles"},
        {"kind": "export"},
        {"target": "x"},
        {"refers_to": ["y"]},
    ],
    ids=lambda other: next(iter(other)),
)
def test_a_key_with_other_content_is_an_error(session: psycopg.Connection, other: dict[str, Any]) -> None:
    """A key that stands for something else is refused, and its job stays as it was."""
    submit(session, idempotency_key="k")
    assert refused(session, idempotency_key="k", **other) == "job_key_taken"
    assert session.execute("SELECT count(*) FROM evtool_jobs.jobs").fetchone() == (1,)


def test_the_catalog_does_not_change_what_a_key_stands_for(session: psycopg.Connection) -> None:
    """A table that comes into being between two submissions under one key does not make the second another."""
    assert submit(session, "public.later", idempotency_key="k")[1]
    session.execute("CREATE TABLE public.later (author uuid REFERENCES users)")
    assert not submit(session, "public.later", idempotency_key="k")[1]


def test_two_hundred_clients_with_one_key_make_one_job(sessions: Sessions) -> None:
    """Two hundred clients that submit under the same key at once get one number, and one of them a new job."""
    clients = [sessions() for _ in range(200)]
    gate = threading.Barrier(len(clients))

    def run(client: psycopg.Connection) -> tuple[int, bool]:
        gate.wait()
        return submit(client, idempotency_key="once")

    with ThreadPoolExecutor(len(clients)) as pool:
        answers = list(pool.map(run, clients))
    assert len({job for job, _ in answers}) == 1
    assert sorted(is_new for _, is_new in answers) == [False] * 199 + [True]
    assert clients[0].execute("SELECT count(*) FROM evtool_jobs.jobs").fetchone() == (1,)


def test_a_key_that_is_not_committed_yet_is_waited_for(sessions: Sessions) -> None:
    """The second of two submissions under one key waits for the first, and has the key where that is rolled back."""
    first, second = sessions(), sessions()
    with ThreadPoolExecutor(1) as pool:
        with first.transaction(force_rollback=True):
            submit(first, idempotency_key="k")
            answer = pool.submit(submit, second, idempotency_key="k")
            while first.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone() == (0,):
                assert not answer.done()
        assert answer.result(30)[1]


@pytest.mark.parametrize(
    ("given", "mark"),
    [
        ({"kind": "both"}, "job_kind"),
        ({"kind": None}, "job_kind"),
        ({"resource": ""}, "job_resource"),
        ({"request": [1]}, "job_request"),
        ({"idempotency_key": ""}, "job_key"),
        ({"idempotency_key": "é" * 251}, "job_key"),
        ({"after": [99]}, "job_after"),
        ({"max_attempts": 0}, "job_request"),
        ({"run_at": "infinity"}, "job_request"),
        ({"run_at": "-infinity"}, "job_request"),
        ({"request": {"source": "https://user:secret@host/x"}}, "job_request"),
        ({"request": {"source": "HTTP://token@host"}}, "job_request"),
    ],
)
def test_what_is_no_job_is_refused(session: psycopg.Connection, given: dict[str, Any], mark: str) -> None:
    """A job without kind, resource or request, with an impossible key or time, or a password, is not queued."""
    assert refused(session, **given) == mark
    assert session.execute("SELECT count(*) FROM evtool_jobs.jobs").fetchone() == (0,)


def _claim(session: psycopg.Connection) -> int | None:
    row = session.execute("SELECT job FROM evtool_jobs.claim('w')").fetchone()
    return row[0] if row else None


def _finish(session: psycopg.Connection, job: int) -> None:
    session.execute("SELECT evtool_jobs.finish(id, token) FROM evtool_jobs.jobs WHERE id = %s", (job,))


def test_imports_into_tables_that_refer_to_each_other_wait(session: psycopg.Connection) -> None:
    """Comments wait for earlier articles and users, articles for users, and later users for all of them."""
    users = submit(session, "users")[0]
    articles = submit(session, "articles")[0]
    comments = submit(session, "comments")[0]
    again = submit(session, "users")[0]
    unrelated = submit(session, "posts")[0]
    waits = dict(session.execute("SELECT job, waits_for FROM evtool_jobs.status").fetchall())
    assert waits == {
        users: [],
        articles: [users],
        comments: [users, articles],
        again: [articles, comments],
        unrelated: [],
    }
    assert [_claim(session) for _ in range(3)] == [users, unrelated, None]
    _finish(session, users)
    assert [_claim(session) for _ in range(2)] == [articles, None]
    _finish(session, articles)
    assert _claim(session) == comments
    assert _claim(session) is None
    _finish(session, comments)
    assert _claim(session) == again


def test_an_import_that_has_begun_is_waited_for_by_earlier_ones(sessions: Sessions) -> None:
    """An import that was submitted at the same time, or is retried, doesn't run beside one that refers to its table."""
    one, other = sessions(), sessions()
    with one.transaction():
        # drawn first, and to be seen last
        users = submit(one, "users")[0]
        articles = submit(other, "articles")[0]
        assert _claim(other) == articles
    assert _claim(one) is None
    assert one.execute("SELECT waits_for FROM evtool_jobs.status WHERE job = %s", (users,)).fetchone() == ([articles],)
    _finish(one, articles)
    assert _claim(one) == users
    later = submit(one, "articles")[0]
    one.execute("SELECT evtool_jobs.cancel(%s)", (users,))
    one.execute("SELECT evtool_jobs.finish(id, token, NULL, true) FROM evtool_jobs.jobs WHERE id = %s", (users,))
    assert _claim(one) == later
    one.execute("SELECT evtool_jobs.retry(%s)", (users,))
    assert _claim(one) is None
    # who has begun and fell silent is taken up, whoever waits for it
    one.execute("UPDATE evtool_jobs.jobs SET lease_until = now() - interval '1s' WHERE id = %s", (later,))
    assert _claim(one) == later
    _finish(one, later)
    assert _claim(one) == users


def test_two_claims_at_once_do_not_overlook_each_other(sessions: Sessions) -> None:
    """While a claim isn't committed the next one waits, and then sees what has begun."""
    one, other, watch = sessions(), sessions(), sessions()
    with one.transaction():
        users = submit(one, "users")[0]
        submit(other, "articles")
    waits = "SELECT EXISTS (SELECT FROM pg_locks WHERE pid = %s AND locktype = 'advisory' AND NOT granted)"
    with ThreadPoolExecutor(1) as pool:
        with one.transaction():
            assert _claim(one) == users
            second = pool.submit(_claim, other)
            until(lambda: watch.execute(waits, (other.info.backend_pid,)).fetchone() == (True,))
        assert second.result() is None


def test_references_may_be_named_where_there_are_no_foreign_keys(session: psycopg.Connection) -> None:
    """refers_to stands for foreign keys that the database doesn't have; a table is known by whatever name is right."""
    session.execute("CREATE SCHEMA other; CREATE TABLE other.child (id int); CREATE TABLE other.parent (id int)")
    parent = submit(session, "p", target="other.parent")[0]
    child = submit(session, "c", target='"other".child', refers_to=['other."parent"'])[0]
    assert session.execute("SELECT waits_for FROM evtool_jobs.status WHERE job = %s", (child,)).fetchone() == (
        [parent],
    )


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("users", "public.users"),
        ("Sales.Invoices", "sales.invoices"),
        ('"My Shop"."a.b"', '"My Shop"."a.b"'),
        ("not a name", "not a name"),
        ("a.b.c", "a.b.c"),
        ("", ""),
        ("x.", "x."),
    ],
)
def test_a_table_has_one_spelling(session: psycopg.Connection, name: str, shown: str) -> None:
    """However a table is written, jobs know it by one text (table_named)."""
    row = session.execute("SELECT evtool_jobs.table_named(%s, 'public')", (name,)).fetchone()
    assert row == (shown,)


def test_imports_into_one_table_run_side_by_side(session: psycopg.Connection) -> None:
    """Two jobs of the same table don't wait for each other, unless `after` says so."""
    first, second = submit(session)[0], submit(session)[0]
    third = submit(session, after=[first])[0]
    assert [_claim(session), _claim(session), _claim(session)] == [first, second, None]
    _finish(session, first)
    assert _claim(session) == third


def test_an_export_waits_for_earlier_imports_into_its_table(session: psycopg.Connection) -> None:
    """An export has what was queued before it, and imports don't wait for exports."""
    first = submit(session)[0]
    export = submit(session, kind="export", request={"output": "/x"})[0]
    later = submit(session)[0]
    assert [_claim(session), _claim(session), _claim(session)] == [first, later, None]
    _finish(session, first)
    assert _claim(session) == export


def test_a_long_queue_is_not_gone_through_by_each_claim(session: psycopg.Connection) -> None:
    """Behind thousands of jobs that wait for others a claim finds its own by a bounded number of looks at jobs."""
    session.execute("SELECT evtool_jobs.submit('import', 'users', '{}') FROM generate_series(1, 300)")
    session.execute("SELECT evtool_jobs.submit('import', 'articles', '{}') FROM generate_series(1, 300)")
    session.execute("UPDATE evtool_jobs.jobs SET priority = 1 WHERE resource = 'articles'")
    reads = "SELECT COALESCE(sum(idx_tup_fetch + seq_tup_read), 0)::bigint FROM pg_stat_xact_user_tables WHERE relname = 'jobs'"
    with session.transaction():
        before = session.execute(reads).fetchone()
        assert session.execute("SELECT resource FROM evtool_jobs.claim('w')").fetchone() == ("users",)
        after = session.execute(reads).fetchone()
    assert before is not None
    assert after is not None
    # once for the tables that are imported into, once for those that wait
    assert after[0] - before[0] < 3 * 600


def test_looking_at_a_few_jobs_costs_a_few(session: psycopg.Connection) -> None:
    """Whom jobs wait for is worked out for those that are asked for, and not for the whole queue."""
    query = "SELECT job, waits_for FROM evtool_jobs.status ORDER BY job DESC LIMIT 10"
    session.execute("SELECT evtool_jobs.submit('import', 'articles', '{}') FROM generate_series(1, 200)")
    row = session.execute(f"EXPLAIN (ANALYZE, TIMING off, FORMAT json) {query}").fetchone()
    assert row is not None
    loops = [node["Actual Loops"] for node in _nodes(row[0][0]["Plan"]) if node.get("Parent Relationship") == "SubPlan"]
    assert loops == [10]


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for inner in node.get("Plans", ()):
        yield from _nodes(inner)


def test_a_job_with_a_higher_priority_is_claimed_first(session: psycopg.Connection) -> None:
    """Priority comes before age, and age before anything else."""
    low, normal, high = (submit(session, priority=priority)[0] for priority in (-1, 0, 7))
    assert [_claim(session), _claim(session), _claim(session)] == [high, normal, low]


def test_a_job_for_later_is_not_claimed_before(session: psycopg.Connection) -> None:
    """run_at keeps a job until then."""
    job = submit(session, run_at="2999-01-01T00:00:00Z")[0]
    assert _claim(session) is None
    assert session.execute("SELECT elapsed FROM evtool_jobs.status").fetchone() == (None,)
    session.execute("UPDATE evtool_jobs.jobs SET run_at = now()")
    assert _claim(session) == job


def test_submitting_wakes_who_listens(sessions: Sessions) -> None:
    """A worker that LISTENs hears of a job when it is committed (wake)."""
    worker, client = sessions(), sessions()
    worker.execute("LISTEN evtool_jobs")
    with client.transaction():
        submit(client)
        assert list(worker.notifies(timeout=0.2)) == []
    assert [heard.payload for heard in worker.notifies(timeout=10, stop_after=1)] == [""]
