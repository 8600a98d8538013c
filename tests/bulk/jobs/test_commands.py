"""`evtool bulk submit | worker | jobs | status | errors | cancel | retry | purge`, as their users run them."""

from __future__ import annotations

import csv
import hashlib
import json
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from evtool.bulk.jobs.model import Submission
from evtool.bulk.jobs.queue import Queue
from tests.bulk.jobs.web import Web
from tests.bulk.jobs.workers import Workers, until, users
from tests.cli.running import Cli, assert_one_line


@pytest.fixture
def submit(cli: Cli) -> Callable[..., int]:
    """Queues a job and returns its number."""
    return lambda *arguments: int(cli("bulk", "submit", *arguments).ok().out)


def _status(cli: Cli, job: int) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(cli("bulk", "status", str(job), "--json").ok().out)
    return found


def test_an_import_from_submission_to_its_errors(
    cli: Cli, submit: Callable[..., int], workers: Workers, tmp_path: Path
) -> None:
    """A file is queued, done, counted, and its refused records are told with their lines, as NDJSON and as CSV."""
    path = users(tmp_path / "users.csv", 250, bad_every=100)
    job = submit("import", "users", path, "--batch-size", "100")
    workers.drain()
    row = _status(cli, job)
    counters = ("state", "batches", "total", "accepted", "inserted", "rejected", "errors", "error_rate")
    assert [row[name] for name in counters] == ["completed_with_errors", 3, 250, 247, 247, 3, 3, 0.012]
    assert row["source"] == {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "bytes": path.stat().st_size}
    lines = path.read_text().splitlines()
    rejects = [json.loads(line) for line in cli("bulk", "errors", str(job)).ok().out.splitlines()]
    assert [reject["line"] for reject in rejects] == [2, 102, 202]
    for reject in rejects:
        assert reject["raw"] == lines[reject["line"] - 1]
        assert [(error["field"], error["value"], error["code"]) for error in reject["errors"]] == [
            ("role", "king", "invalid_role")
        ]
    rows = list(csv.reader(cli("bulk", "errors", str(job), "--format", "csv").ok().out.splitlines()))
    assert rows[0] == ["line", "field", "value", "code", "message", "raw"]
    assert [(int(row[0]), row[1], row[2], row[3], row[5]) for row in rows[1:]] == [
        (reject["line"], "role", "king", "invalid_role", reject["raw"]) for reject in rejects
    ]


def test_an_idempotency_key_on_the_command_line(cli: Cli, submit: Callable[..., int], tmp_path: Path) -> None:
    """The same file under the same key is the same job; the same name with other content is exit code 4."""
    path = users(tmp_path / "users.csv", 3)
    job = submit("import", "users", path, "--idempotency-key", "k")
    again = cli("bulk", "submit", "import", "users", path, "--idempotency-key", "k", "--json").ok()
    assert json.loads(again.out) == {"job": job, "is_new": False}
    users(path, 4)
    taken = cli("bulk", "submit", "import", "users", path, "--idempotency-key", "k")
    assert_one_line(taken, 4, "IDEMPOTENCY_KEY_TAKEN", f"job {job}")


def test_a_file_that_changed_since_its_submission_is_refused(
    cli: Cli, submit: Callable[..., int], workers: Workers, session: psycopg.Connection, tmp_path: Path
) -> None:
    """What is imported is what was submitted, or nothing."""
    path = users(tmp_path / "users.csv", 3)
    job = submit("import", "users", path)
    users(path, 4)
    workers.drain()
    row = _status(cli, job)
    assert (row["state"], row["error_code"], row["total"]) == ("failed", "SOURCE_CHANGED", 0)
    assert session.execute("SELECT count(*) FROM users").fetchone() == (0,)


