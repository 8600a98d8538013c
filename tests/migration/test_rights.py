"""Who may migrate: a superuser, the database's owner, and what each is told about what is not theirs to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from psycopg import sql

import evtool
from evtool import migrating
from evtool.errors import NamespaceRefused, PermissionDenied
from evtool.stores.postgres import PostgresStore
from evtool.testing.servers import DatabaseServer

ROLES = ("message_store", "message_store_reader", "message_store_writer", "evtool_reader")


@pytest.fixture
def without_roles(server: DatabaseServer, empty_dsn: str) -> Iterator[None]:
    """A cluster without the roles of message_store: they have another name while the test runs."""
    with psycopg.connect(server.dsn, autocommit=True) as session:
        there = [
            row[0] for row in session.execute("SELECT rolname FROM pg_roles WHERE rolname = ANY (%s)", (list(ROLES),))
        ]
        for role in there:
            session.execute(sql.SQL("ALTER ROLE {} RENAME TO {}").format(*map(sql.Identifier, (role, f"{role} away"))))
        try:
            yield
        finally:
            # what the test made of that name, with all that it was granted in the test's database
            with psycopg.connect(empty_dsn, autocommit=True) as inside:
                inside.execute("DROP SCHEMA IF EXISTS message_store, evtool CASCADE")
                for role in ROLES:
                    inside.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(role)))
            for role in there:
                session.execute(
                    sql.SQL("ALTER ROLE {1} RENAME TO {0}").format(*map(sql.Identifier, (role, f"{role} away")))
                )


@pytest.fixture
def owner(admin: psycopg.Connection, empty_dsn: str) -> str:
    """A role that owns the test's database, and may not make roles."""
    name = f"owner of {admin.info.dbname}"
    admin.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(name)))
    admin.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(*map(sql.Identifier, (admin.info.dbname, name))))
    return name


def test_an_owner_without_createrole_can_migrate(
    without_roles: None, empty_dsn: str, owner: str, as_role: Callable[[str, str], str]
) -> None:
    """The database's owner gets everything but the roles, a note for each, and a hint at who completes it."""
    with evtool.connect(as_role(empty_dsn, owner)) as store:
        steps = store.migrate()
        assert [step.action for step in steps] == ["created", "created"]
        notes = " / ".join(steps[1].notes)
        assert "Not allowed to create the role message_store_reader" in notes
        assert "Not allowed to set up the role message_store" in notes
        assert notes.count("Run evtool migrate again as a role with CREATEROLE") == 2
        assert store.write_message(None, "a-1", "T", {}) == 0
        assert [(state.current, state.roles) for state in store.migration_status()] == [
            (True, True),
            (True, False),
        ]


def test_again_it_says_the_same_and_does_nothing(
    without_roles: None,
    empty_dsn: str,
    owner: str,
    as_role: Callable[[str, str], str],
    admin: psycopg.Connection,
) -> None:
    """A second run of the owner's replaces nothing: the notes are all there is."""
    with evtool.connect(as_role(empty_dsn, owner)) as store:
        store.migrate()
        query = "SELECT installed_at FROM evtool.behaviours WHERE schema_name = 'message_store'"
        before = admin.execute(query).fetchone()
        steps = store.migrate()
        assert [step.action for step in steps] == ["current", "current"]
        assert "Not allowed to create the role" in " ".join(steps[1].notes)
        assert admin.execute(query).fetchone() == before


def test_a_later_superuser_completes_the_roles(
    without_roles: None,
    empty_dsn: str,
    owner: str,
    as_role: Callable[[str, str], str],
    admin: psycopg.Connection,
) -> None:
    """Migrate by somebody who may make roles makes them, grants to them, and then all is current."""
    with evtool.connect(as_role(empty_dsn, owner)) as store:
        store.migrate()
    with evtool.connect(empty_dsn) as store:
        steps = store.migrate()
        assert [(step.action, step.notes) for step in steps] == [("current", ()), ("roles granted", ())]
        assert all(state.current and state.roles for state in store.migration_status())
        assert {(step.action, step.notes) for step in store.migrate()} == {("current", ())}
    admin.execute("SET SESSION AUTHORIZATION message_store")
    call = "SELECT write_message(gen_random_uuid()::varchar, 'a-1', 'T', '{}')"
    assert admin.execute(call).fetchone() == (0,)


