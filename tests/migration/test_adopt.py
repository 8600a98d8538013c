"""ns adopt: a store that Message DB itself installed becomes a namespace in place, while its clients go on."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import conninfo, sql
from psycopg.pq import TransactionStatus

import evtool
from evtool.errors import NamespaceExists, NamespaceRefused, PermissionDenied, StoreTimeout
from evtool.stores.postgres import PostgresStore
from evtool.testing import reference
from evtool.testing.servers import DatabaseServer
from tests.cli.running import Cli, assert_one_line

CHECKOUT = Path(__file__).resolve().parents[2]
CACHE = CHECKOUT / ".cache"
DEADLINE = 60.0
GATE = 424244
MINUTE = timedelta(minutes=1)

WRITE = "SELECT write_message(%s::varchar, %s::varchar, %s::varchar, %s::jsonb, %s::jsonb, %s::bigint)"
ROWS = "SELECT ctid::text, xmin::text, m.* FROM message_store.messages AS m ORDER BY global_position"
FILES = """
    SELECT relname, pg_relation_filenode(oid) FROM pg_class
    WHERE relname IN ('messages', 'messages_pkey', 'messages_id', 'messages_stream', 'messages_category')
      AND relnamespace = 'message_store'::regnamespace
    ORDER BY 1
"""
# Every call of Message DB's clients, unqualified, as they make them.
CALLS = [
    "SELECT * FROM get_stream_messages('account-1', 0, 10)",
    "SELECT * FROM get_category_messages('account', 1, 10)",
    "SELECT * FROM get_category_messages('account', 1, 10, 'other', 0, 2)",
    "SELECT * FROM get_last_stream_message('account-1')",
    "SELECT stream_version('account-1')",
    "SELECT acquire_lock('account-1'), category('a-1'), id('a-1'), cardinal_id('a-1'), is_category('a'), hash_64('a')",
    "SELECT message_store_version()",
    "SELECT * FROM messages WHERE stream_name = 'account-1'",
    "SELECT * FROM stream_summary, type_summary, category_type_summary",
]

ADOPT = """
import sys, evtool, datetime
for line in evtool.connect(sys.argv[1]).administration().adopt('message_store', 'message_store', datetime.timedelta(minutes=1)):
    print(line, flush=True)
"""


@pytest.fixture
def foreign(empty_dsn: str) -> Iterator[psycopg.Connection]:
    """A superuser's session on a database where Message DB was installed, and written to."""
    with psycopg.connect(empty_dsn, autocommit=True) as session:
        reference.install(session, reference.fetch(CACHE))
        with _client(empty_dsn) as client:
            for number in range(60):
                _write(client, f"account-{number % 7}", data=f'{{"n": {number}}}')
        yield session


def _client(dsn: str, role: str = "message_store") -> psycopg.Connection:
    """A session of Message DB's clients."""
    session = psycopg.connect(dsn, autocommit=True)
    session.execute(sql.SQL("SET SESSION AUTHORIZATION {}").format(sql.Identifier(role)))
    session.execute("SET search_path = message_store, public")
    return session


def _write(session: psycopg.Connection, stream: str, expected: int | None = None, data: str = "{}") -> int:
    row = session.execute(WRITE, (str(uuid.uuid4()), stream, "T", data, None, expected)).fetchone()
    assert row is not None
    return int(row[0])


def _adopt(dsn: str, schema: str = "message_store", name: str | None = None, wait: timedelta = MINUTE) -> list[str]:
    with PostgresStore(dsn) as store:
        return list(store.administration().adopt(schema, name or schema, wait))


def _until(condition: Callable[[], Any]) -> None:
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, "it never became true"
        time.sleep(0.005)


def _waits(watching: psycopg.Connection, session: psycopg.Connection) -> bool:
    query = "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = %s"
    return watching.execute(query, (session.info.backend_pid,)).fetchone() == (True,)


def _drains(watching: psycopg.Connection) -> bool:
    query = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%%wait_for_transactions%%' AND wait_event = %s"
    return watching.execute(query, ("PgSleep",)).fetchone() == (1,)


