"""Many namespaces in one run: each for itself, several at a time, and none that fails stops another."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import conninfo, sql

import evtool
from evtool.errors import InvalidArgument, NamespaceNotFound, StoreTimeout
from evtool.model import MigrationPlan, MigrationStep
from evtool.stores.postgres import PostgresStore
from tests.cli.running import Cli

CHECKOUT = Path(__file__).resolve().parents[2]
SIZE = 24
NAMES = [f"shop_{number:02}" for number in range(SIZE)]
ALL = ["message_store", *NAMES]
GATE = 424243
DEADLINE = 60.0

MIGRATE = """
import sys, evtool
from evtool.model import MigrationPlan
for step in evtool.connect(sys.argv[1]).administration().migrate(MigrationPlan(jobs=3)):
    print(step.schema, step.action, flush=True)
"""


@pytest.fixture(scope="module")
def fleet_dsn(make_database: Callable[..., str]) -> str:
    """A database with a few dozen namespaces."""
    dsn = make_database()
    with evtool.connect(dsn) as store:
        store.migrate()
        for name in NAMES:
            store.create_namespace(name)
    return dsn


@pytest.fixture
def dba(fleet_dsn: str) -> Iterator[psycopg.Connection]:
    """A superuser's session on it, and every namespace's functions out of date."""
    with psycopg.connect(fleet_dsn, autocommit=True) as session:
        session.execute("UPDATE evtool.behaviours SET checksum = 'old' WHERE schema_name <> 'evtool'")
        yield session


@pytest.fixture
def hasty_dsn(fleet_dsn: str) -> str:
    """The same database for a migrator that waits a quarter of a second for a lock."""
    return conninfo.make_conninfo(fleet_dsn, options="-c lock_timeout=250ms")


def _migrate(dsn: str, **plan: Any) -> list[MigrationStep]:
    with PostgresStore(dsn) as store:
        return list(store.administration().migrate(MigrationPlan(**plan)))


def _by_action(steps: list[MigrationStep]) -> dict[str, list[str]]:
    actions: dict[str, list[str]] = {}
    for step in steps:
        if step.name is not None:
            actions.setdefault(step.action, []).append(step.name)
    return {action: sorted(names) for action, names in actions.items()}


@contextlib.contextmanager
def _locked(dsn: str, *names: str) -> Iterator[None]:
    """Holds the tables of namespaces, as a long transaction of somebody's does."""
    with psycopg.connect(dsn) as session:
        for name in names:
            session.execute(sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(sql.Identifier(name, "messages")))
        yield


def _until(condition: Callable[[], Any]) -> None:
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, "it never became true"
        time.sleep(0.005)


@pytest.mark.parametrize("jobs", [1, 4, 100])
def test_all_are_migrated_once_and_a_second_run_finds_nothing(
    fleet_dsn: str, dba: psycopg.Connection, jobs: int
) -> None:
    """However many jobs, even more than namespaces: a step for each, the registry's first, and then all is current."""
    steps = _migrate(fleet_dsn, jobs=jobs)
    assert steps[0].name is None
    assert _by_action(steps) == {"functions replaced": ALL}
    assert _by_action(_migrate(fleet_dsn, jobs=jobs)) == {"current": ALL}


def test_several_work_at_the_same_time(fleet_dsn: str, dba: psycopg.Connection) -> None:
    """With three jobs three sessions wait at three locks at the same moment."""
    held = NAMES[:3]
    with ThreadPoolExecutor(1) as pool:
        with _locked(fleet_dsn, *held):
            running = pool.submit(_migrate, fleet_dsn, jobs=3)
            waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'relation' AND NOT granted"
            _until(lambda: running.done() or dba.execute(waiting).fetchone() == (3,))
        assert _by_action(running.result(DEADLINE)) == {"functions replaced": ALL}