def test_the_owner_may_go_on_after_the_superuser(
    without_roles: None,
    empty_dsn: str,
    owner: str,
    as_role: Callable[[str, str], str],
    admin: psycopg.Connection,
) -> None:
    """Functions that the owner owns stay the owner's to replace."""
    for dsn in (as_role(empty_dsn, owner), empty_dsn):
        with evtool.connect(dsn) as store:
            store.migrate()
    admin.execute("DROP FUNCTION message_store.get_all_messages")
    with evtool.connect(as_role(empty_dsn, owner)) as store:
        assert store.migrate()[1].action == "functions replaced"
        assert all(state.current for state in store.migration_status())


def test_without_create_on_the_database_it_says_so(
    empty_dsn: str, admin: psycopg.Connection, as_role: Callable[[str, str], str]
) -> None:
    """A role that may make no schema is refused by name of the privilege, and nothing is made."""
    role = f"guest of {admin.info.dbname}"
    admin.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(role)))
    with evtool.connect(as_role(empty_dsn, role)) as store, pytest.raises(PermissionDenied) as caught:
        store.migrate()
    assert caught.value.message == f"the registry can't be migrated: permission denied for database {admin.info.dbname}"
    assert f'GRANT CREATE ON DATABASE {admin.info.dbname} TO "{role}"' in (caught.value.hint or "")
    assert admin.execute("SELECT to_regnamespace('evtool')").fetchone() == (None,)


def test_somebody_elses_registry_is_not_migrated(
    empty_dsn: str, admin: psycopg.Connection, owner: str, as_role: Callable[[str, str], str]
) -> None:
    """A registry of the superuser's is closed to others: migrating, status and namespaces are PermissionDenied."""
    with evtool.connect(empty_dsn) as store:
        store.migrate()
    with evtool.connect(as_role(empty_dsn, owner)) as store:
        asked: list[Callable[[], Any]] = [
            store.migrate,
            store.migration_status,
            lambda: migrating.script(as_role(empty_dsn, owner)),
            store.list_namespaces,
            lambda: store.create_namespace("orders"),
            lambda: store.delete_namespace("message_store"),
            lambda: store.write_message(None, "a-1", "T", {}),
        ]
        for ask in asked:
            with pytest.raises(PermissionDenied):
                ask()


@pytest.mark.parametrize("kind", ["reader", "writer"])
def test_readers_and_writers_may_use_and_not_change(
    empty_dsn: str, admin: psycopg.Connection, as_role: Callable[[str, str], str], kind: str
) -> None:
    """A member of a namespace's group works in it, and can neither make, delete nor migrate."""
    with evtool.connect(empty_dsn) as store:
        store.migrate()
    member = f"{kind} of {admin.info.dbname}"
    admin.execute(sql.SQL("CREATE ROLE {} IN ROLE {}").format(*map(sql.Identifier, (member, f"message_store_{kind}"))))
    with evtool.connect(as_role(empty_dsn, member)) as store:
        assert store.get_all_messages() == []
        assert [namespace.name for namespace in store.list_namespaces()] == ["message_store"]
        if kind == "writer":
            assert store.write_message(None, "a-1", "T", {}) == 0
        else:
            with pytest.raises(PermissionDenied):
                store.write_message(None, "a-1", "T", {})
        refused: list[Callable[[], Any]] = [
            store.migrate,
            lambda: store.create_namespace("orders"),
            lambda: store.delete_namespace("message_store"),
        ]
        for ask in refused:
            with pytest.raises(PermissionDenied):
                ask()
    with evtool.connect(empty_dsn) as store:
        assert [namespace.name for namespace in store.list_namespaces()] == ["message_store"]


