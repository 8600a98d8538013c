"""Errors on the command line: exit code, one line, no traceback, no password."""

from __future__ import annotations

import socket
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import conninfo, sql

import evtool
from tests.cli.running import Cli, Done, assert_one_line

_SECRET = "s3cr%C3%A9t-p4ss"
_SECRETS = ("s3cr", "p4ss")


def _assert_no_secret(done: Done) -> None:
    for secret in _SECRETS:
        assert secret not in done.out + done.err


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port of this machine where nobody listens: it is bound, and so nobody else's."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


@pytest.fixture
def login(dsn: str) -> Iterator[tuple[str, str]]:
    """A role that can log in and is nobody's member, and a DSN for it."""
    role, password = f"evtool_{uuid.uuid4().hex[:12]}", uuid.uuid4().hex
    with psycopg.connect(dsn, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(role), sql.Literal(password)))
        try:
            yield role, conninfo.make_conninfo(dsn, user=role, password=password)
        finally:
            admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


@pytest.mark.parametrize("verbose", [False, True], ids=["", "-v"])
def test_a_server_that_is_down_is_exit_code_3(closed_port: int, verbose: bool) -> None:
    """The line says which server and what to check; with -v the cause follows; the password is in neither."""
    done = Cli(f"postgresql://u:{_SECRET}@127.0.0.1:{closed_port}/x")("read", "a-1", *(["-v"] * verbose))
    _assert_no_secret(done)
    if verbose:
        assert done.code == 3
        assert "Traceback" in done.err
    else:
        assert_one_line(done, 3, "STORE_UNREACHABLE", str(closed_port), "check")


@pytest.mark.parametrize("command", [["export"], ["import"], ["migrate"], ["ns", "list"], ["migrate", "status"]])
def test_every_command_reports_a_server_that_is_down(closed_port: int, command: list[str]) -> None:
    """Commands differ in what they do, not in how they fail."""
    assert_one_line(Cli(f"host=127.0.0.1 port={closed_port}")(*command), 3, "STORE_UNREACHABLE")


@pytest.mark.parametrize(
    "dsn",
    [
        f"postgresql://u:{_SECRET}@[bad/x",
        f"postgresql://u:{_SECRET}@host:port/x",
        "postgresql://u:x@s3cr@host/x",
        "postgresql://u:s3cr/x@host/x",
        f"postgresql://u:{_SECRET}@host/x?nosuch=1",
        f"host=x password='{_SECRET}",
        f"password={_SECRET} nosuch=1",
        f"mysql://u:{_SECRET}@host/x",
        f"u:{_SECRET}@host",
        _SECRET,
    ],
)
@pytest.mark.parametrize("verbose", [False, True], ids=["", "-v"])
def test_a_dsn_that_can_not_be_read_is_never_shown(dsn: str, verbose: bool) -> None:
    """Wrong usage, with the forms that are right; nothing of the DSN is repeated, not even by -v."""
    done = Cli(dsn)("read", "a-1", *(["-v"] * verbose))
    _assert_no_secret(done)
    assert done.code == 2
    if not verbose:
        assert_one_line(done, 2, "INVALID_DSN")


def test_a_database_that_does_not_exist_is_exit_code_3(dsn: str) -> None:
    """The line names the database."""
    assert_one_line(Cli(conninfo.make_conninfo(dsn, dbname="nosuch_db"))("export"), 3, "STORE_UNREACHABLE", "nosuch_db")


def test_a_wrong_login_is_exit_code_3(dsn: str) -> None:
    """The line names the role, and not the password."""
    done = Cli(conninfo.make_conninfo(dsn, user="nosuch_role", password="s3cr-p4ss"))("export")
    assert_one_line(done, 3, "STORE_UNREACHABLE", "nosuch_role")
    _assert_no_secret(done)


def test_a_wrong_password_is_exit_code_3(dsn: str, login: tuple[str, str]) -> None:
    """Where the server asks for one: the role is named, and neither password is shown."""
    role, right = login
    wrong = conninfo.make_conninfo(right, password="s3cr-p4ss")
    try:
        psycopg.connect(wrong).close()
    except psycopg.OperationalError:
        done = Cli(wrong)("export")
        assert_one_line(done, 3, "STORE_UNREACHABLE", role)
        _assert_no_secret(done)
    else:
        # a server that trusts whoever comes: then the password doesn't matter to evtool either
        assert_one_line(Cli(wrong)("export"), 1, "PERMISSION_DENIED")


def test_a_stranger_may_neither_export_nor_import(cli: Cli, login: tuple[str, str], tmp_path: Path) -> None:
    """A role without a grant learns what to ask for, and no file appears."""
    role, dsn = login
    stranger = Cli(dsn, cli.namespace)
    target = tmp_path / "out.ndjson"
    assert_one_line(stranger("export", "-o", target), 1, "PERMISSION_DENIED", role, "<schema>_reader")
    assert_one_line(stranger("import"), 1, "PERMISSION_DENIED", "<schema>_writer")
    assert_one_line(stranger("ns", "create", "x"), 1, "PERMISSION_DENIED")
    assert list(tmp_path.iterdir()) == []


