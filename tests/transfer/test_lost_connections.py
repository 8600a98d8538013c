"""An export whose connection is lost: what comes after it fits to what came before, or it says why not."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from evtool import embedded, resuming
from evtool.errors import EmbeddedServerError, StoreError, StoreUnreachable
from evtool.exporting import export_file
from evtool.imports import ImportPlan
from evtool.model import ExportBlock, Selection
from evtool.stores.postgres import PostgresStore
from evtool.testing.contract.helping import file_of, record, records
from tests.cli.running import SECONDS, Cli, assert_one_line
from tests.faults.proxy import CuttingProxy
from tests.transfer.lines import lines

_COUNT = 20_000
_TEXT = {"text": "x" * 100}


@pytest.fixture(autouse=True)
def _no_long_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trying again at once: what is waited for here is not time."""
    monkeypatch.setattr(resuming, "_FIRST_PAUSE", 0.01)


@pytest.fixture
def filled(store: PostgresStore) -> PostgresStore:
    """A namespace with more than any buffer between server and client holds."""
    store.import_batch(records(lines(range(10, 10 + _COUNT), data=_TEXT)))
    return store


@pytest.mark.thorough(but=["1-all", "3-category"])
@pytest.mark.parametrize(
    "selection",
    [Selection(), Selection(("account",)), Selection(types=("Deposited",)), Selection(streams=("account-1",))],
    ids=["all", "category", "type", "stream"],
)
@pytest.mark.parametrize("jobs", [1, 3])
def test_an_export_goes_on_behind_its_last_line(
    dsn: str, filled: PostgresStore, tmp_path: Path, selection: Selection, jobs: int
) -> None:
    """Cut many times, with writers going on meanwhile: the same lines, each once, up to the first watermark."""
    before = file_of(filled, selection)
    losses: list[str] = []

    def hear(text: str) -> None:
        losses.append(text)
        filled.write_message(None, "account-1", "Deposited", {})

    path = tmp_path / "out"
    with (
        CuttingProxy(dsn, *range(400_000, 6_000_000, 900_000)) as proxy,
        PostgresStore(proxy.dsn, filled.namespace) as store,
    ):
        summary = export_file(store, str(path), selection, jobs=jobs, retries=20, tell=hear)
    assert path.read_bytes() == before
    assert (summary.exported, summary.last_position) == (_COUNT, 9 + _COUNT)
    assert len(losses) >= 2
    assert all("trying again in " in text for text in losses)
    assert file_of(filled, selection).startswith(before)


def test_an_increment_goes_on_too(dsn: str, filled: PostgresStore, tmp_path: Path) -> None:
    """The chain of manifests stays whole when a link of it was cut."""
    export_file(filled, str(tmp_path / "1"), Selection(to_position=5_000))
    manifest = tmp_path / "1.manifest.json"
    filled.import_batch(records(lines(range(100_000, 110_000), stream="later-1", data=_TEXT)))
    export_file(filled, str(tmp_path / "2"))
    with CuttingProxy(dsn, 300_000, 900_000) as proxy, PostgresStore(proxy.dsn, filled.namespace) as store:
        export_file(store, str(tmp_path / "3"), previous=str(tmp_path / "2.manifest.json"))
        filled.import_batch(records(lines(range(200_000, 210_000), stream="last-1", data=_TEXT)))
        export_file(store, str(tmp_path / "4"), previous=str(tmp_path / "3.manifest.json"))
    assert proxy.passed > 900_000
    assert manifest.exists()
    assert b"".join((tmp_path / name).read_bytes() for name in "234") == file_of(filled)


@pytest.mark.parametrize("retries", [0, 2])
def test_it_gives_up_after_so_many_tries(dsn: str, filled: PostgresStore, tmp_path: Path, retries: int) -> None:
    """The file is not written then, an older one is as it was, and both is said."""
    path = tmp_path / "out"
    path.write_bytes(b"older")
    losses: list[str] = []
    with CuttingProxy(dsn, 1_000_000) as proxy, PostgresStore(proxy.dsn, filled.namespace) as store:

        def hear(text: str) -> None:
            losses.append(text)
            # nobody listens there any more
            proxy.refuse()

        with pytest.raises(StoreUnreachable) as given_up:
            export_file(store, str(path), retries=retries, tell=hear)
    assert given_up.value.message.endswith(f"(tried {retries + 1} times); {path} was not written")
    assert len(losses) == retries
    assert {one.name: one.read_bytes() for one in tmp_path.iterdir()} == {"out": b"older"}


