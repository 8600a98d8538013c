"""Killed in any batch: the same command again makes it whole, reports all of it, and does nothing twice."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import psycopg
import pytest

from evtool.bulk.importing import ImportOptions, described, import_files
from evtool.bulk.opening import Source
from evtool.bulk.reports import ImportReport
from evtool.embedded import EmbeddedServer
from evtool.errors import InputDiffers, StoreUnreachable, WriteConflict
from tests.bulk.imports.conftest import Shop
from tests.cli.running import SECONDS, Cli

RECORDS = 1000
BATCH = 50
REFUSED = {number for number in range(1, RECORDS + 1) if number % 100 == 7}


@pytest.fixture
def command(shop: Shop) -> list[str]:
    """An import of a thousand records, of which ten are refused."""
    shop.table("id integer PRIMARY KEY, value integer")
    rows = [f"{number},{'x' if number in REFUSED else number}\n" for number in range(1, RECORDS + 1)]
    (shop.folder / "things.csv").write_text("id,value\n" + "".join(rows))
    return [
        "bulk", "import", "--table", f"{shop.schema}.things", str(shop.folder / "things.csv"), "--batch-size", str(BATCH),
        "--report", "json", "--reject-file", str(shop.folder / "refused.ndjson"),
    ]  # fmt: skip


def complete(shop: Shop, out: str) -> None:
    """The report tells of all records, the table has the good ones, the file of rejects the others."""
    report = json.loads(out)
    assert (report["total"], report["inserted"], report["rejected"]) == (RECORDS, RECORDS - 10, 10)
    assert report["by_code"] == {"invalid_value": 10}
    assert shop.rows("SELECT count(*), count(DISTINCT id) FROM things") == [(RECORDS - 10, RECORDS - 10)]
    refused = [json.loads(line) for line in (shop.folder / "refused.ndjson").read_text().splitlines()]
    assert [one["line"] for one in refused] == sorted(number + 1 for number in REFUSED)


def killed_after(
    shop: Shop, cli: Cli, command: list[str], batches: int, how: signal.Signals = signal.SIGKILL
) -> tuple[int, str]:
    """Ends the command as soon as so many batches are in: with a gate that the next batch can't pass.

    Returns:
        Its exit code, and its stderr.
    """
    gate = batches * BATCH + 1
    shop.run("CREATE TABLE IF NOT EXISTS gate (id integer)")
    shop.run(
        "CREATE OR REPLACE FUNCTION pass() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        f" IF NEW.id = {gate} THEN LOCK TABLE {shop.schema}.gate; END IF; RETURN NEW; END $$"
    )
    shop.run("CREATE OR REPLACE TRIGGER gate BEFORE INSERT ON things FOR EACH ROW EXECUTE FUNCTION pass()")
    with psycopg.connect(shop.dsn) as keeper:
        keeper.execute(f"LOCK TABLE {shop.schema}.gate")
        process = cli.start(*command)
        waiting = f"SELECT count(*) FROM pg_stat_activity WHERE {keeper.info.backend_pid} = ANY (pg_blocking_pids(pid))"
        deadline = time.monotonic() + SECONDS
        while shop.values(waiting) == [0]:
            assert time.monotonic() < deadline
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        process.send_signal(how)
        _, error = process.communicate(timeout=SECONDS)
    shop.run("DROP TRIGGER gate ON things")
    return process.returncode, error.decode()


@pytest.mark.parametrize("batches", [0, 1, 7, 19])
def test_the_same_command_goes_on_after_a_kill(shop: Shop, command: list[str], batches: int) -> None:
    """Kill -9 in the first, an early, a middle and the last batch: the second run finishes and reports everything."""
    cli = Cli(shop.dsn)
    killed_after(shop, cli, command, batches)
    done = cli(*command)
    assert done.code == 5, done.err
    complete(shop, done.out)
    if batches:
        assert f"interrupted after {batches * BATCH} records" in done.err


def test_ctrl_c_says_that_the_same_command_goes_on(shop: Shop, command: list[str]) -> None:
    """What is committed stays, and nobody is told otherwise; in one transaction nothing does."""
    cli = Cli(shop.dsn)
    code, error = killed_after(shop, cli, command, 3, signal.SIGINT)
    assert code == 130
    assert "interrupted; the batches that were committed are kept: the same command goes on from there" in error
    assert shop.rows("SELECT count(*) > 0 FROM things") == [(True,)]
    complete(shop, cli(*command).out)
    shop.run("TRUNCATE things")
    code, error = killed_after(shop, cli, [*command, "--atomic", "--restart"], 3, signal.SIGINT)
    assert code == 130
    assert "interrupted; nothing is half done" in error
    assert shop.rows("SELECT count(*) FROM things") == [(0,)]


def test_kill_after_kill(shop: Shop, command: list[str]) -> None:
    """Killed three times in different batches, and at last with another size of batch: still each record once."""
    cli = Cli(shop.dsn)
    for batches in (2, 5, 11):
        killed_after(shop, cli, command, batches)
    done = cli(*[*command[:5], "--batch-size", "333", *command[7:]])
    assert done.code == 5, done.err
    complete(shop, done.out)


def test_killed_before_the_report_is_out(shop: Shop) -> None:
    """When all batches are in and nobody has seen the report, the same command reports again what was done."""
    resource = shop.table("id integer PRIMARY KEY")
    path = shop.folder / "file.csv"
    path.write_text("id\n1\n2\nx\n")
    source = [Source(resource, (str(path),))]

    def die(_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_files(shop.dsn, source, on_report=die)
    (again,) = import_files(shop.dsn, source)
    assert (again.inserted, again.rejected, again.by_code) == (2, 1, {"invalid_id": 1})
    (new,) = import_files(shop.dsn, source)
    assert (new.inserted, new.by_code) == (0, {"duplicate_id": 2, "invalid_id": 1})


def interrupt(shop: Shop, path: Path, after: int, **options: int) -> None:
    """An import that ends after so many records."""

    def stop(moment: object) -> None:
        if getattr(moment, "records") >= after:  # noqa: B009 - of any progress
            raise KeyboardInterrupt

    resource = described(shop.dsn, "things", schema=shop.schema)
    with pytest.raises(KeyboardInterrupt):
        import_files(shop.dsn, [Source(resource, (str(path),))], ImportOptions(**options), progress=stop)  # type: ignore[arg-type]


def test_a_file_that_was_changed_is_not_gone_on_with(shop: Shop, command: list[str]) -> None:
    """What was done must still be what the file says up to there; --restart begins anew, and sees what is in."""
    path = shop.folder / "things.csv"
    # the beginning alone would not tell
    path.write_text("id,value\n" + "".join(f"{number},{number:080}\n" for number in range(1, 3001)))
    resource = described(shop.dsn, "things", schema=shop.schema)
    interrupt(shop, path, 2000)
    content = path.read_text()
    path.write_text(content.replace("\n1500,", "\n4500,"))
    with pytest.raises(InputDiffers):
        import_files(shop.dsn, [Source(resource, (str(path),))])
    (report,) = import_files(shop.dsn, [Source(resource, (str(path),))], ImportOptions(restart=True))
    assert report.by_code == {"invalid_value": 3000}
    path.write_text(content)


def test_a_file_that_has_grown_is_gone_on_with(shop: Shop, command: list[str]) -> None:
    """Lines that were added at the end of an interrupted file are imported, too."""
    path = shop.folder / "things.csv"
    path.write_text("id,value\n" + "".join(f"{number},{number}\n" for number in range(1, 20_001)))
    interrupt(shop, path, 5000)
    with path.open("a") as file:
        file.write("20001,1\n")
    (report,) = import_files(shop.dsn, [Source(described(shop.dsn, "things", schema=shop.schema), (str(path),))])
    assert (report.total, report.inserted, report.rejected) == (20_001, 20_001, 0)


def test_a_process_that_was_overtaken_does_not_commit(shop: Shop, command: list[str]) -> None:
    """Two processes with the same import: the slower one finds its batch done, and stops without doing it again."""
    path = shop.folder / "things.csv"
    resource = described(shop.dsn, "things", schema=shop.schema)
    source = [Source(resource, (str(path),))]
    overtaken = False

    def overtake(moment: object) -> None:
        nonlocal overtaken
        if not overtaken:
            overtaken = True
            import_files(shop.dsn, source, ImportOptions(batch=BATCH), on_report=lambda _: None)

    with pytest.raises(WriteConflict):
        import_files(shop.dsn, source, ImportOptions(batch=BATCH), progress=overtake)
    assert shop.rows("SELECT count(*) FROM things") == [(RECORDS - 10,)]


def test_the_same_command_twice_at_once(shop: Shop, command: list[str]) -> None:
    """One of the two imports all records; the other, which has waited for it, says that it was not the only one."""
    cli = Cli(shop.dsn)
    shop.run("CREATE TABLE gate ()")
    shop.run(
        "CREATE FUNCTION pass() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        f" IF NEW.id = {BATCH + 1} THEN LOCK TABLE {shop.schema}.gate; END IF; RETURN NEW; END $$"
    )
    shop.run("CREATE TRIGGER gate BEFORE INSERT ON things FOR EACH ROW EXECUTE FUNCTION pass()")
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    with psycopg.connect(shop.dsn) as keeper:
        keeper.execute(f"LOCK TABLE {shop.schema}.gate")
        both = []
        for number in (1, 2):
            both.append(cli.start(*command))
            deadline = time.monotonic() + SECONDS
            while shop.values(waiting) != [number]:
                assert time.monotonic() < deadline
                time.sleep(0.01)
    said = [process.communicate(timeout=SECONDS) for process in both]
    codes = [process.returncode for process in both]
    assert sorted(codes) == [4, 5]
    assert b"CONFLICT" in said[codes.index(4)][1]
    complete(shop, said[codes.index(5)][0].decode())


def test_a_server_session_that_ends_is_no_verdict(shop: Shop, command: list[str]) -> None:
    """The connection is lost in a batch: exit code 3, no record is blamed, and the same command goes on."""
    cli = Cli(shop.dsn)
    shop.run(
        "CREATE FUNCTION end_it() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " IF NEW.id = 301 THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF; RETURN NEW; END $$"
    )
    shop.run("CREATE TRIGGER t BEFORE INSERT ON things FOR EACH ROW EXECUTE FUNCTION end_it()")
    done = cli(*command)
    assert done.code == 3, (done.out, done.err)
    assert "Traceback" not in done.err
    assert shop.rows("SELECT count(*) FROM things") == [(300 - 3,)]
    shop.run("DROP TRIGGER t ON things")
    complete(shop, cli(*command).out)


def test_a_table_that_was_made_anew_is_another(shop: Shop, command: list[str]) -> None:
    """What an interrupted import put into a table that is gone is not there: the same command begins anew."""
    path = shop.folder / "things.csv"
    interrupt(shop, path, 500, batch=BATCH)
    shop.run("DROP TABLE things")
    shop.table("id integer PRIMARY KEY, value integer")
    done = Cli(shop.dsn)(*command)
    assert "interrupted" not in done.err
    complete(shop, done.out)


def test_an_outage_takes_back_nothing_that_was_reported(tmp_path: Path) -> None:
    """Batches don't wait for the disk, but what is reported is on it: a server that crashes right then has all of it."""
    server = EmbeddedServer(tmp_path / "server")
    server.start()
    try:
        with psycopg.connect(server.dsn, autocommit=True) as session:
            # so long that nobody else writes out what was committed
            session.execute("ALTER SYSTEM SET wal_writer_delay = '10s'")
            session.execute("SELECT pg_reload_conf()")
            session.execute("CREATE TABLE public.things (id integer PRIMARY KEY)")
        path = tmp_path / "things.csv"
        path.write_text("id\n" + "".join(f"{number}\n" for number in range(1000)))
        resource = described(server.dsn, "things", schema="public")
        reported = []

        def crash(reports: list[ImportReport]) -> None:
            reported.extend(reports)
            server.stop("immediate")

        with pytest.raises(StoreUnreachable):
            import_files(server.dsn, [Source(resource, (str(path),))], ImportOptions(batch=100), on_report=crash)
        server.start()
        assert [one.inserted for one in reported] == [1000]
        with psycopg.connect(server.dsn) as session:
            assert session.execute("SELECT count(*) FROM public.things").fetchone() == (1000,)
            batches = session.execute("SELECT count(*), max(last_record) FROM evtool_bulk.batches").fetchone()
            assert batches == (10, 1000)
    finally:
        server.stop("immediate")
