"""Where PostgreSQL keeps a namespace: a schema of its own, an entry in the registry, and nothing after it is deleted."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest
from psycopg import conninfo

import evtool
from evtool.errors import StoreUnreachable
from evtool.stores.postgres import PostgresStore
from evtool.testing.contract.helping import append, everything


def test_a_namespace_is_a_schema_with_its_own_tables_and_functions(shared_store: PostgresStore, dsn: str) -> None:
    """Creating a namespace makes its schema, its table, its sequence and its functions, under its own name."""
    made = shared_store.create_namespace("Lives in a schema")
    with psycopg.connect(dsn) as session:
        for what in ("messages", "messages_global_position_seq"):
            assert session.execute("SELECT to_regclass(%s)", (f"{made.schema}.{what}",)).fetchone() != (None,)
        functions = session.execute(
            "SELECT proname FROM pg_proc WHERE pronamespace = %s::regnamespace", (made.schema,)
        ).fetchall()
        assert {"write_message", "get_stream_messages", "get_category_messages"} <= {name for (name,) in functions}
        # no object of it refers to another schema's
        texts = session.execute(
            "SELECT prosrc FROM pg_proc WHERE pronamespace = %s::regnamespace", (made.schema,)
        ).fetchall()
        assert not [text for (text,) in texts if ':"ns"' in text]
    shared_store.delete_namespace(made.name)


def test_a_namespace_is_entered_with_its_version_and_its_moment(shared_store: PostgresStore, dsn: str) -> None:
    """The registry has its name, schema and time; the schema has the version of its structure."""
    made = shared_store.create_namespace("Is entered")
    with psycopg.connect(dsn) as session:
        row = session.execute(
            "SELECT schema_name, created_at BETWEEN now() - interval '5 min' AND now() FROM evtool.namespaces WHERE name = %s",
            (made.name,),
        ).fetchone()
        assert row == (made.schema, True)
        version = session.execute(f"SELECT * FROM {made.schema}.evtool_version").fetchall()
        assert len(version) == 1
    (state,) = [state for state in shared_store.migration_status() if state.name == made.name]
    assert state.structure == version[0][0]
    shared_store.delete_namespace(made.name)


def test_a_message_is_written_to_the_schema_of_its_namespace(shared_store: PostgresStore, dsn: str) -> None:
    """psql finds the message in that schema, and in no other."""
    made = [shared_store.create_namespace(name) for name in ("Written here", "Not there")]
    append(shared_store.in_namespace("Written here"), "thing-1")
    with psycopg.connect(dsn) as session:
        counts = [session.execute(f"SELECT count(*) FROM {one.schema}.messages").fetchone() for one in made]
    assert counts == [(1,), (0,)]
    for one in made:
        shared_store.delete_namespace(one.name)


def test_deleting_a_namespace_drops_its_schema_and_its_entry(shared_store: PostgresStore, dsn: str) -> None:
    """Nothing of it is left, in the catalog or in the registry."""
    made = shared_store.create_namespace("Is dropped")
    append(shared_store.in_namespace("Is dropped"), "thing-1")
    shared_store.delete_namespace(made.name)
    with psycopg.connect(dsn) as session:
        assert session.execute("SELECT to_regnamespace(%s)", (made.schema,)).fetchone() == (None,)
        for table in ("namespaces", "behaviours"):
            left = session.execute(f"SELECT count(*) FROM evtool.{table} WHERE schema_name = %s", (made.schema,))
            assert left.fetchone() == (0,)


def test_a_store_connects_when_it_is_first_used(dsn: str) -> None:
    """Opening a store of a server that isn't there is no error; using it is."""
    with evtool.connect("host=127.0.0.1 port=1 connect_timeout=1") as store, pytest.raises(StoreUnreachable):
        everything(store)
    with evtool.connect(dsn) as store:
        assert store.list_namespaces()


def test_closing_closes_every_connection(
    dsn: str, shared_store: PostgresStore, until: Callable[[Callable[[], bool]], None]
) -> None:
    """A closed store has no session on the server, whatever was done with it."""
    shared_store.create_namespace("Is closed")
    with psycopg.connect(dsn, autocommit=True) as session:

        def sessions() -> int:
            query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'is to be closed'"
            row = session.execute(query).fetchone()
            assert row is not None
            return int(row[0])

        with evtool.connect(conninfo.make_conninfo(dsn, application_name="is to be closed"), "Is closed") as store:
            append(store, "thing-1", 2000)
            blocks = store.export(evtool.Selection())
            next(blocks)
            assert sessions() >= 2
            blocks.close()  # type: ignore[attr-defined]
        # the server notices a moment later
        until(lambda: sessions() == 0)
    shared_store.delete_namespace("Is closed")
