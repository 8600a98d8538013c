"""`evtool migrate` and `evtool ns`."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from contextlib import suppress

import psycopg
import pytest
from psycopg import sql

from tests.cli.running import SECONDS, Cli, assert_one_line

_FUNCTION = sql.SQL("CREATE OR REPLACE FUNCTION {}.message_store_version() RETURNS varchar LANGUAGE sql RETURN 'mine'")


def _change_a_function(dsn: str, schema: str) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute(_FUNCTION.format(sql.Identifier(schema)))


def test_migrate_makes_the_default_namespace_once(empty_dsn: str) -> None:
    """A fresh database gets the registry and message_store; the second time there is nothing to do, and it says so."""
    cli = Cli(empty_dsn)
    first = cli("migrate").ok().out
    assert "registry: created" in first
    assert 'namespace "message_store": created' in first
    assert cli("migrate").ok().out == "Nothing to do: the registry and 1 namespace are current.\n"
    with psycopg.connect(empty_dsn) as connection:
        row = connection.execute("SELECT message_store.write_message(gen_random_uuid()::varchar, 'a-1', 'T', '{}')")
        assert row.fetchone() == (0,)


def test_the_script_of_migrate_does_what_migrate_does(empty_dsn: str, make_database: object) -> None:
    """--sql prints all of it and changes nothing; the script names each step, for psql to run."""
    script = Cli(empty_dsn)("migrate", "--sql").ok().out
    assert "CREATE TABLE messages" in script
    assert "\\set ON_ERROR_STOP on" in script
    with psycopg.connect(empty_dsn) as connection:
        assert connection.execute("SELECT to_regnamespace('evtool')").fetchone() == (None,)
    fresh = Cli()("migrate", "--sql").ok()
    assert "CREATE TABLE messages" in fresh.out
    assert fresh.err == ""


def test_status_shows_what_is_pending_and_what_differs(empty_dsn: str) -> None:
    """Before, after, and after somebody changed a function by hand."""
    cli = Cli(empty_dsn)
    (registry,) = json.loads(cli("migrate", "status", "--json").ok().out)
    assert (registry["name"], registry["functions"], registry["current"]) == (None, "missing", False)
    assert registry["pending"]
    done = cli("migrate", "status").ok()
    assert "evtool migrate" in done.err
    cli("migrate").ok()
    states = json.loads(cli("migrate", "status", "--json").ok().out)
    assert [(state["name"], state["functions"], state["current"]) for state in states] == [
        (None, "current", True),
        ("message_store", "current", True),
    ]
    _change_a_function(empty_dsn, "message_store")
    done = cli("migrate", "status").ok()
    assert [line.split()[-2] for line in done.out.splitlines()[1:]] == ["current", "changed"]
    assert "functions replaced" in cli("migrate").ok().out
    assert all(state["current"] for state in json.loads(cli("migrate", "status", "--json").ok().out))


def test_an_unmigrated_database_is_told_what_to_run(empty_dsn: str) -> None:
    """Whatever is asked of it, the answer names `evtool migrate`."""
    cli = Cli(empty_dsn)
    for arguments in (
        ["read", "a-1"],
        ["write", "a-1", "T"],
        ["export"],
        ["import"],
        ["ns", "list"],
        ["ns", "create", "x"],
        ["ns", "delete", "x", "--yes"],
    ):
        assert_one_line(cli(*arguments), 1, "NOT_MIGRATED", "evtool migrate")


def test_namespaces_are_made_listed_shown_and_deleted(empty_dsn: str) -> None:
    """The life of a namespace; nothing of another is touched."""
    cli = Cli(empty_dsn)
    cli("migrate").ok()
    assert cli("ns", "create", "Orders (EU)").ok().out == 'namespace "Orders (EU)": created (schema orders_eu_)\n'
    cli("ns", "create", "named", "--schema", "other").ok()
    listed = json.loads(cli("ns", "list", "--json").ok().out)
    assert [(one["name"], one["schema"]) for one in listed] == [
        ("Orders (EU)", "orders_eu_"),
        ("message_store", "message_store"),
        ("named", "other"),
    ]
    assert "orders_eu_" in cli("ns", "list").ok().out
    shown = json.loads(cli("ns", "show", "named", "--json").ok().out)
    assert (shown["schema"], shown["functions"], shown["pending"]) == ("other", "current", None)
    assert "None" not in cli("ns", "show", "named").ok().out
    cli("write", "-n", "named", "a-1", "T").ok()
    assert cli("read", "-n", "Orders (EU)", "--all").ok().out == ""
    assert cli("read", "-n", "named", "--all").ok().out != ""
    assert "deleted" in cli("ns", "delete", "named", "--yes").ok().out
    assert_one_line(cli("read", "-n", "named", "--all"), 1, "NAMESPACE_NOT_FOUND", "evtool ns list")
    assert_one_line(cli("ns", "show", "named"), 1, "NAMESPACE_NOT_FOUND")
    assert_one_line(cli("ns", "delete", "named", "--yes"), 1, "NAMESPACE_NOT_FOUND")
    assert_one_line(cli("ns", "create", "message_store"), 4, "NAMESPACE_EXISTS")
    assert_one_line(cli("ns", "create", "message-store"), 1, "NAMESPACE_REFUSED", "--schema")
    assert_one_line(cli("ns", "create", "pg_mine"), 1, "NAMESPACE_REFUSED")
    assert_one_line(cli("ns", "create", "x" * 64), 1, "NAMESPACE_REFUSED")


def test_the_scripts_of_ns_change_nothing(cli: Cli) -> None:
    """--sql prints what create and delete would do, and does nothing."""
    script = cli("ns", "create", "scripted", "--sql").ok().out
    assert "CREATE SCHEMA" in script
    assert_one_line(cli("ns", "show", "scripted"), 1, "NAMESPACE_NOT_FOUND")
    assert cli.namespace is not None
    assert "DROP SCHEMA" in cli("ns", "delete", cli.namespace, "--sql").ok().out
    cli("ns", "show", cli.namespace).ok()


def test_deleting_without_a_terminal_needs_yes(cli: Cli) -> None:
    """Where nobody can be asked, nothing is deleted, and the message names --yes."""
    assert cli.namespace is not None
    done = cli("ns", "delete", cli.namespace)
    assert done.code == 2
    assert "--yes" in done.err
    cli("ns", "show", cli.namespace).ok()


@pytest.mark.parametrize(
    ("answer", "code", "left"), [("n", 1, True), ("", 1, True), ("\x03", 130, True), ("y", 0, False)]
)
def test_deleting_asks_on_a_terminal(cli: Cli, answer: str, code: int, left: bool) -> None:
    """Only y deletes; n, Enter and Ctrl-C leave the namespace as it is."""
    assert cli.namespace is not None
    ours, theirs = pty.openpty()
    try:
        # a session of its own, so that the terminal is the command's and Ctrl-C reaches it
        process = cli.start(
            "ns",
            "delete",
            cli.namespace,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=_take_terminal,
        )
        os.close(theirs)
        asked = b""
        while b"[y/N]: " not in asked:
            asked += os.read(ours, 1000)
        assert cli.namespace.encode() in asked
        os.write(ours, answer.encode() + (b"" if answer == "\x03" else b"\n"))
        if answer == "\x03":
            # Python sees a signal that comes between its last look and its read() only with the next key
            with suppress(subprocess.TimeoutExpired):
                process.wait(5)
            if process.returncode is None:
                os.write(ours, answer.encode())
        assert process.wait(SECONDS) == code
    finally:
        os.close(ours)
    assert (cli("ns", "show", cli.namespace).code == 0) is left


def _take_terminal() -> None:
    # the first terminal that a session's leader opens becomes its own
    os.close(os.open(os.ttyname(0), os.O_RDWR))
