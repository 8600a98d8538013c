"""evtool ns grant, revoke, show: who may use a namespace; and names that would inject, through every command that takes one."""

from __future__ import annotations

import json
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner
from psycopg import conninfo, sql

from evtool.cli.main import cli as cli_command
from evtool.embedded import find_binaries
from evtool.errors import NamespaceNotFound, NamespaceRefused
from tests.cli.running import Cli, assert_one_line

HOSTILE = [
    'x"; DROP TABLE canary; --',
    "x'; DROP TABLE canary; --",
    "x\"'; DROP TABLE canary; --",
    "$$; DROP TABLE canary; $$",
    "\\'; DROP TABLE canary; --",
    "E'\\''; DROP TABLE canary",
    "%s %(x)s %I {} {0}",
    ":\"ns\" :name :'name'",
    "$1; $2",
    "a.b.c",
    "*/ DROP TABLE canary /*",
    "-- x",
    'U&"d\\0061t"',
    "ＤＲＯＰ ‘quoted’ “name”",
    " leading and trailing ",
    "--yes-it-is-a-name"[2:],
]


@pytest.fixture
def admin(dsn: str, namespace: str) -> Iterator[psycopg.Connection]:
    """A superuser's session, on a database with a table that must survive."""
    with psycopg.connect(dsn, autocommit=True) as session:
        session.execute("CREATE TABLE IF NOT EXISTS public.canary (x int)")
        yield session
        assert session.execute("SELECT count(*) FROM public.canary").fetchone() == (0,)


@pytest.fixture
def role(admin: psycopg.Connection) -> str:
    """A role that may log in, and is nobody's member."""
    name = f"shop {uuid.uuid4().hex[:8]}"
    admin.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(name)))
    return name


def _members(cli: Cli) -> list[tuple[str, str, bool, str | None]]:
    assert cli.namespace is not None
    facts = json.loads(cli("ns", "show", cli.namespace, "--json").ok().out)
    return [(one["role"], one["right"], one["login"], one["through"]) for one in facts["members"]]


def test_a_role_is_let_in_and_out_again(cli: Cli, admin: psycopg.Connection, role: str) -> None:
    """--read and --write add a membership, again they say so, revoke ends both; show tells how it stands."""
    assert cli.namespace is not None
    name = cli.namespace
    assert _members(cli) == []
    assert cli("ns", "grant", name, "--to", role, "--read").ok().out == f'namespace "{name}": {role} may read\n'
    assert _members(cli) == [(role, "read", True, None)]
    assert "may read, as before" in cli("ns", "grant", name, "--to", role, "--read").ok().out
    assert "may write" in cli("ns", "grant", name, "--to", role, "--write").ok().out
    assert _members(cli) == [(role, "write", True, None)]
    assert f"member:     {role} may write\n" in cli("ns", "show", name).ok().out
    assert "may nothing any more" in cli("ns", "revoke", name, "--from", role).ok().out
    assert _members(cli) == []
    assert "had no right of its own" in cli("ns", "revoke", name, "--from", role).ok().out


def test_what_is_granted_can_be_used_at_once(cli: Cli, admin: psycopg.Connection, role: str) -> None:
    """A reader reads and may not write, a writer writes, and after revoke neither works."""
    assert cli.namespace is not None
    assert cli.dsn is not None
    options = "-c role=" + role.replace(" ", "\\ ")
    as_role = Cli(conninfo.make_conninfo(cli.dsn, options=options), cli.namespace)
    assert as_role("write", "a-1", "T").code == 1
    cli("ns", "grant", cli.namespace, "--to", role, "--read").ok()
    as_role("read", "--all").ok()
    as_role("export").ok()
    as_role("ns", "show", cli.namespace).ok()
    assert_one_line(as_role("write", "a-1", "T"), 1, "PERMISSION_DENIED")
    cli("ns", "grant", cli.namespace, "--to", role, "--write").ok()
    as_role("write", "a-1", "T").ok()
    assert_one_line(as_role("ns", "grant", cli.namespace, "--to", role, "--write"), 1, "PERMISSION_DENIED")
    cli("ns", "revoke", cli.namespace, "--from", role).ok()
    assert_one_line(as_role("read", "--all"), 1, "PERMISSION_DENIED")


def test_rights_that_come_by_another_role_are_told(cli: Cli, admin: psycopg.Connection, role: str) -> None:
    """Members of a member may as well; revoke doesn't reach them, and says through whom they still may."""
    assert cli.namespace is not None
    inner = f"{role} inner"
    admin.execute(sql.SQL("CREATE ROLE {} IN ROLE {}").format(sql.Identifier(inner), sql.Identifier(role)))
    cli("ns", "grant", cli.namespace, "--to", role, "--write").ok()
    assert _members(cli) == [(role, "write", True, None), (inner, "write", False, f'"{role}"')]
    done = cli("ns", "revoke", cli.namespace, "--from", inner).ok()
    assert f'still has a right through "{role}"' in done.err
    assert len(_members(cli)) == 2