def test_a_foreign_message_store_is_left_alone(empty_dsn: str, admin: psycopg.Connection) -> None:
    """Where the schema message_store is somebody's, only the registry is made, and a note says why."""
    admin.execute("CREATE SCHEMA message_store")
    admin.execute("CREATE TABLE message_store.messages (x int)")
    with evtool.connect(empty_dsn) as store:
        for first in (True, False):
            steps = store.migrate()
            assert [step.action for step in steps] == ["created" if first else "current", "left alone"]
            assert steps[1].notes == (
                (
                    "The schema message_store exists and is not a namespace of evtool:"
                    " it was left alone, and there is no namespace message_store"
                ),
            )
        assert store.list_namespaces() == []
        assert admin.execute("SELECT count(*) FROM message_store.messages").fetchone() == (0,)
        assert store.create_namespace("orders").schema == "orders"
        assert {step.action for step in store.migrate()} == {"current"}


def test_a_foreign_schema_evtool_is_refused(empty_dsn: str, admin: psycopg.Connection) -> None:
    """Where the schema evtool is somebody's, nothing is made, and the error says what to do."""
    admin.execute("CREATE SCHEMA evtool")
    admin.execute("CREATE TABLE evtool.theirs (x int)")
    with evtool.connect(empty_dsn) as store, pytest.raises(NamespaceRefused) as caught:
        store.migrate()
    assert "holds no registry" in caught.value.message
    assert "ALTER SCHEMA evtool RENAME" in (caught.value.hint or "")
    query = "SELECT array_agg(relname::text) FROM pg_class WHERE relnamespace = 'evtool'::regnamespace"
    assert admin.execute(query).fetchone() == (["theirs"],)
    assert admin.execute("SELECT to_regnamespace('message_store')").fetchone() == (None,)


def test_an_owner_in_pg_monitor_sees_all_that_the_doctor_sees(
    without_roles: None,
    empty_dsn: str,
    owner: str,
    as_role: Callable[[str, str], str],
    admin: psycopg.Connection,
) -> None:
    """Whatever private schemas others have: nothing is passed over, and what the registry lacks is found."""
    admin.execute(sql.SQL("GRANT pg_monitor TO {}").format(sql.Identifier(owner)))
    for one in ("SCHEMA private", "TABLE private.messages ()", "SEQUENCE private.numbers"):
        admin.execute(f"CREATE {one}")
    with PostgresStore(as_role(empty_dsn, owner)) as store:
        store.migrate()
        assert store.administration().diagnose(None, timedelta(0)).unseen == ()
        admin.execute("DELETE FROM evtool.namespaces")
        diagnosis = store.administration().diagnose(None, timedelta(0))
    assert "orphan-schema" in {one.code for one in diagnosis.findings}
    assert diagnosis.unseen == ()


def test_what_a_namespace_takes_is_named(
    empty_dsn: str, owner: str, as_role: Callable[[str, str], str], admin: psycopg.Connection
) -> None:
    """Who may not make or remove a namespace is told the membership that it takes, with the command that gives it."""
    guest = f"guest of {admin.info.dbname}"
    admin.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(guest)))
    admin.execute(sql.SQL("GRANT CREATE ON DATABASE {} TO {}").format(*map(sql.Identifier, (admin.info.dbname, guest))))
    with evtool.connect(as_role(empty_dsn, owner)) as store, evtool.connect(as_role(empty_dsn, guest)) as theirs:
        store.migrate()
        store.create_namespace("orders", "of_orders")
        for what, call in (
            ("made", lambda: theirs.create_namespace("mine")),
            ("removed", lambda: theirs.delete_namespace("orders")),
        ):
            admin.execute(sql.SQL("GRANT USAGE ON SCHEMA evtool TO {}").format(sql.Identifier(guest)))
            admin.execute(sql.SQL("GRANT SELECT ON evtool.namespaces TO {}").format(sql.Identifier(guest)))
            with pytest.raises(PermissionDenied, match=f"can't be {what}") as caught:
                call()
            assert f'GRANT "{owner}" TO "{guest}"' in (caught.value.hint or "")
        assert [one.name for one in store.list_namespaces()] == ["message_store", "orders"]