def test_a_pipe_has_whole_lines_when_it_gives_up(dsn: str, filled: PostgresStore) -> None:
    """Standard output can't be taken back: it is said up to which position it is whole, and it is."""
    with CuttingProxy(dsn, 1_000_000) as proxy:
        done = Cli(proxy.dsn, filled.namespace)("export", "--retries", "0")
    written = done.stdout.count(b"\n")
    assert 0 < written < _COUNT
    assert file_of(filled).startswith(done.stdout)
    assert_one_line(done, 3, "STORE_UNREACHABLE", f"{written} lines, is whole up to the global position {9 + written}")


def test_what_never_was_reached_is_not_tried_again(tmp_path: Path) -> None:
    """A wrong host is said at once."""
    with CuttingProxy("host=127.0.0.1 dbname=none") as proxy:
        closed = proxy.dsn
    done = Cli(closed, "none")("export", "-o", tmp_path / "out", "--retries", "60")
    assert_one_line(done, 3, "STORE_UNREACHABLE")
    assert not list(tmp_path.iterdir())


_WAITING = """
    SELECT pid FROM pg_stat_activity
    WHERE query LIKE %s AND state = 'active' AND wait_event = 'PgSleep' AND pid <> pg_backend_pid()
"""


@pytest.mark.parametrize(("retries", "code"), [("3", 0), ("0", 3)])
def test_a_loss_before_the_first_line_is_a_loss_as_well(
    dsn: str, store: PostgresStore, tmp_path: Path, retries: str, code: int
) -> None:
    """Whoever has reached the database once, and loses it while it waits for a writer, waits for it again."""
    store.write_message(None, "account-1", "Deposited", {})
    path = tmp_path / "out"
    with psycopg.connect(dsn) as writer, psycopg.connect(dsn, autocommit=True) as watching:
        watching.execute("SET statement_timeout = '30s'")
        writer.execute(f"SELECT {store.namespace}.write_message(gen_random_uuid()::varchar, 'slow-1', 'T', '1')")
        process = Cli(dsn, store.namespace).start("export", "-o", path, "--retries", retries)
        lost = _waiting(watching, store.namespace)
        watching.execute("SELECT pg_terminate_backend(%s, 10000)", (lost,))
        if code == 0:
            assert _waiting(watching, store.namespace, besides=lost) != lost
        writer.commit()
        _, told = process.communicate(timeout=SECONDS)
    assert process.returncode == code, told
    assert told.count(b"trying again in ") == (code == 0)
    if code == 0:
        assert path.read_bytes() == file_of(store)
        assert path.read_bytes().count(b"\n") == 2
    else:
        assert f"(tried 1 times); {path} was not written" in told.decode()
        assert not list(tmp_path.iterdir())


def _waiting(watching: psycopg.Connection, namespace: str, besides: int = 0) -> int:
    """Waits until a session waits for the namespace's writers, and returns its process."""
    while True:
        for (pid,) in watching.execute(_WAITING, (f"%{namespace}%watermark%",)).fetchall():
            if pid != besides:
                return int(pid)
        watching.execute("SELECT pg_sleep(0.005)")


def _lose(store: PostgresStore, blocks: Iterator[ExportBlock]) -> None:
    """Ends the session that the export reads from."""
    next(blocks)
    with psycopg.connect(store._dsn, autocommit=True) as other:
        row = other.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE query LIKE 'COPY%%' AND query LIKE %s AND pid <> pg_backend_pid()",
            (f"%{store.namespace}%",),
        ).fetchone()
        assert row is not None
        assert row[0] == 1