def test_hostile_bytes_are_in_the_report(
    cli: Cli, submit: Callable[..., int], workers: Workers, tmp_path: Path
) -> None:
    """Records with NULs, latin-1, backslashes, half a quote or no end are rejected one by one, and told by their lines."""
    head = b"active,role,email,name\n"
    rows = [
        *(
            b"true,reader,a@x.org,A",
            b"true,reader,b@x.org,\x00",
            b"true,reader,c@x.org,\xe9",
            b'true,reader,d@x.org,"half',
            b"true,reader,e@x.org",
        ),
        *(b"true,reader,f@x.org,\\N\\.", b"true,reader,g@x.org,G\t\\"),
    ]
    path = tmp_path / "users.csv"
    path.write_bytes(head + b"\n".join(rows))
    job = submit("import", "users", path, "--batch-size", "2")
    workers.drain()
    row = _status(cli, job)
    assert (row["state"], row["total"], row["accepted"], row["rejected"]) == ("completed_with_errors", 7, 3, 4)
    lines = [json.loads(line)["line"] for line in cli("bulk", "errors", str(job)).ok().out.splitlines()]
    assert lines == [3, 4, 5, 6]


def test_jobs_reach_only_files_that_they_may(
    queue: Queue, workers: Workers, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A file elsewhere, a link that leads out, a folder and a device are refused, to read and to write."""
    outside = tmp_path_factory.mktemp("outside")
    users(outside / "users.csv", 3)
    (tmp_path / "link.csv").symlink_to(outside / "users.csv")
    (tmp_path / "out").symlink_to(outside)
    (tmp_path / "folder").mkdir()
    sources = [
        *(outside / "users.csv", tmp_path / "link.csv", tmp_path / "folder", tmp_path / "none.csv"),
        *("/dev/zero", f"{tmp_path}/../{outside.name}/users.csv"),
    ]
    outputs = [outside / "x.csv", tmp_path / "out" / "x.csv", tmp_path / "folder", tmp_path / "link.csv"]
    jobs = [queue.submit(Submission("import", "users", {"source": str(source)}))[0] for source in sources]
    jobs += [queue.submit(Submission("export", "users", {"output": str(output)}))[0] for output in outputs]
    workers.drain()
    assert [(queue.status(job)["state"], queue.status(job)["error_code"]) for job in jobs] == [
        ("failed", "FILE")
    ] * len(jobs)
    assert list(outside.iterdir()) == [outside / "users.csv"]


def test_an_export_appears_with_its_manifest(
    cli: Cli, submit: Callable[..., int], workers: Workers, tmp_path: Path
) -> None:
    """An export that waits for its import has all its records, and nothing else is left in the folder."""
    submit("import", "users", users(tmp_path / "users.csv", 30))
    output = tmp_path / "out.ndjson"
    job = submit("export", "users", "-o", output, "--columns", "email,name", "--where", "role=reader")
    workers.drain("--workers", "2")
    row = _status(cli, job)
    assert (row["state"], row["total"], row["accepted"]) == ("completed", 30, 30)
    lines = output.read_text().splitlines()
    assert sorted(json.loads(line)["email"] for line in lines) == sorted(
        f"u{number}@example.org" for number in range(30)
    )
    manifest = json.loads((tmp_path / "out.ndjson.manifest.json").read_text())
    assert manifest == row["result"]
    assert manifest["sha256"] == hashlib.sha256(output.read_bytes()).hexdigest()
    assert {path.name for path in tmp_path.iterdir()} == {"users.csv", "out.ndjson", "out.ndjson.manifest.json"}


def test_a_source_on_the_web(cli: Cli, submit: Callable[..., int], workers: Workers, tmp_path: Path) -> None:
    """A URL is fetched, in spite of cuts, and imported; workers that weren't told otherwise refuse private addresses."""
    content = users(tmp_path / "users.csv", 900).read_bytes()
    with Web(content) as web:
        web.cut_after = len(content) // 3
        refused = submit("import", "users", web.url())
        workers.drain()
        assert _status(cli, refused)["error_code"] == "SOURCE_REFUSED"
        assert web.requests == []
        job = submit("import", "users", web.url("/a.csv?token=1"))
        workers.drain("--allow-private")
        assert (_status(cli, job)["state"], _status(cli, job)["total"]) == ("completed", 900)
        assert web.requests[0] is None
        assert all(request and request.startswith("bytes=") for request in web.requests[1:])
    assert list((tmp_path / "spool").iterdir()) == []


def test_a_fetch_is_gone_on_with_by_the_next_worker(
    cli: Cli, submit: Callable[..., int], workers: Workers, tmp_path: Path
) -> None:
    """What a killed worker has fetched is not fetched again: the next one asks for the rest."""
    content = users(tmp_path / "users.csv", 2000).read_bytes()
    with Web(content) as web:
        web.pace = 0.02
        job = submit("import", "users", web.url())
        started = workers.start("--allow-private", "--lease", "1", "--drain")
        parts = until(lambda: [part for part in (tmp_path / "spool").glob("*.part") if part.stat().st_size > 50_000])
        children = started.children()
        assert len(parts) == len(children) == 1
        web.pace = 0
        until(lambda: _kill(children[0]))
        assert started.wait() == 0
        assert _status(cli, job)["state"] == "completed"
        assert len(web.requests) == 2
        assert int((web.requests[1] or "").removeprefix("bytes=").removesuffix("-")) > 50_000


def _kill(pid: int) -> bool:
    import os

    os.kill(pid, signal.SIGKILL)
    return True


def test_too_many_rejects_fail_the_job(
    queue: Queue, submit: Callable[..., int], workers: Workers, tmp_path: Path
) -> None:
    """--max-errors ends an import behind the batch that has one too many, by number or by share."""
    path = users(tmp_path / "users.csv", 1000, bad_every=10)
    limits = {"15": 200, "5%": 100, "100": 1000, "10%": 1000}
    jobs = [
        submit("import", "users", path, "--batch-size", "100", "--max-errors", limit, "--mode", "upsert")
        for limit in limits
    ]
    workers.drain()
    rows = [queue.status(job) for job in jobs]
    assert [row["total"] for row in rows] == list(limits.values())
    assert [row["error_code"] for row in rows] == ["TOO_MANY_REJECTS"] * 2 + [None] * 2


def test_watching_ends_with_the_job_and_its_exit_code(
    cli: Cli, submit: Callable[..., int], workers: Workers, tmp_path: Path
) -> None:
    """status --watch shows each change once, ends when the job does, and says by its exit code how."""
    good = submit("import", "users", users(tmp_path / "good.csv", 300), "--batch-size", "100")
    bad = submit("import", "users", users(tmp_path / "bad.csv", 300, start=300, bad_every=50))
    failed = submit("import", "users", tmp_path / "none.csv")
    cancelled = submit("import", "users", tmp_path / "none.csv")
    cli("bulk", "cancel", str(cancelled)).ok()
    watching = cli.start("bulk", "status", str(good), "--watch", "--json", "--interval", "0.05")
    workers.drain()
    printed, _ = watching.communicate(timeout=60)
    looks = [json.loads(line) for line in printed.splitlines()]
    assert watching.returncode == 0
    assert looks[-1]["state"] == "completed"
    totals = [look["total"] for look in looks]
    assert totals == sorted(totals)
    codes = {job: cli("bulk", "status", str(job), "--watch").code for job in (good, bad, failed, cancelled)}
    assert codes == {good: 0, bad: 5, failed: 1, cancelled: 1}
    table = cli("bulk", "jobs", "--watch").ok().out
    assert [line.split()[0] for line in table.splitlines()] == ["JOB", *map(str, sorted(codes, reverse=True))]


def test_jobs_are_listed_by_state_and_resource(cli: Cli, queue: Queue) -> None:
    """The newest first, only those that are wanted, and at most so many."""
    request = {"source": "https://example.org/x.csv"}
    jobs = [queue.submit(Submission("import", name, request))[0] for name in ("users", "articles", "users")]
    queue.cancel(jobs[2])

    def listed(*arguments: str) -> list[int]:
        return [row["job"] for row in json.loads(cli("bulk", "jobs", "--json", *arguments).ok().out)]

    assert listed() == jobs[::-1]
    assert listed("--state", "pending") == jobs[1::-1]
    assert listed("--resource", "users", "--state", "pending") == jobs[:1]
    assert listed("--limit", "2") == jobs[:0:-1]
    assert "no such jobs" in cli("bulk", "jobs", "--state", "failed").ok().err


def test_cancel_retry_and_purge_say_what_they_did(cli: Cli, submit: Callable[..., int]) -> None:
    """Each tells the job's state, as text and as JSON; what can't be done is one line with the next step."""
    job = submit("import", "users", "https://example.org/x.csv")
    assert f"job {job}: cancelled" in cli("bulk", "cancel", str(job)).ok().err
    assert json.loads(cli("bulk", "retry", str(job), "--json").ok().out) == [{"job": job, "state": "pending"}]
    assert_one_line(cli("bulk", "retry", str(job)), 1, "JOB_REFUSED", "pending")
    # of several all, or none
    assert_one_line(cli("bulk", "cancel", str(job), "99"), 1, "JOB_NOT_FOUND", "99")
    shown = cli("bulk", "status", str(job)).ok().out
    assert "state:            pending\n" in shown
    assert_one_line(cli("bulk", "cancel", "99"), 1, "JOB_NOT_FOUND", "evtool bulk jobs")
    assert_one_line(cli("bulk", "status", "99"), 1, "JOB_NOT_FOUND")
    cli("bulk", "cancel", str(job)).ok()
    assert json.loads(cli("bulk", "purge", "--older-than", "0s", "--json").ok().out) == {"purged": 1}
    assert cli("bulk", "purge", "--older-than", "soon").code == 2


def test_a_table_is_imported_and_exported_by_its_catalog(
    cli: Cli, submit: Callable[..., int], session: psycopg.Connection, workers: Workers, tmp_path: Path
) -> None:
    """--table takes any table, by its name or with its schema, in and out."""
    session.execute('CREATE SCHEMA shop; CREATE TABLE shop."Orders" (id integer PRIMARY KEY, n text NOT NULL)')
    (tmp_path / "orders.csv").write_text("id,n\n1,one\n2,\n3,three\n")
    imported = submit("import", "--table", 'shop."Orders"', tmp_path / "orders.csv")
    exported = submit("export", "--table", '"Orders"', "--schema", "shop", "-o", tmp_path / "out.csv")
    workers.drain()
    row = _status(cli, imported)
    assert (row["state"], row["target"], row["accepted"]) == ("completed_with_errors", 'shop."Orders"', 2)
    assert _status(cli, exported)["accepted"] == 2
    # for people: times with their unit, and what is made of parts as JSON
    shown = cli("bulk", "status", str(imported)).ok().out
    assert re.search(r"^elapsed: +[0-9.]+s$", shown, re.MULTILINE)
    assert re.search(r'^source: +\{"', shown, re.MULTILINE)
    assert (tmp_path / "out.csv").read_text().split() == ["id,n", "1,one", "3,three"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["import", "users"],
        ["import", "--table", "a", "users", "x.csv"],
        ["import", "--table", "a"],
        ["import", "users", "x.csv", "y.csv"],
        ["import", "users", "ftp://host/x"],
        ["import", "users", "https://u:secret@host/x"],
        ["import", "nosuch", "x.csv"],
        ["import", "users", "x.csv", "--max-errors", "many"],
        ["export", "users"],
        ["export", "users", "-o", "x", "--columns", "a,,b"],
    ],
    ids=" ".join,
)
def test_what_can_not_be_a_job_is_said_before_connecting(arguments: list[str]) -> None:
    """A submission that is wrong is refused without a server, and shows no password."""
    done = Cli("host=/nonexistent")("bulk", "submit", *arguments)
    assert done.code in {1, 2}
    assert done.out == ""
    assert "Traceback" not in done.err
    assert "/nonexistent" not in done.err
    assert "secret" not in done.err


