"""docs/backup.md: pg_dump and pg_restore into a new cluster, of everything and of one namespace; then life goes on there."""

from __future__ import annotations

import subprocess
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import conninfo, sql

import evtool
from evtool import embedded
from evtool.embedded.binaries import Binaries, installed_binaries, wheel_binaries
from evtool.errors import BinariesMissing
from evtool.stores.postgres import PostgresStore
from evtool.testing.servers import DatabaseServer
from tests.cli.running import Cli

Run = Callable[..., str]
NAME = 'Orders "EU"'
SCHEMA = "orders_eu"


def _all_binaries() -> list[Binaries]:
    found = {}
    for find in (installed_binaries, wheel_binaries):
        try:
            binaries = find()
        except BinariesMissing:
            continue
        found[binaries.major] = binaries
    return [found[major] for major in sorted(found)]


@pytest.fixture(scope="module", params=["oldest", "newest"])
def cluster(request: pytest.FixtureRequest, server: DatabaseServer) -> Iterator[tuple[str, Binaries]]:
    """A new cluster of the server's version or a newer one: the oldest that there are programs for, and the newest."""
    major = int(server.version.split(".")[0])
    usable = [binaries for binaries in _all_binaries() if binaries.major >= major]
    assert usable, f"no programs of PostgreSQL {major} or newer"
    binaries = usable[0 if request.param == "oldest" else -1]
    with ExitStack() as stack:
        yield stack.enter_context(embedded.temporary(binaries=binaries, parameters={"fsync": "off"})).dsn, binaries


@pytest.fixture
def run(cluster: tuple[str, Binaries]) -> Run:
    """Runs a program of PostgreSQL, of the new cluster's version, as docs/backup.md says it."""

    def call(name: str, *arguments: str | Path, stdin: str = "") -> str:
        command = [str(cluster[1].program(name)), *map(str, arguments)]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return call


@pytest.fixture
def target(cluster: tuple[str, Binaries]) -> Iterator[str]:
    """An empty database on the new cluster; afterwards neither it nor a role of evtool's is left there."""
    name = f"restored_{uuid.uuid4().hex}"
    with psycopg.connect(cluster[0], autocommit=True) as admin:
        before = {row[0] for row in admin.execute("SELECT rolname FROM pg_roles")}
        admin.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        yield conninfo.make_conninfo(cluster[0], dbname=name)
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
        for (role,) in admin.execute("SELECT rolname FROM pg_roles").fetchall():
            if role not in before:
                admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


@pytest.fixture
def source(empty_dsn: str) -> str:
    """A database with two namespaces, gaps in their positions, and a role that writes."""
    with PostgresStore(empty_dsn) as store:
        store.migrate()
        store.create_namespace(NAME, SCHEMA)
        store.administration().notify(NAME, on=True)
        for name in ("message_store", NAME):
            one = store.in_namespace(name)
            for number in range(20):
                one.write_message(
                    None, f"order-{number % 3}", "Placed", {"n": number}, {"correlationStreamName": "x-1"}
                )
                if number % 5 == 0:
                    with pytest.raises(evtool.errors.MessageExists):
                        one.write_message(one.get_all_messages(batch_size=1)[0].id, "order-0", "Again", {})
    return empty_dsn


def _messages(dsn: str, schema: str) -> list[Any]:
    with psycopg.connect(dsn) as session:
        table = sql.Identifier(schema, "messages")
        return session.execute(sql.SQL("SELECT * FROM {} ORDER BY global_position").format(table)).fetchall()


def _drawn(dsn: str, schema: str) -> int:
    with psycopg.connect(dsn) as session:
        sequence = sql.Identifier(schema, "messages_global_position_seq")
        row = session.execute(sql.SQL("SELECT last_value FROM {}").format(sequence)).fetchone()
        assert row is not None
        return int(row[0])


def _goes_on(source: str, target: str, name: str, schema: str) -> None:
    """The namespace has every message, its writers go on at the next positions, and its consumers where they were."""
    assert _messages(target, schema) == _messages(source, schema)
    drawn = _drawn(source, schema)
    assert drawn == 24
    with PostgresStore(target, name) as store:
        consumed = store.get_category_messages("order", batch_size=-1, consumer_group_member=0, consumer_group_size=2)
        seen = store.get_all_messages(batch_size=-1)[-1].global_position
        assert store.write_message(None, "order-1", "Placed", {}, expected_version=6) == 7
        assert [one.global_position for one in store.get_all_messages(seen + 1)] == [drawn + 1]
        again = store.get_category_messages("order", batch_size=-1, consumer_group_member=0, consumer_group_size=2)
        assert again[: len(consumed)] == consumed
        assert store.watermark().position == drawn + 1
        assert store.administration().notifies(name) is (schema == SCHEMA)


def _is_current(dsn: str) -> None:
    with PostgresStore(dsn) as store:
        store.migrate()
        states = store.migration_status()
        assert all(state.current and state.roles and not state.note for state in states), states
        assert {step.action for step in store.migrate()} == {"current"}