@pytest.mark.parametrize("jobs", [1, 3])
def test_one_that_fails_is_reported_and_the_others_go_on(
    fleet_dsn: str, hasty_dsn: str, dba: psycopg.Connection, jobs: int
) -> None:
    """Namespaces that somebody has locked fail with TIMEOUT and stay as they were; the next run does just those."""
    held = [NAMES[0], NAMES[7]]
    with _locked(fleet_dsn, *held):
        steps = _migrate(hasty_dsn, jobs=jobs)
    assert _by_action(steps) == {"failed": held, "functions replaced": [name for name in ALL if name not in held]}
    assert all(isinstance(step.error, StoreTimeout) is (step.name in held) for step in steps)
    assert _by_action(_migrate(hasty_dsn, jobs=jobs)) == {
        "functions replaced": held,
        "current": [name for name in ALL if name not in held],
    }


@pytest.mark.thorough
def test_nobody_waits_longer_than_ten_seconds_for_a_lock(fleet_dsn: str, dba: psycopg.Connection) -> None:
    """Without a lock_timeout of the role's the migrator sets one, for its transaction alone."""
    seen: list[Any] = []
    with _locked(fleet_dsn, NAMES[0]), ThreadPoolExecutor(1) as pool:
        start = time.monotonic()
        running = pool.submit(_migrate, fleet_dsn, namespaces=(NAMES[0],))
        seen = running.result(DEADLINE)
    assert _by_action(seen) == {"failed": [NAMES[0]]}
    assert 9 < time.monotonic() - start < 30


def test_the_one_who_calls_migrate_from_python_is_told_of_a_failure(
    fleet_dsn: str, hasty_dsn: str, dba: psycopg.Connection
) -> None:
    """`Store.migrate` does what it can and then raises the first failure."""
    with _locked(fleet_dsn, NAMES[3]), PostgresStore(hasty_dsn) as store, pytest.raises(StoreTimeout):
        store.migrate()
    assert _by_action(_migrate(fleet_dsn))["functions replaced"] == [NAMES[3]]


def test_only_those_that_are_named(fleet_dsn: str, dba: psycopg.Connection) -> None:
    """--namespace, repeated: no other is looked at, and a name that isn't there is refused before any is migrated."""
    with pytest.raises(NamespaceNotFound, match='there is no namespace "nowhere", "x\'"'):
        _migrate(fleet_dsn, namespaces=(NAMES[1], "nowhere", "x'"))
    assert _by_action(_migrate(fleet_dsn, namespaces=(NAMES[2], NAMES[1]))) == {"functions replaced": NAMES[1:3]}
    assert _by_action(_migrate(fleet_dsn))["current"] == NAMES[1:3]


@pytest.mark.parametrize("plan", [{"jobs": 0}, {"jobs": -1}, {"canary": -1}])
def test_a_plan_that_cant_be_followed_is_refused(fleet_dsn: str, plan: dict[str, int]) -> None:
    """No jobs, and fewer canaries than none."""
    with pytest.raises(InvalidArgument):
        _migrate(fleet_dsn, **plan)


def test_a_canary_that_fails_saves_the_others(fleet_dsn: str, hasty_dsn: str, dba: psycopg.Connection) -> None:
    """The first that have something to do go ahead, one by one; behind one that fails nothing is touched."""
    _migrate(fleet_dsn, namespaces=("message_store", NAMES[0]))
    with _locked(fleet_dsn, NAMES[2]):
        steps = _migrate(hasty_dsn, jobs=4, canary=2)
    assert _by_action(steps) == {
        "current": ["message_store", NAMES[0]],
        "functions replaced": [NAMES[1]],
        "failed": [NAMES[2]],
        "not tried": NAMES[3:],
    }
    query = "SELECT array_agg(schema_name ORDER BY schema_name) FROM evtool.behaviours WHERE checksum = 'old'"
    assert dba.execute(query).fetchone() == (NAMES[2:],)