def test_roles_that_cant_be_members_are_refused(cli: Cli, admin: psycopg.Connection, role: str) -> None:
    """No such role, the group itself, a circle: one line, and the next step."""
    assert cli.namespace is not None
    name = cli.namespace
    for missing in ("nobody here", "public", "current_user", "", "pg_read_all_data; --"):
        assert_one_line(cli("ns", "grant", name, "--to", missing, "--read"), 1, "ROLE_REFUSED", "there is no role")
    assert_one_line(cli("ns", "grant", name, "--to", f"{name}_writer", "--read"), 1, "ROLE_REFUSED", "the group itself")
    admin.execute(sql.SQL("CREATE ROLE {} ROLE {}").format(sql.Identifier(f"{role} circle"), sql.Identifier(role)))
    admin.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(f"{role} circle"), sql.Identifier(f"{name}_writer")))
    assert_one_line(cli("ns", "grant", name, "--to", f"{role} circle", "--write"), 1, "ROLE_REFUSED", "itself a member")
    admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(f"{role} circle")))
    assert_one_line(cli("ns", "grant", "no such", "--to", role, "--read"), 1, "NAMESPACE_NOT_FOUND")
    assert cli("ns", "grant", name, "--to", role).code == 2
    assert cli("ns", "grant", name, "--read").code == 2
    assert cli("ns", "revoke", name).code == 2


def test_a_store_without_a_server_has_no_roles(tmp_path: Path) -> None:
    """SQLite and LMDB have files, and say so; ns show works there all the same."""
    for kind in ("sqlite", "lmdb"):
        cli = Cli(f"{kind}://{tmp_path / kind}")
        cli("migrate").ok()
        for arguments in (
            ["ns", "grant", "message_store", "--to", "x", "--read"],
            ["ns", "revoke", "message_store", "--from", "x"],
            ["ns", "adopt", "message_store"],
            ["migrate", "--jobs", "2"],
        ):
            assert_one_line(cli(*arguments), 2, "NOT_ABLE", "a PostgreSQL store does")
        assert "members" not in json.loads(cli("ns", "show", "message_store", "--json").ok().out)


@pytest.fixture
def psql(dsn: str) -> Callable[[str], None]:
    """Runs what --sql printed."""

    def run(text: str) -> None:
        command = [str(find_binaries().program("psql")), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", dsn]
        subprocess.run(command, input=text, check=True, timeout=60, capture_output=True, text=True)

    return run


class _Here:
    """The command line in this process: twenty commands for each of these names would take minutes otherwise."""

    def __init__(self, dsn: str, namespace: str) -> None:
        self._environment = {"EVTOOL_DSN": dsn, "EVTOOL_NAMESPACE": namespace}

    def __call__(self, *arguments: str | Path) -> str:
        """Runs a command, and returns what it printed on stdout; raises what it raises."""
        done = CliRunner().invoke(
            cli_command, [str(one) for one in arguments], env=self._environment, standalone_mode=False
        )
        if done.exception is not None:
            raise done.exception
        return done.stdout


@pytest.mark.thorough
@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_names_are_names(
    dsn: str, admin: psycopg.Connection, hostile: str, psql: Callable[[str], None], tmp_path: Path
) -> None:
    """A namespace, a schema and a role of such names live through every command that takes one; nothing else happens."""
    unique = uuid.uuid4().hex[:6]
    name, schema, role = f"n{hostile}{unique}", f"s{hostile}{unique}", f"r{hostile}{unique}"
    admin.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(role)))
    run = _Here(dsn, name)
    before = _catalog(admin)

    run("ns", "create", name, "--schema", schema)
    shown = json.loads(run("ns", "show", name, "--json"))
    assert (shown["name"], shown["schema"]) == (name, schema)
    category = hostile.replace("-", "")
    run("write", "--", f"{category}-1", hostile, '{"x": 1}')
    assert len(run("streams").splitlines()) == 1
    run("export", "-o", tmp_path / "all.ndjson", f"--categories={category}")

    run("ns", "grant", name, "--to", role, "--write")
    psql(run("ns", "grant", name, "--to", role, "--read", "--sql"))
    assert [one["right"] for one in json.loads(run("ns", "show", name, "--json"))["members"]] == ["write"]
    psql(run("ns", "revoke", name, "--from", role, "--sql"))
    assert "had no right" in run("ns", "revoke", name, "--from", role)

    admin.execute("UPDATE evtool.behaviours SET checksum = 'old' WHERE schema_name = %s", (schema,))
    assert "functions replaced" in run("migrate", "--namespace", name)
    admin.execute("DELETE FROM evtool.namespaces WHERE schema_name = %s", (schema,))
    psql(run("ns", "adopt", schema, "--as", name, "--sql"))
    assert run("ns", "adopt", schema, "--as", name) == f'namespace "{name}": adopted (schema {schema})\n'
    with pytest.raises(NamespaceRefused, match="There is no schema"):
        run("ns", "adopt", f"t{hostile}")
    run("ns", "delete", name, "--yes")

    psql(run("ns", "create", name, "--schema", schema, "--sql"))
    psql(run("ns", "delete", name, "--sql"))
    with pytest.raises(NamespaceNotFound):
        run("ns", "show", name)
    assert _catalog(admin) == before


def _catalog(session: psycopg.Connection) -> list[Any]:
    """What an injected statement would have changed."""
    return [
        session.execute(query).fetchall()
        for query in (
            "SELECT nspname FROM pg_namespace WHERE nspname NOT LIKE 'pg\\_%' ORDER BY 1",
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace ORDER BY 1",
            "SELECT rolname, rolsuper, rolcanlogin FROM pg_roles ORDER BY 1",
            "SELECT roleid::regrole::text, member::regrole::text FROM pg_auth_members ORDER BY 1, 2",
            "SELECT name, schema_name FROM evtool.namespaces ORDER BY 1",
        )
    ]
