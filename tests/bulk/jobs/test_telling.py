"""What workers tell: metrics over HTTP and as a file, and logs."""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import socket
import threading
import urllib.request
from io import StringIO
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from prometheus_client.parser import text_string_to_metric_families

from evtool.bulk import logs
from evtool.bulk.jobs.model import Submission
from evtool.bulk.jobs.queue import Queue
from evtool.bulk.metrics import Exposition
from tests.bulk.jobs.test_kills import _slow, _submit
from tests.bulk.jobs.workers import Started, Workers, until, users

DOCS = Path(__file__).parents[3] / "docs" / "metrics.md"


def _scrape(started: Started) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """All samples that are answered, by name and labels."""
    return _samples(_answer(started))


def _answer(started: Started) -> str:
    """What Prometheus would get."""
    with urllib.request.urlopen(_url(started), timeout=10) as answer:
        text: str = answer.read().decode()
        return text


def _url(started: Started) -> str:
    """Where it is answered."""
    url: str = until(lambda: started.events("metrics served"))[0]["url"]
    return url


def _samples(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def _sum(samples: dict[tuple[str, frozenset[tuple[str, str]]], float], name: str, **labels: str) -> float:
    wanted = set(labels.items())
    return sum(value for (one, has), value in samples.items() if one == name and wanted <= has)


def test_metrics_add_up_over_processes_and_their_deaths(
    queue: Queue, session: psycopg.Connection, workers: Workers, tmp_path: Path
) -> None:
    """Counts are those of all workers, also of those that were killed; gauges are those of the ones that live."""
    for number in range(4):
        _submit(queue, users(tmp_path / f"{number}.csv", 500, start=number * 500, bad_every=100))
    _slow(session, 0.05)
    started = workers.start("--workers", "2", "--lease", "1", "--metrics-port", "0")
    until(lambda: _sum(_scrape(started), "evtool_bulk_connections_in_use") == 4)
    until(lambda: len(started.events("batch")) >= 4)
    os.kill(started.children()[0], signal.SIGKILL)
    until(lambda: all(row["state"] == "completed_with_errors" for row in queue.jobs()))
    until(lambda: _sum(_scrape(started), "evtool_bulk_connections_in_use") == 0)
    # the one that came for the one that was killed
    until(lambda: _sum(_scrape(started), "evtool_bulk_connections") == 2)
    samples = _scrape(started)
    # a batch that is committed but not counted yet when its worker is killed is missing here, and in no table
    inserted = _sum(samples, "evtool_bulk_records_total", kind="import", resource="users", result="inserted")
    assert 1980 - 100 <= inserted <= 1980
    assert 15 <= _sum(samples, "evtool_bulk_errors_total", code="invalid_role") <= 20
    assert 19 <= _sum(samples, "evtool_bulk_batch_seconds_count") <= 20
    assert _sum(samples, "evtool_bulk_jobs_total", state="completed_with_errors") == 4
    assert _sum(samples, "evtool_bulk_queue_jobs", state="completed_with_errors") == 4
    crashes = [line for line in started.lines if "ended" in line or not line.startswith("{")]
    assert _sum(samples, "evtool_bulk_worker_restarts_total") == 1, crashes
    assert _sum(samples, "evtool_bulk_workers") == 2
    assert _sum(samples, "evtool_bulk_connections") == 2
    assert _sum(samples, "evtool_bulk_database_up") == 1
    assert _sum(samples, "evtool_bulk_error_ratio", resource="users") == 0.01
    assert _sum(samples, "evtool_bulk_rows_per_second") == 0
    started.signal(signal.SIGTERM)
    assert started.wait() == 0


def test_every_metric_is_documented(queue: Queue, workers: Workers, tmp_path: Path) -> None:
    """docs/metrics.md lists exactly the metrics that are told."""
    _submit(queue, users(tmp_path / "users.csv", 100, bad_every=10))
    queue.connection.execute(
        "SELECT evtool_jobs.submit('export', 'users', %s::jsonb)", (json.dumps({"output": f"{tmp_path}/x"}),)
    )
    told = tmp_path / "evtool.prom"
    started = workers.start("--metrics-file", str(told), "--metrics-port", "0")
    until(lambda: _sum(_scrape(started), "evtool_bulk_jobs_total") == 2)
    families = {family.name for family in text_string_to_metric_families(_answer(started))}
    names = {re.sub("_total$", "", name) for name in re.findall(r"`(evtool_bulk_\w+)", DOCS.read_text())}
    assert names == families
    started.signal(signal.SIGTERM)
    assert started.wait() == 0
    # the last word is written when all has ended, whole
    left = _samples(told.read_text())
    assert _sum(left, "evtool_bulk_jobs_total") == 2
    assert _sum(left, "evtool_bulk_workers") == 0
    assert list(tmp_path.glob("evtool.prom*")) == [told]


def test_a_file_in_the_making_is_waited_for(tmp_path: Path) -> None:
    """A process that has just begun its file of counts does not make a scrape fail."""
    exposition = Exposition(str(tmp_path), lambda: None)
    young = tmp_path / "counter_1.db"
    young.write_bytes(b"")
    growing = threading.Timer(0.1, lambda: young.write_bytes(bytes(1 << 10)))
    growing.start()
    exposition.write(str(tmp_path / "x.prom"))
    growing.join()
    assert "evtool_bulk_database_up 0.0" in (tmp_path / "x.prom").read_text()


def test_metrics_are_for_this_machine_unless_said_otherwise(workers: Workers) -> None:
    """The port is open on the loopback interface alone; a port that is taken is an error, not a silence."""
    started = workers.start("--metrics-port", "0")
    _scrape(started)
    port = urlsplit(_url(started)).port
    outside = next(
        (
            address[4][0]
            for address in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)
            if not str(address[4][0]).startswith("127.")
        ),
        None,
    )
    if outside is not None:
        with pytest.raises(OSError, match="refused"):
            socket.create_connection((str(outside), port), timeout=5)
    taken = workers.start("--metrics-port", str(port))
    assert taken.wait() == 1
    assert any("--metrics-port" in line for line in taken.lines)