def test_every_message_stays_where_it_is(foreign: psycopg.Connection, empty_dsn: str) -> None:
    """No row is touched, no table or index is rewritten, and evtool finds all of it current."""
    rows, files = foreign.execute(ROWS).fetchall(), foreign.execute(FILES).fetchall()
    assert len(rows) == 60
    said = _adopt(empty_dsn)
    assert said[-1] == "nobody may write around the functions"
    assert foreign.execute(ROWS).fetchall() == rows
    assert foreign.execute(FILES).fetchall() == files
    assert len(files) == 5
    with evtool.connect(empty_dsn) as store:
        assert [(one.name, one.schema) for one in store.list_namespaces()] == [("message_store", "message_store")]
        assert all(state.current and state.roles and not state.note for state in store.migration_status())
        assert {(step.action, step.notes) for step in store.migrate()} == {("current", ())}
        assert [message.global_position for message in store.get_all_messages()] == list(range(1, 61))
        assert store.write_message(None, "account-1", "T", {}, expected_version=8) == 9
        assert store.get_all_messages(61)[0].global_position == 61
        assert len(store.list_streams()) == 7


def test_what_comes_out_is_what_evtool_makes(foreign: psycopg.Connection, empty_dsn: str, make_database: Any) -> None:
    """Functions and views are those of a fresh namespace, so are the indexes but for the one more of stream names."""
    _adopt(empty_dsn)
    fresh_dsn = make_database()
    with evtool.connect(fresh_dsn) as store:
        store.migrate()
    with psycopg.connect(fresh_dsn, autocommit=True) as fresh:
        for query in (
            "SELECT schema_name, checksum, fingerprint, evtool_version FROM evtool.behaviours ORDER BY 1",
            "SELECT version_num FROM message_store.evtool_version",
            (
                "SELECT relname, relkind, relacl::text FROM pg_class WHERE relnamespace = 'message_store'::regnamespace"
                " AND relkind IN ('r', 'v', 'S', 'c') ORDER BY relname COLLATE \"C\""
            ),
            (
                "SELECT proname, proacl::text FROM pg_proc WHERE pronamespace = 'message_store'::regnamespace"
                ' ORDER BY proname COLLATE "C"'
            ),
        ):
            assert _normal(foreign.execute(query).fetchall()) == _normal(fresh.execute(query).fetchall())
        indexes = "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'message_store' ORDER BY 1"
        more = set(foreign.execute(indexes).fetchall()) - set(fresh.execute(indexes).fetchall())
        assert [name for name, _ in more] == ["messages_stream_bytes"]
        assert len(foreign.execute(indexes).fetchall()) == len(fresh.execute(indexes).fetchall()) + 1


