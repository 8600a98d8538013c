"""A disk that fills up in the middle, the client's or the server's: what was there stays, and the next try works.

The disk is a small tmpfs where this process may mount one. Everywhere it is also a limit on the size of a file, which
is the other way in which a write can fail for want of room.
"""

from __future__ import annotations

import contextlib
import gzip
import os
import resource
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from psycopg import conninfo, sql

from evtool import embedded
from evtool.connecting import open_store
from evtool.embedded import EmbeddedServer
from evtool.stores.postgres import PostgresStore
from evtool.testing.contract.helping import file_of, records
from tests.cli.running import SECONDS, Cli, Done, assert_one_line
from tests.conftest import EVENTS
from tests.transfer.lines import line

_SMALL = 1 << 20
_LARGE = 1 << 28
_LINES = gzip.decompress(EVENTS.read_bytes()).splitlines(keepends=True)[:10_000]
_FILE = b"".join(_LINES)
_BEFORE = line(10**9)


def _mount(folder: Path, size: int) -> bool:
    """Mounts a tmpfs of so many bytes, or changes the size of one; says whether it may."""
    options = f"size={size}" + (",remount" if folder.is_mount() else "")
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


def _may_mount() -> bool:
    """Whether this process may mount a tmpfs."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        if not _mount(Path(folder), _SMALL):
            return False
        subprocess.run(["umount", folder], check=True)
        return True


_WAYS = ["limit", "tmpfs"] if _may_mount() else ["limit"]


@dataclass
class Disk:
    """A folder whose disk has room for so many bytes, or in which files may have so many."""

    folder: Path
    way: str
    room: int = _SMALL

    def grow(self) -> None:
        """Has room for everything."""
        self.room = _LARGE
        if self.way == "tmpfs":
            assert _mount(self.folder, self.room)

    def run(self, *arguments: str | Path, dsn: str | None = None, namespace: str | None = None) -> Done:
        """Runs a command of evtool that sees no more room than there is."""

        def limit() -> None:
            if self.way == "limit":
                resource.setrlimit(resource.RLIMIT_FSIZE, (self.room, self.room))

        process = Cli(dsn, namespace).start(*arguments, stdin=subprocess.DEVNULL, preexec_fn=limit)
        out, error = process.communicate(timeout=SECONDS)
        return Done(process.returncode, out, error)


@pytest.fixture(params=_WAYS)
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    """A small disk, of each kind that can be had."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if request.param == "tmpfs":
        assert _mount(folder, _SMALL)
    yield Disk(folder, request.param)
    if request.param == "tmpfs":
        subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.mark.thorough(but=["ndjson"])
@pytest.mark.parametrize("suffix", ["ndjson", "ndjson.gz", "ndjson.zst"])
def test_an_export_to_a_full_disk_leaves_what_was_there(disk: Disk, store: PostgresStore, suffix: str) -> None:
    """Exit code 1, one line that says so, the older file as it was, and nothing that takes up the room."""
    # random names don't get smaller by compression
    noise = b"".join(line(n, stream=f"a-{os.urandom(120).hex()}") for n in range(1, 12_000))
    store.import_batch(records(noise))
    target = disk.folder / f"out.{suffix}"
    target.write_bytes(b"older")
    dsn = store._dsn
    done = disk.run("export", "-o", target, dsn=dsn, namespace=store.namespace)
    assert_one_line(done, 1, "FILE", "large" if disk.way == "limit" else "space")
    assert {path.name: path.read_bytes() for path in disk.folder.iterdir()} == {target.name: b"older"}
    disk.grow()
    assert disk.run("export", "-o", target, dsn=dsn, namespace=store.namespace).code == 0
    assert Cli(dsn, store.namespace)("verify", target).ok().out == ""


def test_an_export_to_a_full_device_is_an_error(store: PostgresStore) -> None:
    """Standard output may be a full disk, too."""
    store.import_batch(records(_FILE))
    with Path("/dev/full").open("wb") as full:
        process = Cli(store._dsn, store.namespace).start("export", stdout=full)
        _, error = process.communicate(timeout=SECONDS)
    assert process.returncode == 1
    assert error.count(b"\n") == 1
    assert b"No space left" in error


