"""The schema of the queue: the same by every way, and everybody's rights on it."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from psycopg import sql

import evtool
from evtool import sqltext
from evtool.bulk import installing as bulk_installing
from evtool.bulk.jobs import installing
from evtool.bulk.jobs.queue import open_queue
from evtool.errors import DatabaseTooNew, MigrationFailed, NamespaceRefused, NotMigrated
from tests.bulk.jobs.workers import Workers, users
from tests.cli.running import Cli

INSTALL = sqltext.folder("sql") / "jobs" / "install.sql"
ROLES = ("evtool_jobs_reader", "evtool_jobs_submitter", "evtool_jobs_worker")
SUBMIT = "SELECT evtool_jobs.submit('import', 'users', '{\"source\": \"/x\"}')"


@pytest.fixture
def migrated(make_database: Callable[..., str]) -> Callable[[], str]:
    """Makes a database with a registry."""

    def make() -> str:
        made = make_database()
        with evtool.connect(made) as store:
            store.migrate()
        return made

    return make


def test_the_queue_is_the_same_by_every_way(migrated: Callable[[], str], psql: Any, dump: Any) -> None:
    """--init by Alembic, the SQL that --init --sql prints, and install.sql by psql give the same schema, and are current."""
    by_alembic, printed, by_psql = migrated(), migrated(), migrated()
    assert installing.install_at(by_alembic)[0] == "created"
    psql(printed, installing.script())
    psql(by_psql, file=INSTALL)
    psql(by_psql, file=INSTALL)
    assert dump(printed, "evtool_jobs") == dump(by_alembic, "evtool_jobs")
    assert dump(by_psql, "evtool_jobs") == dump(by_alembic, "evtool_jobs")
    for dsn in (by_alembic, printed, by_psql):
        assert installing.install_at(dsn)[0] == "current"


def test_install_sql_makes_the_registry_too(make_database: Callable[..., str], psql: Any) -> None:
    """Psql needs nothing but an empty database."""
    made = make_database()
    psql(made, file=INSTALL)
    with open_queue(made) as queue:
        assert queue.left() == (False, None)


def test_what_was_changed_by_hand_is_put_back(migrated: Callable[[], str], dump: Any) -> None:
    """A function of somebody else's making is replaced, and a missing one made."""
    dsn = migrated()
    installing.install_at(dsn)
    before = dump(dsn, "evtool_jobs")
    with psycopg.connect(dsn, autocommit=True) as session:
        session.execute("DROP VIEW evtool_jobs.errors")
        session.execute(
            "CREATE OR REPLACE FUNCTION evtool_jobs.wake() RETURNS void LANGUAGE plpgsql AS 'BEGIN PERFORM 1; END'"
        )
    assert installing.install_at(dsn)[0] == "functions replaced"
    assert dump(dsn, "evtool_jobs") == before


def test_a_queue_of_another_version_is_not_used(migrated: Callable[[], str]) -> None:
    """Newer tables, and functions of an older make, are said to be so; a foreign schema is left alone."""
    dsn = migrated()
    with pytest.raises(NotMigrated), open_queue(dsn):
        pass
    installing.install_at(dsn)
    with psycopg.connect(dsn, autocommit=True) as session:
        session.execute("DROP FUNCTION evtool_jobs.claim")
        with pytest.raises(MigrationFailed), open_queue(dsn):
            pass
        session.execute("UPDATE evtool_jobs.evtool_version SET version_num = '9999'")
        with pytest.raises(DatabaseTooNew), open_queue(dsn):
            pass
        with pytest.raises(DatabaseTooNew):
            installing.install_at(dsn)
        session.execute("DROP SCHEMA evtool_jobs CASCADE; CREATE SCHEMA evtool_jobs")
        with pytest.raises(NamespaceRefused):
            installing.install_at(dsn)


@pytest.fixture
def as_role(queue_dsn: str, session: psycopg.Connection) -> Any:
    """Opens a session in the role of a member of some groups."""
    with contextlib.ExitStack() as opened:

        def make(*groups: str) -> psycopg.Connection:
            name = f"{session.info.dbname}_{'_'.join(groups) or 'nobody'}"
            session.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(name)))
            opened.callback(session.execute, sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))
            for group in groups:
                session.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(group), sql.Identifier(name)))
            made = psycopg.connect(queue_dsn, autocommit=True)
            opened.callback(made.close)
            made.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(name)))
            return made

        yield make