def test_the_database_may_be_away_when_metrics_are_asked_for(session: psycopg.Connection, workers: Workers) -> None:
    """Without the database a scrape is still answered, says that it is away, and the connection is had again."""
    started = workers.start("--metrics-port", "0")
    assert _sum(_scrape(started), "evtool_bulk_database_up") == 1
    name = session.info.dbname
    session.execute("UPDATE pg_database SET datallowconn = false WHERE datname = %s", (name,))
    try:
        session.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()",
            (name,),
        )
        until(lambda: _sum(_scrape(started), "evtool_bulk_database_up") == 0)
        samples = _scrape(started)
        assert _sum(samples, "evtool_bulk_workers") == 1
        assert not [name for name, _ in samples if name.startswith("evtool_bulk_queue")]
    finally:
        session.execute("UPDATE pg_database SET datallowconn = true WHERE datname = %s", (name,))
    until(lambda: _sum(_scrape(started), "evtool_bulk_database_up") == 1)


def test_logs_tell_of_each_job_and_batch(queue: Queue, workers: Workers, tmp_path: Path) -> None:
    """A JSON log has a job's rows a second, error rate and duration, and with -v each batch; no line is anything else."""
    job = _submit(queue, users(tmp_path / "users.csv", 300, bad_every=100))
    export, _ = queue.submit(Submission("export", "users", {"output": f"{tmp_path}/x.csv"}))
    started = workers.drain("--metrics-port", "0")
    assert all(line.startswith("{") for line in started.lines)
    begun, ended = started.events("job begun"), started.events("job ended")
    assert [event["job"] for event in (*begun, *ended)] == [job, export, job, export]
    assert (ended[1]["total"], ended[1]["error_rate"]) == (297, 0)
    assert ended[1]["rows_per_second"] > 0
    assert ended[1]["seconds"] > 0
    facts = ended[0]
    assert (facts["state"], facts["total"], facts["rejected"], facts["error_rate"]) == (
        "completed_with_errors",
        300,
        3,
        0.01,
    )
    assert facts["rows_per_second"] > 0
    assert facts["seconds"] > 0
    assert [event["batch"] for event in started.events("batch")] == [1, 2, 3]
    assert sum(event["total"] for event in started.events("batch")) == 300
    assert {"time", "level", "event"} <= set(facts)


def test_a_line_of_the_log_is_one_line() -> None:
    """Whatever a field holds, an event is one line, of JSON or for people, and the traceback comes only with -v."""
    for form, verbose in (("json", False), ("json", True), ("text", False)):
        stream = StringIO()
        logger = logs.configure(stream, form, verbose=verbose)
        try:
            int("two\nlines")
        except ValueError:
            logger.exception("failed", extra=logs.fields(name='a "b"\nc', number=1, none=None, other=Path("/x")))
        line = stream.getvalue()
        assert line.count("\n") == 1
        if form == "json":
            event = json.loads(line)
            assert (event["name"], event["number"], event["other"]) == ('a "b"\nc', 1, "/x")
            assert ("traceback" in event) is verbose
            assert "none" not in event
        else:
            assert 'failed  name="a \\"b\\"\\nc" number=1' in line
    logging.getLogger(logs.NAME).handlers.clear()


def test_workers_need_no_library_of_prometheus_unless_they_shall_tell(
    queue: Queue, workers: Workers, tmp_path: Path
) -> None:
    """Without the extra `metrics` workers do their jobs, and are refused with its name where metrics are asked for."""
    (tmp_path / "without").mkdir()
    (tmp_path / "without" / "sitecustomize.py").write_text("import sys\nsys.modules['prometheus_client'] = None\n")
    without = {"PYTHONPATH": f"{tmp_path / 'without'}{os.pathsep}{Path(__file__).parents[3]}"}
    job = _submit(queue, users(tmp_path / "users.csv", 20))
    refused = workers.start("--drain", "--metrics-port", "0", environment=without)
    assert refused.wait() == 2
    assert any("evtool[metrics]" in line for line in refused.lines)
    assert workers.start("--drain", environment=without).wait() == 0
    assert queue.status(job)["state"] == "completed"