def test_a_database_without_a_queue_says_how_to_get_one(empty_dsn: str) -> None:
    """Every command names `evtool bulk jobs --init`, workers without starting a process, and that makes it."""
    cli = Cli(empty_dsn)
    for arguments in (["jobs"], ["worker", "--drain"], ["submit", "export", "users", "-o", "x"]):
        assert_one_line(cli("bulk", *arguments), 1, "NOT_MIGRATED", "evtool bulk jobs --init")
    assert_one_line(cli("bulk", "jobs", "--init"), 1, "NOT_MIGRATED", "evtool migrate")
    cli("migrate").ok()
    assert "created" in cli("bulk", "jobs", "--init").ok().err
    assert "current" in cli("bulk", "jobs", "--init").ok().err
    cli("bulk", "worker", "--drain").ok()


def test_a_request_that_psql_wrote_is_looked_at_by_the_worker(
    queue: Queue, session: psycopg.Connection, workers: Workers, tmp_path: Path
) -> None:
    """What was never checked on its way into the queue fails the job, whatever is in it, and not the worker."""
    users(tmp_path / "users.csv", 3)
    good = json.dumps({"source": str(tmp_path / "users.csv")})
    bad = [
        *(
            "{}",
            '{"source": 1}',
            '{"source": "users.csv"}',
            '{"source": "/x", "format": "xml"}',
            '{"source": "/x", "x": 1}',
        ),
        *(
            '{"source": "/x", "batch_size": 0}',
            '{"source": "/x", "batch_size": true}',
            '{"source": "file:///etc/passwd"}',
        ),
        '{"source": "/x", "batch_size": 1e9}',
        # what the server takes for JSON and Python does not
        '{"source": "/x", "batch_size": ' + "9" * 5000 + "}",
        '{"source": "/x", "where": ' + "[" * 3000 + "]" * 3000 + "}",
    ]
    for request in (*bad, good):
        session.execute("SELECT evtool_jobs.submit('import', 'users', %s::jsonb)", (request,))
    session.execute("SELECT evtool_jobs.submit('import', 'nosuch', %s::jsonb)", (good,))
    session.execute("SELECT evtool_jobs.submit('import', '../../etc/x.toml', %s::jsonb)", (good,))
    started = workers.drain()
    rows = [queue.status(job) for job in range(1, len(bad) + 4)]
    assert [row["state"] for row in rows] == ["failed"] * len(bad) + ["completed", "failed", "failed"]
    assert {row["error_code"] for row in rows[: len(bad)]} <= {"JOB_REFUSED", "SOURCE_REFUSED"}
    assert "INTERNAL" not in {row["error_code"] for row in rows}
    # what is wrong with a request does not get better by waiting
    assert {row["attempts"] for row in rows} == {1}
    assert started.events("worker ended") == []