def test_canaries_that_live_let_the_others_follow(fleet_dsn: str, dba: psycopg.Connection) -> None:
    """Behind the canaries everybody else is migrated, several at a time; more canaries than namespaces is fine."""
    assert _by_action(_migrate(fleet_dsn, jobs=4, canary=2)) == {"functions replaced": ALL}
    assert _by_action(_migrate(fleet_dsn, jobs=4, canary=SIZE * 2)) == {"current": ALL}


def test_two_fleets_at_once_share_the_work(fleet_dsn: str, dba: psycopg.Connection) -> None:
    """Each namespace is migrated by one of them and found done by the other; neither fails."""
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(_migrate, fleet_dsn, jobs=3) for _ in range(2)]
        steps = [step for run in runs for step in run.result(DEADLINE) if step.name is not None]
    assert Counter((step.name, step.action) for step in steps) == Counter(
        (name, action) for name in ALL for action in ("functions replaced", "current")
    )


@pytest.fixture
def gate(dba: psycopg.Connection) -> Iterator[Callable[[str], None]]:
    """Lets whoever replaces the functions of a schema wait in the middle while the test holds the gate."""

    def close(schema: str) -> None:
        dba.execute("SELECT pg_advisory_lock(%s)", (GATE,))
        dba.execute(
            "CREATE FUNCTION public.gate() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN"
            f" IF EXISTS (SELECT FROM pg_event_trigger_ddl_commands() WHERE object_identity = '{schema}.type_summary')"
            f" THEN PERFORM pg_advisory_xact_lock({GATE}); END IF; END $$"
        )
        dba.execute("CREATE EVENT TRIGGER gate ON ddl_command_end EXECUTE FUNCTION public.gate()")

    yield close
    dba.execute("SELECT pg_advisory_unlock_all()")
    dba.execute("DROP EVENT TRIGGER IF EXISTS gate")
    dba.execute("DROP FUNCTION IF EXISTS public.gate")


def _at_the_gate(dba: psycopg.Connection) -> int | None:
    row = dba.execute(
        "SELECT min(pid) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND objid = %s", (GATE,)
    ).fetchone()
    return row[0] if row else None


def test_a_fleet_that_is_killed_is_finished_by_the_next(fleet_dsn: str, dba: psycopg.Connection, gate: Any) -> None:
    """Kill -9 in the middle of a namespace: what was reported is done, that one is untouched, the next run does it."""
    gate(NAMES[5])
    with subprocess.Popen(
        [sys.executable, "-c", MIGRATE, fleet_dsn],
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        _until(lambda: _at_the_gate(dba) or child.poll() is not None)
        child.send_signal(signal.SIGKILL)
        assert child.stdout is not None
        reported = {line.split()[0] for line in child.stdout if line.endswith("replaced\n")}
    dba.execute("SELECT pg_advisory_unlock_all()")
    others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    _until(lambda: dba.execute(others).fetchone() == (0,))
    rows = dba.execute("SELECT schema_name, checksum = 'old' FROM evtool.behaviours").fetchall()
    stale = {schema for schema, is_old in rows if is_old}
    assert NAMES[5] in stale
    assert not reported & stale
    assert _by_action(_migrate(fleet_dsn))["functions replaced"] == sorted(stale)
    assert _by_action(_migrate(fleet_dsn)) == {"current": ALL}


def test_a_job_whose_connection_is_cut_goes_on_with_another(fleet_dsn: str, dba: psycopg.Connection, gate: Any) -> None:
    """The namespace that was being migrated fails and is reported; the job connects again and does the rest."""
    gate(NAMES[5])
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(_migrate, fleet_dsn)
        _until(lambda: _at_the_gate(dba) or running.done())
        dba.execute("SELECT pg_terminate_backend(%s)", (_at_the_gate(dba),))
        dba.execute("SELECT pg_advisory_unlock_all()")
        steps = running.result(DEADLINE)
    assert _by_action(steps) == {
        "failed": [NAMES[5]],
        "functions replaced": [name for name in ALL if name != NAMES[5]],
    }


def test_fewer_connections_than_jobs_are_enough(fleet_dsn: str, dba: psycopg.Connection) -> None:
    """Where the server has no more connections for the role, the jobs that got one do the work of all."""
    member = f"member_{os.getpid()}"
    dba.execute(
        sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'only for a test' CONNECTION LIMIT 2").format(sql.Identifier(member))
    )
    # ownership through membership: a superuser would be let in whatever the limit
    owner = dba.execute("SELECT nspowner::regrole::text FROM pg_namespace WHERE nspname = 'evtool'").fetchone()
    assert owner is not None
    dba.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(owner[0].strip('"')), sql.Identifier(member)))
    dsn = conninfo.make_conninfo(fleet_dsn, user=member, password="only for a test")
    assert _by_action(_migrate(dsn, jobs=8)) == {"functions replaced": ALL}