@pytest.mark.thorough(but=["newest*"])
def test_everything_into_a_new_cluster(source: str, target: str, run: Run, tmp_path: Path) -> None:
    """Roles by pg_dumpall, the database by pg_dump: both namespaces go on, and a writer's membership came along."""
    member = f"shop_{uuid.uuid4().hex}"
    with psycopg.connect(source, autocommit=True) as admin:
        admin.execute(f"CREATE ROLE {member}")
    assert f"{member} may write" in Cli(source)("ns", "grant", NAME, "--to", member, "--write").ok().out

    roles = run("pg_dumpall", "--roles-only", "--no-role-passwords", "-d", source)
    run("psql", "-X", "-q", "-d", target, stdin=roles)
    run("pg_dump", "-Fc", "-d", source, "-f", tmp_path / "shop.dump")
    run("pg_restore", "--exit-on-error", "-d", target, tmp_path / "shop.dump")

    _is_current(target)
    for name, schema in (("message_store", "message_store"), (NAME, SCHEMA)):
        _goes_on(source, target, name, schema)
    with PostgresStore(conninfo.make_conninfo(target, options=f"-c role={member}"), NAME) as store:
        assert store.write_message(None, "order-1", "Placed", {}) == 8
        with pytest.raises(evtool.errors.PermissionDenied):
            store.in_namespace("message_store").write_message(None, "order-1", "Placed", {})


@pytest.mark.thorough(but=["newest-another*"])
@pytest.mark.parametrize("name", [NAME, "another 'name'"])
def test_one_namespace_into_a_new_cluster(source: str, target: str, run: Run, tmp_path: Path, name: str) -> None:
    """Its schema alone, without owners and privileges: `ns adopt` enters it, with groups of its own, and it goes on."""
    run("pg_dump", "-Fc", "-n", SCHEMA, "-d", source, "-f", tmp_path / "one.dump")
    run("pg_restore", "--exit-on-error", "--no-owner", "--no-privileges", "-d", target, tmp_path / "one.dump")
    done = Cli(target)("ns", "adopt", SCHEMA, "--as", name).ok()
    assert done.out == f'namespace "{name}": adopted (schema {SCHEMA})\n'
    _is_current(target)
    _goes_on(source, target, name, SCHEMA)
    with PostgresStore(target) as store:
        assert [one.name for one in store.list_namespaces()] == [name]
    with psycopg.connect(target, autocommit=True) as admin:
        public = "SELECT count(*) FROM pg_proc WHERE pronamespace = %s::regnamespace AND has_function_privilege('public', oid, 'EXECUTE')"
        assert admin.execute(public, (SCHEMA,)).fetchone() == (0,)
        admin.execute(f"SET ROLE {SCHEMA}_writer")
        call = f"SELECT {SCHEMA}.write_message(gen_random_uuid()::varchar, 'order-1', 'T', '{{}}')"
        assert admin.execute(call).fetchone() == (8,)


@pytest.mark.thorough(but=["newest*"])
def test_one_namespace_beside_others(source: str, target: str, run: Run, tmp_path: Path) -> None:
    """A database that has namespaces already takes one more; its own stay as they are."""
    with PostgresStore(target) as store:
        store.migrate()
        store.write_message(None, "kept-1", "T", {})
    run("pg_dump", "-Fc", "-n", SCHEMA, "-d", source, "-f", tmp_path / "one.dump")
    run("pg_restore", "--exit-on-error", "--no-owner", "--no-privileges", "-d", target, tmp_path / "one.dump")
    Cli(target)("ns", "adopt", SCHEMA, "--as", NAME).ok()
    _is_current(target)
    _goes_on(source, target, NAME, SCHEMA)
    with PostgresStore(target) as store:
        assert store.stream_version("kept-1") == 0


@pytest.mark.thorough(but=["newest*"])
def test_the_printed_sql_enters_it_as_well(source: str, target: str, run: Run, tmp_path: Path) -> None:
    """`ns adopt --sql` for a restored schema, run by psql, leaves what `ns adopt` leaves."""
    with PostgresStore(target) as store:
        store.migrate()
    run("pg_dump", "-Fc", "-n", SCHEMA, "-d", source, "-f", tmp_path / "one.dump")
    run("pg_restore", "--exit-on-error", "--no-owner", "--no-privileges", "-d", target, tmp_path / "one.dump")
    run("psql", "-X", "-q", "-d", target, stdin=Cli(target)("ns", "adopt", SCHEMA, "--as", NAME, "--sql").ok().out)
    _is_current(target)
    _goes_on(source, target, NAME, SCHEMA)


def test_a_backup_of_a_store_that_is_written_to_has_no_position_above_its_sequence(
    source: str, target: str, run: Run, tmp_path: Path
) -> None:
    """While writers go on, what pg_dump sees is restored with a sequence that is not behind it, so writing goes on."""
    stop = threading.Event()

    def write(number: int) -> int:
        count = 0
        with PostgresStore(source, NAME) as store:
            while not stop.is_set():
                store.write_message(None, f"busy-{number}", "T", {})
                count += 1
        return count

    with ThreadPoolExecutor(3) as pool:
        writers = [pool.submit(write, number) for number in range(3)]
        try:
            run("pg_dump", "-Fc", "-n", SCHEMA, "-d", source, "-f", tmp_path / "one.dump")
        finally:
            stop.set()
        assert all(writer.result(60) > 0 for writer in writers)
    run("pg_restore", "--exit-on-error", "--no-owner", "--no-privileges", "-d", target, tmp_path / "one.dump")
    Cli(target)("ns", "adopt", SCHEMA, "--as", NAME).ok()
    rows, all_rows = _messages(target, SCHEMA), _messages(source, SCHEMA)
    there = {row[0] for row in rows}
    assert rows == [row for row in all_rows if row[0] in there]
    for number in range(3):
        # within a category what was committed first has the smaller position, so nothing is missing in between
        own = [row for row in all_rows if row[3] == f"busy-{number}"]
        assert [row for row in rows if row[3] == f"busy-{number}"] == own[: sum(row[0] in there for row in own)]
    greatest = max(row[0] for row in rows)
    assert _drawn(target, SCHEMA) >= greatest
    with PostgresStore(target, NAME) as store:
        store.write_message(None, "order-1", "Placed", {}, expected_version=6)
        assert store.get_all_messages(greatest + 1)[0].type == "Placed"