def test_readers_export_and_writers_write_but_neither_imports(
    cli: Cli, dsn: str, namespace: str, login: tuple[str, str]
) -> None:
    """Reading is a reader's, writing a writer's; importing, which chooses positions, is the owner's."""
    role, own = login
    someone = Cli(own, namespace)
    line = cli("write", "a-1", "T").ok() and cli("export").ok().stdout
    with psycopg.connect(dsn, autocommit=True) as admin:
        admin.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(f"{namespace}_reader"), sql.Identifier(role)))
    assert someone("export").ok().stdout == line
    assert someone("read", "--all").ok().stdout == line
    assert someone("ns", "show", namespace).ok().out
    assert_one_line(someone("write", "a-1", "T"), 1, "PERMISSION_DENIED")
    assert_one_line(someone("import", stdin=line), 1, "PERMISSION_DENIED")
    assert_one_line(someone("ns", "delete", namespace, "--yes"), 1, "PERMISSION_DENIED")
    with psycopg.connect(dsn, autocommit=True) as admin:
        admin.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(f"{namespace}_writer"), sql.Identifier(role)))
    assert someone("write", "a-1", "T").ok().out == "1\n"
    assert_one_line(someone("import", stdin=line), 1, "PERMISSION_DENIED")


def test_the_traceback_comes_with_v_only(cli: Cli) -> None:
    """-v before or behind the command shows the cause; without it there is one line."""
    assert_one_line(cli("read", "account"), 2, "NOT_A_STREAM")
    for arguments in (["-v", "read", "account"], ["read", "account", "-v"], ["read", "--verbose", "account"]):
        done = cli(*arguments)
        assert done.code == 2
        assert "Traceback" in done.err
        assert "psycopg.errors" in done.err
        assert done.err.splitlines()[-1].startswith("evtool: NOT_A_STREAM")


def test_a_missing_namespace_says_how_to_make_one(cli: Cli, tmp_path: Path) -> None:
    """Exit code 1, the name, and the commands that help; no output file."""
    for command in (["export", "-o", str(tmp_path / "x")], ["import"], ["read", "a-1"], ["write", "a-1", "T"]):
        assert_one_line(cli(*command, "-n", "nope"), 1, "NAMESPACE_NOT_FOUND", '"nope"', "evtool ns create")
    assert list(tmp_path.iterdir()) == []


def test_the_environment_and_the_options_name_the_same(dsn: str, namespace: str) -> None:
    """--dsn and -n go before EVTOOL_DSN and EVTOOL_NAMESPACE, which go before the PG* variables."""
    Cli("host=/nonexistent", "nope")("write", "--dsn", dsn, "-n", namespace, "a-1", "T").ok()
    parts = conninfo.conninfo_to_dict(dsn)
    names = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "password": "PGPASSWORD", "dbname": "PGDATABASE"}
    variables = {names[key]: str(value) for key, value in parts.items() if key in names}
    assert Cli(None, namespace)("read", "a-1", **variables).ok().out.count("\n") == 1


def test_standard_streams_that_are_closed_are_an_error_of_their_own(cli: Cli) -> None:
    """`evtool export >&-` is told so."""
    cli("write", "a-1", "T").ok()
    for command in (["export"], ["read", "--all"]):
        process = cli.start(*command, stdout=None, preexec_fn=lambda: __import__("os").close(1))
        _, error = process.communicate()
        assert process.returncode == 1
        assert b"standard output is closed" in error
        assert b"Traceback" not in error


def test_a_programs_errors_have_the_exit_code_of_their_class() -> None:
    """The table of exit codes, class by class."""
    from evtool.cli import exits
    from evtool.errors import ImportRefused

    expected = {
        evtool.errors.StoreUnreachable: 3,
        evtool.errors.StoreTimeout: 1,
        evtool.errors.InvalidDsn: 2,
        evtool.errors.NotAStream: 2,
        evtool.errors.NamespaceExists: 4,
        evtool.errors.NamespaceNotFound: 1,
        evtool.errors.FileError: 1,
        evtool.errors.DatabaseTooNew: 1,
    }
    assert {kind: exits.code_of(kind("x")) for kind in expected} == expected
    assert exits.code_of(evtool.errors.MessageExists("x", constraint="id")) == 4
    for code in ("POSITION_EXISTS", "ID_EXISTS", "STREAM_POSITION_EXISTS"):
        assert exits.code_of(ImportRefused(code, "x")) == 4
    assert exits.code_of(ImportRefused("INVALID_JSON", "x")) == 1


@pytest.mark.parametrize(
    "command",
    [
        "streams --dsn",
        "bulk jobs --dsn",
        "bulk export users --dsn",
        "copy --from embedded: --to",
        "copy --to embedded: --from",
        "bulk copy users --from",
    ],
)
@pytest.mark.parametrize("empty", ["", " "])
def test_an_empty_dsn_is_a_slip(command: str, empty: str) -> None:
    """What is left of "$PROD" where there is no such variable is refused, whatever else the environment names."""
    done = Cli("embedded:")(*command.split(), empty)
    assert done.code == 2
    assert "it is empty" in done.err


def test_a_manifest_is_no_export(tmp_path: Path) -> None:
    """Who completes one name too many in a shell is told so."""
    path = tmp_path / "all.ndjson.gz.manifest.json"
    path.write_text("{}")
    done = Cli(f"sqlite://{tmp_path}/store")("import", "-i", path)
    assert done.code == 2
    assert "import the file beside it" in done.err


def test_a_name_without_a_hyphen_is_told_to_be_a_categorys(tmp_path: Path) -> None:
    """Message DB takes it, and reads it as a category only: who writes to it learns that at once."""
    cli = Cli(f"sqlite://{tmp_path}/store")
    cli("migrate").ok()
    done = cli("write", "account", "Opened").ok()
    assert done.out == "0\n"
    assert '"account" has no hyphen' in done.err
    assert "hyphen" not in cli("write", "account-1", "Opened").ok().err
    assert len(cli("read", "--category", "account").ok().out.splitlines()) == 2