def test_a_caller_who_has_seen_enough_stops_the_fleet(fleet_dsn: str, dba: psycopg.Connection) -> None:
    """Closing the iterator ends the sessions, even one that waits for a lock, and every step is whole."""
    with _locked(fleet_dsn, NAMES[10]), PostgresStore(fleet_dsn) as store:
        steps = store.administration().migrate(MigrationPlan(jobs=2))
        for step in steps:
            if step.name == NAMES[5]:
                break
        closing = threading.Thread(target=steps.close)  # type: ignore[attr-defined]
        closing.start()
        closing.join(DEADLINE)
        assert not closing.is_alive()
    done = _by_action(_migrate(fleet_dsn))
    assert NAMES[5] in done["current"]
    assert NAMES[10] in done["functions replaced"]
    assert sorted(done["current"] + done["functions replaced"]) == ALL


def test_the_command_prints_a_table_and_fails_where_one_failed(
    fleet_dsn: str, hasty_dsn: str, dba: psycopg.Connection
) -> None:
    """A row for each that changed or failed, the reason on stderr, exit code 1; then 0, with what was left."""
    cli = Cli(hasty_dsn)
    with _locked(fleet_dsn, NAMES[4]):
        done = cli("migrate", "--jobs", "2", "--canary", "1")
    assert done.code == 1, done.err
    rows = {line.split()[0]: line.split()[2] for line in done.out.splitlines()[1:]}
    assert rows == {name: "failed" if name == NAMES[4] else "functions" for name in ALL}
    assert f'namespace "{NAMES[4]}": TIMEOUT: ' in done.err
    assert "24 functions replaced, 1 failed" in done.err
    again = cli("migrate", "--json").ok()
    outcomes = {one["name"]: one["outcome"] for one in json.loads(again.out)}
    expected = {name: "functions replaced" if name == NAMES[4] else "current" for name in ALL}
    assert outcomes == {None: "current", **expected}
    assert "Nothing to do: the registry and 25 namespaces are current." in cli("migrate", "--jobs", "3").ok().out


def test_the_command_reports_as_json(fleet_dsn: str, hasty_dsn: str, dba: psycopg.Connection) -> None:
    """--json has every outcome, with code, message and hint of what failed; --sql goes with none of it."""
    cli = Cli(hasty_dsn)
    with _locked(fleet_dsn, NAMES[0]):
        done = cli("migrate", "--namespace", NAMES[0], "--namespace", NAMES[1], "--json")
    assert done.code == 1
    first, second = sorted(json.loads(done.out)[1:], key=lambda one: one["name"])
    assert (first["outcome"], first["error"]["code"]) == ("failed", "TIMEOUT")
    assert first["error"]["hint"]
    assert (second["outcome"], second["error"]) == ("functions replaced", None)
    assert cli("migrate", "--sql", "--jobs", "2").code == 2
    assert cli("migrate", "--jobs", "x").code == 2