def _may(session: psycopg.Connection, statement: str) -> bool:
    try:
        session.execute(statement)
    except psycopg.errors.InsufficientPrivilege:
        return False
    except psycopg.errors.RaiseException:
        return True
    return True


STATEMENTS = {
    "look": "SELECT * FROM evtool_jobs.status, evtool_jobs.errors, evtool_jobs.states, evtool_jobs.batches",
    "submit": SUBMIT,
    "cancel": "SELECT evtool_jobs.cancel(1)",
    "retry": "SELECT evtool_jobs.retry(1)",
    "purge": "SELECT evtool_jobs.purge()",
    "claim": "SELECT evtool_jobs.claim('w')",
    "heartbeat": "SELECT evtool_jobs.heartbeat(1, 1)",
    "record": "SELECT evtool_jobs.record_batch(1, 1, 1, 1, 1, 1, 1, 1, 1, 1)",
    "finish": "SELECT evtool_jobs.finish(1, 1)",
    "fail": "SELECT evtool_jobs.fail(1, 1, 'a', 'b')",
    "release": "SELECT evtool_jobs.release(1, 1)",
    "held": "SELECT evtool_jobs.held(1, 1)",
    "wake": "SELECT evtool_jobs.wake()",
    "grant_roles": "SELECT evtool_jobs.grant_roles()",
    "write": "UPDATE evtool_jobs.jobs SET priority = 1",
    "insert": "INSERT INTO evtool_jobs.rejects VALUES (1, 1, 1, '[]', '')",
    "truncate": "TRUNCATE evtool_jobs.jobs CASCADE",
}


@pytest.mark.parametrize(
    ("groups", "may"),
    [
        ((), set()),
        (("evtool_jobs_reader",), {"look"}),
        (("evtool_jobs_submitter",), {"look", "submit", "cancel", "retry", "purge"}),
        (("evtool_jobs_worker",), {"look", "claim", "heartbeat", "record", "finish", "fail", "release"}),
    ],
    ids=["nobody", "reader", "submitter", "worker"],
)
def test_everybody_may_do_what_is_theirs(as_role: Any, groups: tuple[str, ...], may: set[str]) -> None:
    """Readers look, submitters submit, workers work, and PUBLIC may nothing; nobody writes the tables around them."""
    session = as_role(*groups)
    assert {name for name, statement in STATEMENTS.items() if _may(session, statement)} == may


def test_a_job_says_who_submitted_it(as_role: Any) -> None:
    """The login that submitted a job is on record, whatever role it has taken."""
    session = as_role("evtool_jobs_submitter")
    session.execute(SUBMIT)
    row = session.execute("SELECT submitted_by = session_user FROM evtool_jobs.status").fetchone()
    assert row == (True,)


def test_a_worker_s_search_path_does_not_lead_the_functions_astray(as_role: Any, session: psycopg.Connection) -> None:
    """Functions with their owner's rights find their own tables, whatever the caller has made in temporary ones."""
    submitter = as_role("evtool_jobs_submitter")
    submitter.execute("CREATE TEMPORARY TABLE jobs (id bigint); SET search_path = pg_temp, public")
    submitter.execute(SUBMIT)
    submitter.execute("DROP TABLE pg_temp.jobs")
    assert session.execute("SELECT count(*) FROM evtool_jobs.jobs").fetchone() == (1,)


def test_a_role_that_is_a_login_is_not_taken_for_a_group(
    migrated: Callable[[], str], session: psycopg.Connection
) -> None:
    """A cluster where a login has the name of a group is told so, instead of giving that login rights."""
    dsn = migrated()
    session.execute("ALTER ROLE evtool_jobs_reader LOGIN")
    try:
        with pytest.raises(NamespaceRefused):
            installing.install_at(dsn)
    finally:
        session.execute("ALTER ROLE evtool_jobs_reader NOLOGIN")
    assert installing.install_at(dsn)[0] == "created"