@pytest.mark.thorough(but=["*filled*"])
@pytest.mark.parametrize("kind", ["sqlite", "lmdb"])
@pytest.mark.parametrize("filled", [False, True], ids=["empty", "filled"])
def test_an_import_that_fills_the_disk_leaves_the_namespace_as_it_was(disk: Disk, kind: str, filled: bool) -> None:
    """A store whose folder has no room left keeps what it had; with more room the same import works."""
    dsn = f"{kind}://{disk.folder / 'store'}"
    file = disk.folder.parent / "events.ndjson"
    file.write_bytes(_FILE)
    with open_store(dsn) as store:
        store.migrate()
        if filled:
            store.import_batch(records(_BEFORE))
        before = file_of(store)
    assert_one_line(disk.run("import", "-i", file, dsn=dsn), 1)
    with open_store(dsn) as store:
        assert file_of(store) == before
    disk.grow()
    done = disk.run("import", "-i", file, dsn=dsn)
    assert done.code == 0, done.err
    with open_store(dsn) as store:
        assert file_of(store) == _FILE + before


@pytest.fixture
def own_server() -> Iterator[EmbeddedServer]:
    """A server whose disk may be filled."""
    with embedded.temporary() as made:
        yield made


@pytest.fixture(params=_WAYS)
def full(request: pytest.FixtureRequest, own_server: EmbeddedServer, tmp_path: Path) -> Iterator[tuple[str, Disk]]:
    """A database on a disk of the server's with little room, its DSN, and the disk."""
    # beside the data, where the server may go whoever it runs as
    folder = own_server.directory.parent / "small"
    folder.mkdir()
    disk = Disk(folder, request.param, room=24 << 20)
    if disk.way == "tmpfs":
        assert _mount(folder, disk.room)
    data = own_server.directory.stat()
    os.chown(folder, data.st_uid, data.st_gid)
    with psycopg.connect(own_server.dsn, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE TABLESPACE small LOCATION {}").format(sql.Literal(str(folder))))
        admin.execute("CREATE DATABASE small TABLESPACE small")
    dsn = conninfo.make_conninfo(own_server.dsn, dbname="small")
    with open_store(dsn) as store:
        store.migrate()
        store.import_batch(records(_BEFORE))
    yield dsn, disk
    own_server.stop("immediate")
    if disk.way == "tmpfs":
        subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.mark.thorough(but=["tmpfs"])
def test_a_server_whose_disk_is_full_keeps_what_it_had(
    full: tuple[str, Disk], own_server: EmbeddedServer, tmp_path: Path
) -> None:
    """The import is undone and the line says why; with more room the same import works."""
    dsn, disk = full
    file = tmp_path / "events.ndjson"
    noise = b"".join(line(n, data={"text": os.urandom(900).hex()}) for n in range(1, 20_000))
    file.write_bytes(noise)
    with open_store(dsn) as store:
        before = file_of(store)
    with _limited(own_server, disk):
        done = Cli(dsn)("import", "-i", file)
    assert_one_line(done, 1, "disk is full" if disk.way == "tmpfs" else "STORE_FAILED")
    with open_store(dsn) as store:
        assert file_of(store) == before
        assert [one.imported for one in store.import_records()] == [1]
    disk.grow()
    Cli(dsn)("import", "-i", file).ok()
    with open_store(dsn) as store:
        assert file_of(store).count(b"\n") == 20_000


@contextlib.contextmanager
def _limited(server: EmbeddedServer, disk: Disk) -> Iterator[None]:
    """Lets the server's new processes write no larger files than there is room, where that is the way."""
    if disk.way == "tmpfs":
        yield
        return
    pid = server.status().pid
    assert pid is not None
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    # a segment of the write-ahead log has 16 MiB and must fit
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (disk.room, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)
