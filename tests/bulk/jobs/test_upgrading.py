"""`evtool migrate` where bulk imports and jobs are installed: kept up to date there, and made nowhere else."""

from __future__ import annotations

import json

import psycopg

from tests.cli.running import Cli, assert_one_line

_SCHEMAS = ("evtool_bulk", "evtool_jobs")


def _states(cli: Cli) -> dict[str, tuple[str, bool]]:
    """What `migrate status` says of the functions of each schema, and whether that is as it should be."""
    told = json.loads(cli("migrate", "status", "--json").ok().out)
    return {state["schema"]: (state["functions"], state["current"]) for state in told}


def _spoil(session: psycopg.Connection) -> None:
    """Leaves functions that are not this version's."""
    session.execute("UPDATE evtool_bulk.behaviour SET checksum = repeat('0', 64)")
    session.execute("DROP VIEW evtool_jobs.errors")
    session.execute("UPDATE evtool.behaviours SET checksum = repeat('0', 64) WHERE schema_name = 'evtool_jobs'")


def test_migrate_brings_them_up_to_date(cli: Cli, session: psycopg.Connection) -> None:
    """Functions of another version are told by `migrate status` and replaced by `migrate`, once."""
    assert [_states(cli)[schema] for schema in _SCHEMAS] == [("current", True)] * 2
    assert "Nothing to do" in cli("migrate").ok().out
    _spoil(session)
    assert [_states(cli)[schema] for schema in _SCHEMAS] == [("outdated", False), ("changed", False)]
    assert "evtool migrate" in cli("migrate", "status").ok().err
    steps = {step["schema"]: step["outcome"] for step in json.loads(cli("migrate", "--json").ok().out)}
    assert [steps[schema] for schema in _SCHEMAS] == ["functions replaced"] * 2
    assert [_states(cli)[schema] for schema in _SCHEMAS] == [("current", True)] * 2
    assert session.execute("SELECT count(*) FROM evtool_jobs.errors").fetchone() == (0,)


def test_migrate_of_a_namespace_leaves_them_alone(cli: Cli, session: psycopg.Connection) -> None:
    """Who names namespaces wants those."""
    _spoil(session)
    cli("migrate", "--namespace", "message_store").ok()
    assert _states(cli)["evtool_bulk"] == ("outdated", False)


def test_migrate_makes_none_and_touches_no_stranger(cli: Cli, session: psycopg.Connection) -> None:
    """A database without bulk tables gets no schemas for them, and a schema of that name may be somebody else's."""
    session.execute("DROP SCHEMA evtool_jobs, evtool_bulk CASCADE")
    session.execute("CREATE SCHEMA evtool_jobs")
    cli("migrate").ok()
    assert not {"evtool_jobs", "evtool_bulk"} & set(_states(cli))
    assert session.execute("SELECT to_regnamespace('evtool_bulk')").fetchone() == (None,)


def test_a_newer_one_fails_alone(cli: Cli, session: psycopg.Connection) -> None:
    """The queue of a newer evtool is left as it is and makes exit code 1; what is beside it is migrated all the same."""
    _spoil(session)
    session.execute("UPDATE evtool_jobs.evtool_version SET version_num = '9999'")
    migrated = cli("migrate")
    assert migrated.code == 1
    assert "bulk jobs: DATABASE_TOO_NEW" in migrated.err
    assert _states(cli)["evtool_bulk"] == ("current", True)
    assert "bulk jobs: " in cli("migrate", "status").ok().err
    assert_one_line(cli("bulk", "jobs"), 1, "DATABASE_TOO_NEW")
