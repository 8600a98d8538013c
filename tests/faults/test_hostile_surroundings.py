"""What others may have done to the database, the role or the process must not lead evtool astray."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo as conninfo_with

import evtool
from evtool import ndjson
from evtool.embedded.process import conninfo
from evtool.errors import ServerUnsuitable, StoreTimeout
from evtool.stores.postgres import PostgresStore


def test_an_operator_in_public_does_not_run_in_an_export(empty_dsn: str) -> None:
    """A better fitting = in a schema of the search_path is not used: it would run as whoever exports."""
    with psycopg.connect(empty_dsn, autocommit=True) as admin:
        admin.execute("CREATE FUNCTION public.evil(varchar, varchar) RETURNS boolean LANGUAGE sql AS 'SELECT true'")
        admin.execute("CREATE OPERATOR public.= (LEFTARG = varchar, RIGHTARG = varchar, PROCEDURE = public.evil)")
    with evtool.connect(empty_dsn) as store:
        store.migrate()
        store.write_message(None, "a-1", "T", None)
        store.write_message(None, "b-1", "T", None)
        lines = b"".join(block.lines for block in store.export(evtool.Selection(categories=("a",))))
    assert lines.count(b"\n") == 1
    assert b'"stream":"a-1"' in lines


@pytest.fixture
def percent(shared_store: PostgresStore) -> Iterator[PostgresStore]:
    """A namespace whose schema looks like a placeholder."""
    shared_store.create_namespace("100 %s", schema="100 %s %b %")
    yield shared_store.in_namespace("100 %s")
    shared_store.delete_namespace("100 %s")


def test_a_percent_sign_in_a_schema_is_just_a_character(percent: PostgresStore) -> None:
    """Writes and reads work in a schema with % in its name."""
    assert percent.write_message(None, "a-1", "T", None) == 0
    assert len(percent.get_category_messages("a")) == 1


def test_a_fork_does_not_share_its_parents_connections(store: PostgresStore) -> None:
    """Parent and child each get the answers to their own questions."""
    for stream in ("a-1", "b-1"):
        store.write_message(None, stream, "T", None)
    reads, writes = os.pipe()
    child = os.fork()
    own = "b-1" if child == 0 else "a-1"
    wrong = 0
    try:
        for _ in range(200):
            last = store.get_last_stream_message(own)
            wrong += last is None or last.stream_name != own
    finally:
        if child == 0:
            os.write(writes, b"wrong" if wrong or sys.exc_info()[0] else b"right")
            os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reads, 5) == b"right"
    assert wrong == 0
    os.close(reads)
    os.close(writes)


def test_a_sequence_behind_the_table_is_an_error_and_not_a_silent_gap(
    store: PostgresStore, connection: psycopg.Connection
) -> None:
    """Where rows lie above the sequence, reading all and exporting refuse, and say how to mend it."""
    connection.execute("INSERT INTO messages (stream_name, type, position, global_position) VALUES ('a-1', 'T', 0, 5)")
    with pytest.raises(ServerUnsuitable, match="sequence") as refused:
        store.get_all_messages()
    assert "setval" in (refused.value.hint or "")
    connection.execute("SELECT setval('messages_global_position_seq', 5)")
    assert len(store.get_all_messages()) == 1


def test_default_privileges_give_public_nothing(empty_dsn: str) -> None:
    """What the owner gives PUBLIC on everything new is taken back in a namespace."""
    with psycopg.connect(empty_dsn, autocommit=True) as admin:
        admin.execute("ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO PUBLIC")
        admin.execute("ALTER DEFAULT PRIVILEGES GRANT ALL ON SEQUENCES TO PUBLIC")
        with evtool.connect(empty_dsn) as store:
            store.migrate()
        admin.execute("CREATE ROLE stranger_to_all NOLOGIN")
        query = "SELECT has_table_privilege('stranger_to_all', {}, 'INSERT'), has_sequence_privilege('stranger_to_all', {}, 'USAGE')"
        table = sql.Literal("message_store.messages")
        sequence = sql.Literal("message_store.messages_global_position_seq")
        assert admin.execute(sql.SQL(query).format(table, sequence)).fetchone() == (False, False)
        admin.execute("DROP ROLE stranger_to_all")


def test_a_role_that_was_there_before_survives_its_namespace(shared_store: PostgresStore, dsn: str) -> None:
    """Deleting a namespace drops the group roles that evtool made, and no other."""
    with psycopg.connect(dsn, autocommit=True) as admin:
        admin.execute("CREATE ROLE kept_reader NOLOGIN")
        shared_store.create_namespace("kept")
        shared_store.delete_namespace("kept")
        found = admin.execute("SELECT rolname FROM pg_roles WHERE rolname LIKE 'kept\\_%'").fetchall()
        admin.execute("DROP ROLE kept_reader")
    assert found == [("kept_reader",)]


def test_writers_under_another_default_isolation_do_not_collide(empty_dsn: str) -> None:
    """The store's transactions are READ COMMITTED, so a writer that waited sees what it waited for."""
    with psycopg.connect(empty_dsn, autocommit=True) as admin:
        name = admin.info.dbname
        admin.execute(
            sql.SQL("ALTER DATABASE {} SET default_transaction_isolation = 'repeatable read'").format(
                sql.Identifier(name)
            )
        )
    with evtool.connect(empty_dsn) as store:
        store.migrate()
        with psycopg.connect(empty_dsn, autocommit=True) as raw:
            row = raw.execute("SHOW default_transaction_isolation").fetchone()
            assert row == ("repeatable read",)
        assert isinstance(store, PostgresStore)
        with store._connector.pooled() as connection:
            assert connection.execute("SHOW transaction_isolation").fetchone() == ("read committed",)


def test_the_embedded_dsn_names_its_server_whatever_the_environment_says() -> None:
    """PGHOSTADDR or a service's hostaddr can't lead the embedded DSN to another server."""
    assert "hostaddr=''" in conninfo("/some/folder", 5432)


def test_an_import_gives_up_behind_a_busy_writer(dsn: str, namespace: str, connection: psycopg.Connection) -> None:
    """An import waits for writers as long as lock_timeout allows, then says so and leaves them alone."""
    line = (
        b'{"id":"00000000-0000-4000-8000-000000000001","stream":"a-1","type":"T","pos":0,"gpos":7,'
        b'"data":null,"meta":null,"time":"2025-01-01T00:00:00.000000Z"}'
    )
    impatient = conninfo_with(dsn, options="-c lock_timeout=200")
    with evtool.connect(impatient, namespace) as store:
        with connection.transaction():
            connection.execute("SELECT write_message(gen_random_uuid()::varchar, 'b-1', 'T', NULL)")
            with pytest.raises(StoreTimeout):
                store.import_batch(ndjson.read(io.BytesIO(line)))
        assert store.import_batch(ndjson.read(io.BytesIO(line))).imported == 1


def test_an_empty_import_waits_for_nobody(dsn: str, namespace: str, connection: psycopg.Connection) -> None:
    """A file without messages takes no lock."""
    with (
        evtool.connect(conninfo_with(dsn, options="-c lock_timeout=200"), namespace) as store,
        connection.transaction(),
    ):
        connection.execute("SELECT write_message(gen_random_uuid()::varchar, 'b-1', 'T', NULL)")
        assert store.import_batch(ndjson.read(io.BytesIO(b""))).imported == 0