@pytest.mark.parametrize("drain", [True, False], ids=["drain", "stay"])
def test_a_login_that_is_no_worker_is_told_so(
    queue_dsn: str, session: psycopg.Connection, tmp_path: Any, drain: bool
) -> None:
    """Whoever may not do jobs gets exit code 1 and the role that it takes, before a process is started."""
    name = f"{session.info.dbname}_reader"
    session.execute(
        sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'x' IN ROLE evtool_jobs_reader").format(sql.Identifier(name))
    )
    own = psycopg.conninfo.make_conninfo(queue_dsn, user=name, password="x")
    try:
        with Workers(own, tmp_path) as workers:
            started = workers.start(*(["--drain"] if drain else []))
            assert started.wait() == 1
        assert started.events("worker started") == []
        for told in ("".join(started.lines), Cli(own)("bulk", "cancel", "1").err):
            assert "PERMISSION_DENIED" in told
            assert "evtool_jobs_worker" in told
            assert "<schema>" not in told
    finally:
        session.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


def test_a_worker_needs_no_superuser(queue_dsn: str, session: psycopg.Connection, tmp_path: Any) -> None:
    """A login in evtool_jobs_worker with rights on its table does jobs, and ends a silent predecessor of its own."""
    name = f"{session.info.dbname}_login"
    session.execute(
        sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'x' IN ROLE evtool_jobs_worker").format(sql.Identifier(name))
    )
    session.execute(sql.SQL("GRANT INSERT, SELECT ON users TO {}").format(sql.Identifier(name)))
    session.execute(sql.SQL("GRANT USAGE ON SCHEMA evtool_bulk TO {}").format(sql.Identifier(name)))
    session.execute(sql.SQL("GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA evtool_bulk TO {}").format(sql.Identifier(name)))
    own = psycopg.conninfo.make_conninfo(queue_dsn, user=name, password="x")
    try:
        path = users(tmp_path / "users.csv", 10)
        session.execute(
            "SELECT evtool_jobs.submit('import', 'users', jsonb_build_object('source', %s::text))", (str(path),)
        )
        with psycopg.connect(own, autocommit=True) as silent:
            silent.execute(
                "SELECT * FROM evtool_jobs.claim('silent', '1ms', pg_backend_pid(),"
                " (SELECT backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()))"
            )
            with Workers(own, tmp_path) as workers:
                workers.drain()
            with pytest.raises(psycopg.OperationalError):
                silent.execute("SELECT 1")
        assert session.execute("SELECT state, accepted FROM evtool_jobs.status").fetchone() == ("completed", 10)
    finally:
        session.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(name)))
        session.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


def test_what_imports_need_is_the_same_by_psql(make_database: Callable[..., str], psql: Any, dump: Any) -> None:
    """install.sql of the bulk functions, without any option, makes what a first import makes; then it changes nothing."""
    by_evtool, by_psql = make_database(), make_database()
    with psycopg.connect(by_evtool, autocommit=True) as session:
        assert bulk_installing.install(session)
    install = sqltext.folder("sql") / "bulk" / "install.sql"
    psql(by_psql, file=install)
    psql(by_psql, file=install)
    psql(by_psql, file=INSTALL)
    assert dump(by_psql, "evtool_bulk") == dump(by_evtool, "evtool_bulk")
    with psycopg.connect(by_psql, autocommit=True) as session:
        assert not bulk_installing.install(session)
        session.execute("UPDATE evtool_bulk.evtool_version SET version_num = '9999'")
        before = dump(by_psql, "evtool_bulk")
        psql(by_psql, file=install, fails=True)
        assert dump(by_psql, "evtool_bulk") == before


def test_a_registry_is_not_half_made(make_database: Callable[..., str], pg_program: Any) -> None:
    """Outside a transaction, where a SET LOCAL sets nothing, psql is told to take the option -1, and nothing is there."""
    made = make_database()
    install = sqltext.folder("sql") / "registry" / "install.sql"
    command = [str(pg_program("psql")), "-X", "-q", "-d", made, "-f", str(install)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 3
    assert "division by zero" in done.stderr
    with psycopg.connect(made) as session:
        query = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace"
        assert session.execute(query).fetchone() == (0,)
        assert session.execute("SELECT to_regnamespace('evtool')").fetchone() == (None,)
    subprocess.run([*command[:1], "-1", *command[1:]], capture_output=True, timeout=60, check=True)