def test_a_killed_worker_s_half_export_is_cleared_away(
    submit: Callable[..., int], workers: Workers, tmp_path: Path
) -> None:
    """What earlier workers of an export left beside its place is gone when a later one is done; nothing else is."""
    output = tmp_path / "out.csv"
    job = submit("export", "users", "-o", output)
    left = [f".out.csv.{job}-0", f".out.csv.{job}-0.manifest.json", f"..out.csv.{job}-0.123.partial"]
    others = [f".out.csv.{job}-7", f".out.csv.{job + 1}-0", ".out.csv.mine", f".other.csv.{job}-0"]
    for name in (*left, *others):
        (tmp_path / name).write_text("half")
    workers.drain()
    assert {path.name for path in tmp_path.iterdir()} == {"out.csv", "out.csv.manifest.json", *others}


def test_a_spool_that_others_may_write_in_is_not_used(
    cli: Cli, submit: Callable[..., int], workers: Workers, tmp_path: Path
) -> None:
    """Whoever may write in the spool could change what is imported: the job fails and nothing is fetched."""
    (tmp_path / "spool").mkdir()
    (tmp_path / "spool").chmod(0o777)
    with Web(b"x") as web:
        job = submit("import", "users", web.url())
        workers.drain("--allow-private")
        assert web.requests == []
    row = _status(cli, job)
    assert (row["state"], row["error_code"]) == ("failed", "FILE")
    assert "spool" in row["error_message"]