def test_the_page_tells_how_to_lose_the_last_difference(
    foreign: psycopg.Connection, empty_dsn: str, make_database: Any, psql: Any
) -> None:
    """The SQL of docs/adopt.md, and then migrate: columns and indexes are those of a fresh namespace."""
    _adopt(empty_dsn)
    page = (CHECKOUT / "docs" / "adopt.md").read_text("utf-8")
    (block,) = re.findall(r"^```sql\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    psql(empty_dsn, block)
    fresh_dsn = make_database()
    described = []
    for dsn in (empty_dsn, fresh_dsn):
        with evtool.connect(dsn) as store:
            store.migrate()
            assert {(step.action, step.notes) for step in store.migrate()} == {("current", ())}
        with psycopg.connect(dsn) as session:
            session.execute("SET search_path = pg_catalog")
            described.append(
                [
                    session.execute(query).fetchall()
                    for query in (
                        "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'message_store' ORDER BY 1",
                        (
                            "SELECT attname, atttypid, attcollation, attnotnull FROM pg_attribute"
                            " WHERE attrelid = 'message_store.messages'::regclass AND attnum > 0 ORDER BY attnum"
                        ),
                    )
                ]
            )
    assert described[0] == described[1]
    with evtool.connect(empty_dsn) as store:
        assert store.write_message(None, "account-1", "T", {}, expected_version=8) == 9


def _normal(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Privileges in an order of their own, without what an owner has anyhow, and what Message DB's role had directly."""

    def plain(value: Any) -> Any:
        if not (isinstance(value, str) and value.startswith("{")):
            return value
        items = value.strip("{}").split(",")
        return sorted(item for item in items if not item.startswith(("message_store=", "postgres=")))

    return [tuple(plain(value) for value in row) for row in rows]


class _Clients:
    """Writers, a consumer and a reader who make Message DB's calls until they are told to stop."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self.stop = threading.Event()
        self.written = threading.Event()
        self.counts = [0] * 4

    def write(self, number: int) -> None:
        """Two streams for four writers: a lock that is not shared shows as a position that is taken."""
        with _client(self.dsn) as session:
            while not self.stop.is_set():
                count = self.counts[number]
                _write(session, f"order-{number % 2}")
                assert _write(session, f"order-own{number}", count - 1) == count
                self.counts[number] += 1

    def consume(self) -> list[tuple[int, str]]:
        """Reads on from what it has seen, as a consumer does: what appears behind that is never seen."""
        seen: list[tuple[int, str]] = []
        query = "SELECT global_position, stream_name FROM get_category_messages('order', %s, 100)"
        with _client(self.dsn) as session:
            while True:
                is_last = self.written.is_set()
                rows = session.execute(query, (seen[-1][0] + 1 if seen else 1,)).fetchall()
                seen += rows
                if is_last and not rows:
                    return seen

    def read(self) -> int:
        """Makes every call; returns how often."""
        count = 0
        with _client(self.dsn) as session:
            while not self.stop.is_set():
                for call in CALLS:
                    session.execute(call)
                count += 1
        return count


def test_clients_go_on_and_none_of_their_calls_fails(foreign: psycopg.Connection, empty_dsn: str) -> None:
    """Writers and readers of Message DB's calls run all the while: no error, no position twice, nothing appears late."""
    clients = _Clients(empty_dsn)
    with ThreadPoolExecutor(8) as pool:
        writers = [pool.submit(clients.write, number) for number in range(4)]
        consumer, reader = pool.submit(clients.consume), pool.submit(clients.read)
        running = [*writers, consumer, reader]
        try:
            for _ in range(2):
                before = list(clients.counts)
                _until(
                    lambda: (
                        all(count > was + 25 for count, was in zip(clients.counts, before, strict=True))  # noqa: B023
                        or any(one.done() for one in running)
                    )
                )
                _adopt(empty_dsn)
        finally:
            clients.stop.set()
            for writer in writers:
                writer.exception(DEADLINE)
            clients.written.set()
        assert [writer.result() for writer in writers] == [None] * 4
        assert reader.result(DEADLINE) > 0
        seen = consumer.result(DEADLINE)
    query = "SELECT global_position, stream_name FROM messages WHERE stream_name LIKE 'order-%%' ORDER BY 1"
    foreign.execute("SET search_path = message_store")
    assert seen == foreign.execute(query).fetchall()
    assert len(seen) == 2 * sum(clients.counts)
    holes = "SELECT stream_name FROM messages GROUP BY stream_name HAVING max(position) <> count(*) - 1 OR min(position) <> 0"
    assert foreign.execute(holes).fetchall() == []


def test_a_writer_in_the_middle_of_the_old_function_keeps_others_out(
    foreign: psycopg.Connection, empty_dsn: str
) -> None:
    """While one who began before is not done, the adoption waits, and so does whoever writes to the same category."""
    _build_the_indexes_first(foreign)
    with _client(empty_dsn) as old, _client(empty_dsn) as new, ThreadPoolExecutor(2) as pool:
        old.execute("BEGIN")
        assert _write(old, "cart-1") == 0
        adopting = pool.submit(_adopt, empty_dsn)
        _until(lambda: _drains(foreign) or adopting.done())
        writing = pool.submit(_write, new, "cart-1")
        _until(lambda: _waits(foreign, new) or writing.done())
        assert not writing.done()
        assert not adopting.done()
        old.execute("COMMIT")
        assert writing.result(DEADLINE) == 1
        adopting.result(DEADLINE)


def _stuck_at_an_index(watching: psycopg.Connection) -> bool:
    query = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%%CONCURRENTLY%%' AND wait_event_type = %s"
    return watching.execute(query, ("Lock",)).fetchone() == (1,)


def test_a_writer_between_the_steps_keeps_others_out(foreign: psycopg.Connection, empty_dsn: str) -> None:
    """One who writes by the old function until after the new ones are there shares its lock with them."""
    _build_the_indexes_first(foreign)
    with (
        _client(empty_dsn) as idle,
        _client(empty_dsn) as old,
        _client(empty_dsn) as new,
        ThreadPoolExecutor(2) as pool,
    ):
        idle.execute("BEGIN")
        idle.execute("SELECT 1")
        adopting = pool.submit(_adopt, empty_dsn)
        # the shared lock is there, and the wait for those who don't know it has begun
        _until(lambda: _drains(foreign) or adopting.done())
        registered = "SELECT to_regclass('message_store.evtool_version') IS NOT NULL"
        assert foreign.execute(registered).fetchone() == (False,)
        old.execute("BEGIN")
        assert _write(old, "cart-1") == 0
        idle.execute("COMMIT")
        _until(lambda: foreign.execute(registered).fetchone() == (True,) or adopting.done())
        writing = pool.submit(_write, new, "cart-1")
        _until(lambda: _waits(foreign, new) or writing.done())
        assert not writing.done()
        assert _write(old, "cart-1") == 1
        old.execute("COMMIT")
        assert writing.result(DEADLINE) == 2
        adopting.result(DEADLINE)


def _build_the_indexes_first(session: psycopg.Connection) -> None:
    """As a first run does, so that only the waits of the second are left to be waited at."""
    from evtool import sqltext
    from evtool.stores.postgres import scripts

    text = scripts.fill(sqltext.read("adoption/indexes.sql"), {"ns": "message_store"}).as_string(session)
    for statement in sqltext.statements(text):
        session.execute(statement)


def test_a_transaction_that_does_not_end_is_named_and_waited_for_again(
    foreign: psycopg.Connection, empty_dsn: str
) -> None:
    """After the wait it is TIMEOUT with the pid; clients have gone on, and another run finishes."""
    _build_the_indexes_first(foreign)
    with _client(empty_dsn) as old:
        old.execute("BEGIN")
        old.execute("SELECT 1")
        with pytest.raises(StoreTimeout, match=f"pid: {old.info.backend_pid}"):
            _adopt(empty_dsn, wait=timedelta(milliseconds=200))
        with _client(empty_dsn) as client:
            assert _write(client, "account-1") == 9
    _adopt(empty_dsn)
    with evtool.connect(empty_dsn) as store:
        assert all(state.current for state in store.migration_status())


def test_two_who_adopt_at_once_do_not_disturb_each_other(foreign: psycopg.Connection, empty_dsn: str) -> None:
    """The second is told that there is a first."""
    with _client(empty_dsn) as old, ThreadPoolExecutor(1) as pool:
        old.execute("BEGIN")
        old.execute("SELECT 1")
        adopting = pool.submit(_adopt, empty_dsn)
        _until(lambda: _stuck_at_an_index(foreign) or _drains(foreign) or adopting.done())
        with pytest.raises(StoreTimeout, match="being adopted by another session"):
            _adopt(empty_dsn)
        old.execute("COMMIT")
        assert adopting.result(DEADLINE)[-1] == "nobody may write around the functions"


@pytest.mark.parametrize(
    ("tag", "identity"),
    [
        ("CREATE SCHEMA", "evtool"),
        ("CREATE INDEX", "message_store.messages_time"),
        ("CREATE FUNCTION", "message_store.acquire_lock(character varying)"),
        ("CREATE TABLE", "message_store.evtool_version"),
        ("CREATE TABLE", "message_store.imports"),
        ("CREATE VIEW", "message_store.type_summary"),
    ],
)
def test_killed_in_a_step_it_is_finished_by_the_next_run(
    foreign: psycopg.Connection, empty_dsn: str, tag: str, identity: str
) -> None:
    """Kill -9 at any step: clients find a store that works, by its old functions or the new, and a rerun completes it."""
    foreign.execute("SELECT pg_advisory_lock(%s)", (GATE,))
    foreign.execute(
        "CREATE FUNCTION public.gate() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN"
        f" IF EXISTS (SELECT FROM pg_event_trigger_ddl_commands() WHERE object_identity = '{identity}') THEN"
        f"  PERFORM pg_advisory_xact_lock({GATE}); END IF; END $$"
    )
    foreign.execute(
        f"CREATE EVENT TRIGGER gate ON ddl_command_end WHEN TAG IN ('{tag}') EXECUTE FUNCTION public.gate()"
    )
    waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND objid = %s"
    _kill_when(empty_dsn, lambda: foreign.execute(waiting, (GATE,)).fetchone() == (1,))
    foreign.execute("SELECT pg_advisory_unlock_all()")
    _finished_by_another_run(foreign, empty_dsn)


@pytest.mark.parametrize("where", ["index", "first wait"])
def test_killed_while_it_waits_it_is_finished_by_the_next_run(
    foreign: psycopg.Connection, empty_dsn: str, where: str
) -> None:
    """An index that was left half built is dropped and built anew; a wait is waited again."""
    if where == "first wait":
        _build_the_indexes_first(foreign)
    with _client(empty_dsn) as old:
        old.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        old.execute("SELECT count(*) FROM messages")
        _kill_when(empty_dsn, lambda: (_stuck_at_an_index if where == "index" else _drains)(foreign))
        query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'evtool'"
        foreign.execute(query)
        _until(lambda: foreign.execute(query).fetchall() == [])
    invalid = "SELECT count(*) FROM pg_index WHERE NOT indisvalid"
    assert foreign.execute(invalid).fetchone() == (1 if where == "index" else 0,)
    _finished_by_another_run(foreign, empty_dsn)
    assert foreign.execute(invalid).fetchone() == (0,)


def test_killed_in_the_last_wait_the_next_run_closes_the_table(foreign: psycopg.Connection, empty_dsn: str) -> None:
    """When all but the last step is done, clients may still insert for themselves; the next run ends that."""
    _build_the_indexes_first(foreign)
    may_insert = "SELECT has_table_privilege('message_store', 'message_store.messages', 'INSERT')"
    registered = "SELECT to_regclass('message_store.evtool_version') IS NOT NULL"
    with _client(empty_dsn) as first, _client(empty_dsn) as second:

        def in_the_last_wait() -> bool:
            if _drains(foreign) and second.info.transaction_status == TransactionStatus.IDLE:
                second.execute("BEGIN")
                second.execute("SELECT 1")
                first.execute("COMMIT")
            return foreign.execute(registered).fetchone() == (True,) and _drains(foreign)

        first.execute("BEGIN")
        first.execute("SELECT 1")
        _kill_when(empty_dsn, in_the_last_wait)
        foreign.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'evtool'")
    assert foreign.execute(may_insert).fetchone() == (True,)
    _finished_by_another_run(foreign, empty_dsn)
    assert foreign.execute(may_insert).fetchone() == (False,)


def _kill_when(dsn: str, condition: Callable[[], Any]) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", ADOPT, dsn],
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as child:
        _until(lambda: condition() or child.poll() is not None)
        assert child.poll() is None, child.stdout.read() if child.stdout else ""
        child.send_signal(signal.SIGKILL)


def _finished_by_another_run(foreign: psycopg.Connection, dsn: str) -> None:
    evtools = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'evtool' AND datname = current_database()"
    _until(lambda: foreign.execute(evtools).fetchone() == (0,))
    with _client(dsn) as client:
        for call in CALLS:
            client.execute(call)
        assert _write(client, "account-1", 8) == 9
        _adopt(dsn)
        for call in CALLS:
            client.execute(call)
        assert _write(client, "account-1", 9) == 10
    with evtool.connect(dsn) as store:
        assert all(state.current and state.roles for state in store.migration_status())
        assert len(store.get_all_messages()) == 62


def test_again_it_does_nothing(foreign: psycopg.Connection, empty_dsn: str) -> None:
    """A store that was adopted is found done; so is a namespace that evtool made."""
    _adopt(empty_dsn)
    before = foreign.execute(
        "SELECT oid, xmin::text FROM pg_class UNION SELECT oid, xmin::text FROM pg_proc"
    ).fetchall()
    with _client(empty_dsn) as busy:
        busy.execute("BEGIN")
        busy.execute("SELECT 1")
        assert _adopt(empty_dsn, wait=timedelta(0)) == ["nothing is left to be done"]
    after = foreign.execute("SELECT oid, xmin::text FROM pg_class UNION SELECT oid, xmin::text FROM pg_proc").fetchall()
    assert sorted(after) == sorted(before)


def test_the_printed_sql_does_the_same(
    foreign: psycopg.Connection, empty_dsn: str, make_database: Any, psql: Any, dump: Any
) -> None:
    """Run by psql on a store of the same kind, it leaves what `ns adopt` leaves; printing changes nothing."""
    other = make_database()
    with psycopg.connect(other, autocommit=True) as session:
        reference.install(session, reference.fetch(CACHE))
    before = dump(other, "message_store")
    with PostgresStore(other) as store:
        text = store.administration().adoption_script("message_store", "message_store")
    assert dump(other, "message_store") == before
    psql(other, text)
    _adopt(empty_dsn)
    assert dump(other, "message_store") == dump(empty_dsn, "message_store")
    assert dump(other, "evtool") == dump(empty_dsn, "evtool")
    with evtool.connect(other) as store:
        assert {(step.action, step.notes) for step in store.migrate()} == {("current", ())}
    # and again, on a store that is done
    with PostgresStore(other) as store:
        psql(other, store.administration().adoption_script("message_store", "message_store"))


def test_no_index_is_built_while_the_table_is_locked(foreign: psycopg.Connection, empty_dsn: str) -> None:
    """What the migrations build on messages was built concurrently before: in the transactions none is made."""
    with PostgresStore(empty_dsn) as store:
        text = store.administration().adoption_script("message_store", "message_store")
    outside: list[str] = []
    inside: list[str] = []
    for number, part in enumerate(text.split("\nBEGIN;\n")):
        transaction, _, rest = part.partition("\nCOMMIT;\n") if number else ("", "", part)
        inside += re.findall(r"CREATE (?:UNIQUE )?INDEX (\w+) ON messages\b", transaction)
        outside += re.findall(r"^CREATE INDEX CONCURRENTLY IF NOT EXISTS (\w+) ON", rest, re.MULTILINE)
    assert outside == ["messages_time", "messages_stream_bytes"]
    assert inside == ["messages_time"]
    assert "IF to_regclass('messages_time') IS NULL THEN" in text


def test_a_session_that_knew_the_index_before_still_uses_it(foreign: psycopg.Connection, empty_dsn: str) -> None:
    """A client that stays connected reads categories by the index after category() has become inlinable."""
    plan = "EXPLAIN SELECT * FROM messages WHERE category(stream_name) = 'account' AND global_position > 5"
    with _client(empty_dsn) as session:
        session.execute("SET enable_seqscan = off")
        session.execute("SET enable_bitmapscan = off")
        assert "messages_category" in str(session.execute(plan).fetchall())
        _adopt(empty_dsn)
        assert "messages_category" in str(session.execute(plan).fetchall())


def test_its_clients_write_by_the_functions_and_no_other_way(foreign: psycopg.Connection, empty_dsn: str) -> None:
    """Whoever could INSERT is a writer now, whoever could look a reader; nobody inserts, and other rights are told."""
    tag = os.getpid()
    app, team, analyst = f"app_{tag}", f'team\'s "{tag}"', f"analyst_{tag}"
    for statement in (
        "CREATE ROLE {app} LOGIN IN ROLE message_store",
        "CREATE ROLE {team}",
        "CREATE ROLE {analyst} LOGIN",
        "GRANT USAGE ON SCHEMA message_store TO {team}, {analyst}",
        "GRANT SELECT, INSERT, DELETE ON message_store.messages TO {team}",
        "GRANT USAGE ON SEQUENCE message_store.messages_global_position_seq TO {team}",
        "GRANT SELECT ON message_store.messages TO {analyst}",
    ):
        names = {"app": app, "team": team, "analyst": analyst}
        foreign.execute(sql.SQL(statement).format(**{key: sql.Identifier(name) for key, name in names.items()}))
    said = _adopt(empty_dsn)
    quoted = sql.Identifier(team).as_string(foreign)
    assert any(f"The role {quoted} keeps DELETE on message_store.messages" in line for line in said)
    with PostgresStore(empty_dsn) as store:
        members = {one.role: (one.right, one.through) for one in store.administration().members("message_store")}
    assert members[app] == ("write", "message_store")
    assert members[team] == ("write", None)
    assert members[analyst] == ("read", None)
    assert members["message_store"] == ("write", None)
    insert = "INSERT INTO messages (stream_name, position, type) VALUES ('a-1', 99, 'T')"
    for role in (app, team, "message_store"):
        with _client(empty_dsn, role) as session:
            _write(session, "account-1")
            for statement in (insert, "SELECT nextval('messages_global_position_seq')"):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    session.execute(statement)
    with _client(empty_dsn, analyst) as session:
        session.execute(CALLS[0])
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            _write(session, "account-1")


def test_migrate_leaves_it_alone_and_says_what_adopts_it(foreign: psycopg.Connection, empty_dsn: str) -> None:
    """Without being asked nothing of it is changed, and the note names the command."""
    source = "SELECT md5(string_agg(prosrc, '' ORDER BY oid)) FROM pg_proc WHERE pronamespace = 'message_store'::regnamespace"
    before = foreign.execute(source).fetchone()
    with evtool.connect(empty_dsn) as store:
        steps = store.migrate()
    assert steps[1].action == "left alone"
    assert "evtool ns adopt message_store" in steps[1].notes[0]
    assert foreign.execute(source).fetchone() == before


def test_streams_are_listed_by_their_bytes_in_a_locale_of_words(server: DatabaseServer, make_database: Any) -> None:
    """In a database that sorts like a dictionary, an adopted store lists the streams of a prefix, all and in order."""
    dsn = make_database()
    locale = _dictionary_locale(server)
    database = f"dictionary_{os.getpid()}"
    with psycopg.connect(server.dsn, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {database} TEMPLATE template0 {locale}")
        try:
            words = conninfo.make_conninfo(dsn, dbname=database)
            with psycopg.connect(words, autocommit=True) as session:
                reference.install(session, reference.fetch(CACHE))
                with _client(words) as client:
                    for stream in ("ab-1", "a-b", "A-1", "a-c", "aB-2", "a_1-1", "ä-1", "a-1"):
                        _write(client, stream)
                ordered = session.execute("SELECT 'ab' < 'a-c'").fetchone()
                assert ordered == (True,), "the locale sorts by bytes, and the test proves nothing"
            _adopt(words)
            with evtool.connect(words) as store:
                assert [one.stream_name for one in store.list_streams("a-")] == ["a-1", "a-b", "a-c"]
                listed = [one.stream_name for one in store.list_streams()]
                assert listed == sorted(listed, key=str.encode)
                assert len(listed) == 8
                after = store.list_streams("a", after="a-b")
                assert [one.stream_name for one in after] == ["a-c", "aB-2", "a_1-1", "ab-1"]
                assert [one.position for one in store.get_category_messages("a")] == [0, 0, 0]
        finally:
            admin.execute(f"DROP DATABASE {database} WITH (FORCE)")


def _dictionary_locale(server: DatabaseServer) -> str:
    """A locale of this server in which a hyphen counts less than letters."""
    with psycopg.connect(server.dsn) as session:
        ours = "collprovider = 'c' AND collname ~ '^en_.*utf-?8$'"
        named = session.execute(f"SELECT min(collname) FROM pg_collation WHERE {ours}").fetchone()
        icu = session.execute("SELECT count(*) > 0 FROM pg_collation WHERE collprovider = 'i'").fetchone()
    if named and named[0]:
        return f"LOCALE '{named[0]}'"
    if icu != (True,):
        # PostgreSQL's own image has one; a server of the embedded binaries has what the machine has
        (pytest.fail if server.rung == "docker" else pytest.skip)("the server has no locale en_…UTF-8, and no ICU")
    return "ENCODING 'UTF8' LOCALE 'C' LOCALE_PROVIDER icu ICU_LOCALE 'en-US-u-ka-shifted'"


REFUSED = [
    ("CREATE SCHEMA elsewhere", "elsewhere", "has no table messages"),
    ("SELECT 1", "nowhere", "There is no schema nowhere"),
    ("SELECT 1", "evtool", "is reserved"),
    ("ALTER TABLE message_store.messages ADD COLUMN note text", "message_store", "its columns are"),
    ("ALTER TABLE message_store.messages ALTER type TYPE varchar(80)", "message_store", "its columns are"),
    ("DROP FUNCTION message_store.hash_64(varchar)", "message_store", "lacks functions of Message DB 1.3.0: hash_64"),
    (
        (
            "CREATE OR REPLACE FUNCTION message_store.message_store_version() RETURNS varchar LANGUAGE plpgsql"
            " AS $$ BEGIN RETURN '1.2.3'; END $$"
        ),
        "message_store",
        "another version of Message DB",
    ),
    ("DROP INDEX message_store.messages_stream", "message_store", "lacks valid indexes of Message DB: messages_stream"),
    (
        (
            "ALTER TABLE message_store.messages ALTER global_position SET DEFAULT 1; ALTER SEQUENCE"
            " message_store.messages_global_position_seq OWNED BY NONE"
        ),
        "message_store",
        "its own sequence",
    ),
    ("GRANT USAGE ON SCHEMA message_store TO PUBLIC", "message_store", "Everybody may use the schema"),
]


@pytest.mark.parametrize(("change", "schema", "reason"), REFUSED)
def test_what_is_not_message_db_is_refused(
    foreign: psycopg.Connection, empty_dsn: str, change: str, schema: str, reason: str
) -> None:
    """Anything else than a whole store of 1.3.0 is left as it is, and the error says what is in the way."""
    if "OR" not in reason and "messages ALTER type" in change:
        foreign.execute(
            "DROP VIEW message_store.type_summary, message_store.stream_type_summary,"
            " message_store.type_stream_summary, message_store.category_type_summary,"
            " message_store.type_category_summary"
        )
    foreign.execute(change)
    source = "SELECT md5(string_agg(prosrc, '' ORDER BY oid)) FROM pg_proc WHERE pronamespace = 'message_store'::regnamespace"
    before = foreign.execute(source).fetchone()
    with pytest.raises(NamespaceRefused, match=reason.replace("(", r"\(")):
        _adopt(empty_dsn, schema)
    assert foreign.execute(source).fetchone() == before
    with evtool.connect(empty_dsn) as store:
        assert {step.action for step in store.migrate()} <= {"created", "current", "left alone"}
        assert "message_store" not in [one.name for one in store.list_namespaces()]


def test_a_function_of_the_schema_is_never_run(foreign: psycopg.Connection, empty_dsn: str) -> None:
    """What somebody put in the place of message_store_version doesn't run with the rights of whoever adopts."""
    foreign.execute("CREATE TABLE public.ran (x int)")
    foreign.execute(
        "CREATE OR REPLACE FUNCTION message_store.message_store_version() RETURNS varchar LANGUAGE plpgsql"
        " AS $$ BEGIN INSERT INTO public.ran VALUES (1); RETURN '1.3.0'; END $$"
    )
    _adopt(empty_dsn)
    assert foreign.execute("SELECT count(*) FROM public.ran").fetchone() == (0,)


def test_a_name_that_is_anothers_is_refused(foreign: psycopg.Connection, empty_dsn: str) -> None:
    """--as names the namespace; a name that is taken is a conflict, and a hostile one is a name."""
    with evtool.connect(empty_dsn) as store:
        store.migrate()
        store.create_namespace("orders")
    with pytest.raises(NamespaceExists):
        _adopt(empty_dsn, name="orders")
    name = 'the "old" one\'; DROP TABLE x; -- %s'
    _adopt(empty_dsn, name=name)
    with evtool.connect(empty_dsn, name) as store:
        assert store.get_namespace(name).schema == "message_store"
        assert store.stream_version("account-1") == 8


def test_who_may_not_is_told_which_right_is_missing(foreign: psycopg.Connection, empty_dsn: str) -> None:
    """A role that doesn't own the store is refused by the owner's name, before anything of the store is changed."""
    role = f"guest_{os.getpid()}"
    foreign.execute(f"CREATE ROLE {role}")
    foreign.execute(f"GRANT CREATE ON DATABASE {foreign.info.dbname} TO {role}")
    dsn = conninfo.make_conninfo(empty_dsn, options=f"-c role={role}")
    with pytest.raises(PermissionDenied) as caught:
        _adopt(dsn)
    owner = foreign.execute(
        "SELECT nspowner::regrole::text FROM pg_namespace WHERE nspname = 'message_store'"
    ).fetchone()
    assert owner is not None
    assert f"belongs to {owner[0]}" in caught.value.message
    assert f"GRANT {owner[0]} TO {role}" in (caught.value.hint or "")


def test_an_owner_who_is_no_superuser_adopts(empty_dsn: str) -> None:
    """A role that owns database and store, and may create roles, adopts it; without CREATEROLE it is told so."""
    role = f"owner_{os.getpid()}"
    with psycopg.connect(empty_dsn, autocommit=True) as admin:
        admin.execute(f"CREATE ROLE {role}")
        admin.execute(f"ALTER DATABASE {admin.info.dbname} OWNER TO {role}")
        reference.install(admin, reference.fetch(CACHE))
        admin.execute(f"ALTER SCHEMA message_store RENAME TO owned_{role}")
        schema = f"owned_{role}"
        for query in (
            "SELECT format('ALTER FUNCTION %%s OWNER TO {0}', oid::regprocedure) FROM pg_proc WHERE pronamespace = %s::regnamespace",
            (
                "SELECT format('ALTER TABLE %%s OWNER TO {0}', oid::regclass) FROM pg_class"
                " WHERE relnamespace = %s::regnamespace AND relkind IN ('r', 'v')"
            ),
            "SELECT format('ALTER SCHEMA %%s OWNER TO {0}', %s::text)",
        ):
            for (statement,) in admin.execute(query.format(role), (schema,)).fetchall():
                admin.execute(statement)
        dsn = conninfo.make_conninfo(empty_dsn, options=f"-c role={role}")
        with pytest.raises(PermissionDenied, match="may not create the group roles"):
            _adopt(dsn, schema)
        admin.execute(f"ALTER ROLE {role} CREATEROLE")
        _adopt(dsn, schema)
        with evtool.connect(dsn, schema) as store:
            assert store.write_message(None, "a-1", "T", {}) == 0


def test_the_command_says_what_it_does(foreign: psycopg.Connection, empty_dsn: str) -> None:
    """`ns adopt` tells each step on stderr and the result on stdout; --sql prints; refusals are one line."""
    cli = Cli(empty_dsn)
    script = cli("ns", "adopt", "message_store", "--sql").ok().out
    assert "CREATE INDEX CONCURRENTLY" in script
    assert "CREATE SCHEMA" in script
    assert foreign.execute("SELECT to_regnamespace('evtool')").fetchone() == (None,)
    done = cli("ns", "adopt", "message_store", "--wait", "30").ok()
    assert done.out == 'namespace "message_store": adopted (schema message_store)\n'
    assert "old and new writers share a lock" in done.err
    assert_one_line(cli("ns", "adopt", "nowhere"), 1, "NAMESPACE_REFUSED", "There is no schema")
    assert cli("ns", "adopt", "message_store", "--wait", "-1").code == 2
    assert cli("read", "account-1", "--last").ok().out.count("\n") == 1