@pytest.fixture
def exporting(filled: PostgresStore) -> Iterator[ExportBlock]:
    """An export that has begun, of which a session can be ended."""
    return resuming.blocks(filled, filled.get_namespace(filled.namespace), Selection(), filled.watermark())


def test_an_import_below_the_watermark_meanwhile_is_named(
    filled: PostgresStore, exporting: Iterator[ExportBlock]
) -> None:
    """What came before the loss lacks it, what comes after it would have it: the export ends."""
    _lose(filled, exporting)
    filled.import_batch([record(1, "below-1")], ImportPlan(source="below.ndjson"))
    with pytest.raises(StoreError, match=r"of below.ndjson at .* positions 1 to 1 while the connection was lost"):
        list(exporting)


def test_an_import_above_the_watermark_meanwhile_is_no_matter(
    filled: PostgresStore, exporting: Iterator[ExportBlock]
) -> None:
    """It is behind the end of the export."""
    _lose(filled, exporting)
    filled.import_batch([record(10**6, "above-1")])
    assert list(exporting)[-1].last_position == 9 + _COUNT


def test_a_namespace_made_anew_meanwhile_is_told(filled: PostgresStore, exporting: Iterator[ExportBlock]) -> None:
    """One of the same name is not the same."""
    _lose(filled, exporting)
    content = file_of(filled)
    filled.delete_namespace(filled.namespace)
    filled.create_namespace(filled.namespace)
    filled.import_batch(records(content))
    with pytest.raises(StoreError, match="deleted and made anew"):
        list(exporting)


@pytest.mark.thorough
def test_a_server_that_was_killed_and_started_again(tmp_path: Path) -> None:
    """kill -9 of the server in the middle: the export waits, goes on, and has the same bytes."""
    with embedded.temporary() as server:
        with PostgresStore(server.dsn) as store:
            store.migrate()
            store.import_batch(records(lines(range(1, 60_000), data=_TEXT)))
            whole = file_of(store)
        cli = Cli(server.dsn, "message_store")
        # nobody reads the pipe yet, so the export is in its middle when the server goes
        exporting = cli.start("export", "--retries", "60", "--gzip", "--manifest", tmp_path / "m.json")
        assert exporting.stdout
        first = os.read(exporting.stdout.fileno(), 1)
        _kill_and_revive(server)
        rest, told = exporting.communicate(timeout=SECONDS)
        assert exporting.returncode == 0, told
        assert b"trying again in " in told
        assert gzip.decompress(first + rest) == whole
        assert hashlib.sha256(first + rest).hexdigest() in (tmp_path / "m.json").read_text("ascii")


def test_a_crash_that_sets_the_sequence_back_loses_nothing(tmp_path: Path) -> None:
    """Positions that were drawn, rolled back and forgotten by a crash are drawn again: the next increment has them."""
    # nothing but a commit is to put the log on disk
    parameters = {"synchronous_commit": "on", "full_page_writes": "on", "wal_writer_delay": "10s"}
    with embedded.temporary(parameters=parameters) as server, PostgresStore(server.dsn) as store:
        store.migrate()
        store.write_message(None, "order-1", "Placed", {})
        with psycopg.connect(server.dsn, autocommit=True) as connection:
            for _ in range(200):
                with connection.transaction(force_rollback=True):
                    connection.execute("SELECT message_store.write_message(gen_random_uuid()::text, 'a-1', 'T', '{}')")
        export_file(store, str(tmp_path / "1"))
        _kill_and_revive(server)
        with PostgresStore(server.dsn) as again:
            for _ in range(5):
                again.write_message(None, "order-1", "Placed", {})
            export_file(again, str(tmp_path / "2"), previous=str(tmp_path / "1.manifest.json"))
            assert (tmp_path / "1").read_bytes() + (tmp_path / "2").read_bytes() == file_of(again)


def _kill_and_revive(server: embedded.EmbeddedServer) -> None:
    """kill -9 of the postmaster; a new one is started as soon as the processes that it leaves are gone."""
    pid = server.status().pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + SECONDS
    while True:
        assert time.monotonic() < deadline
        time.sleep(0.05)
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            with contextlib.suppress(EmbeddedServerError):
                server.start()
                return
