"""migrate and migration_status: from an empty database to a current one, and back to current from every drift."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

import evtool
from evtool import sqltext
from evtool.errors import DatabaseTooNew, MigrationFailed, NotMigrated
from evtool.store import Store

NEWEST = sqltext.structure_version("namespace")

TAMPER = (
    "CREATE OR REPLACE FUNCTION {}.message_store_version() RETURNS varchar LANGUAGE sql IMMUTABLE RETURN 'x'::varchar"
)


@pytest.fixture
def fresh(empty_dsn: str) -> Any:
    """A store on an empty database."""
    with evtool.connect(empty_dsn) as store:
        yield store


@pytest.fixture
def migrated(fresh: Store) -> Store:
    """A store on a migrated database with one more namespace, orders."""
    fresh.migrate()
    fresh.create_namespace("orders")
    return fresh


def _everything(session: psycopg.Connection) -> list[Any]:
    """All rows of the registry, and every object and version of the schemas."""
    return [
        session.execute(query).fetchall()
        for query in (
            "SELECT * FROM evtool.namespaces ORDER BY 1",
            "SELECT * FROM evtool.behaviours ORDER BY 1",
            "SELECT * FROM evtool.evtool_version",
            "SELECT * FROM message_store.evtool_version",
            (
                "SELECT oid, xmin::text, proname, proacl::text FROM pg_proc WHERE pronamespace::regnamespace::text"
                " IN ('evtool', 'message_store', 'orders') ORDER BY oid"
            ),
            (
                "SELECT oid, xmin::text, relname, relacl::text FROM pg_class WHERE relnamespace::regnamespace::text"
                " IN ('evtool', 'message_store', 'orders') ORDER BY oid"
            ),
        )
    ]


def test_a_fresh_database_gets_the_registry_and_the_default_namespace(fresh: Store) -> None:
    """After the first run, psql and Message DB's clients find message_store."""
    steps = fresh.migrate()
    assert [(step.name, step.schema, step.action, step.structure) for step in steps] == [
        (None, "evtool", "created", sqltext.structure_version("registry")),
        ("message_store", "message_store", "created", NEWEST),
    ]
    assert [step.notes for step in steps] == [(), ()]
    assert [namespace.name for namespace in fresh.list_namespaces()] == ["message_store"]
    assert fresh.write_message(None, "a-1", "T", {}) == 0


def test_a_second_run_does_nothing_and_says_so(migrated: Store, admin: psycopg.Connection) -> None:
    """Nothing is replaced, not even by the same: every object is the very one that it was."""
    before = _everything(admin)
    assert {(step.action, step.notes) for step in migrated.migrate()} == {("current", ())}
    assert _everything(admin) == before


def test_all_is_current_then(migrated: Store) -> None:
    """The status lists the registry first, then every namespace by name, and nothing is pending."""
    states = migrated.migration_status()
    assert [(state.name, state.structure, state.pending, state.functions, state.roles) for state in states] == [
        (None, sqltext.structure_version("registry"), (), "current", True),
        ("message_store", NEWEST, (), "current", True),
        ("orders", NEWEST, (), "current", True),
    ]
    assert all(state.current and state.note is None for state in states)


def test_an_empty_database_has_all_pending(fresh: Store, admin: psycopg.Connection) -> None:
    """The status of a database without a registry says what would come, and makes nothing."""
    (state,) = fresh.migration_status()
    assert (state.name, state.structure, state.functions, state.current) == (None, None, "missing", False)
    assert state.pending == (sqltext.structure_version("registry"),)
    assert admin.execute("SELECT to_regnamespace('evtool')").fetchone() == (None,)


def test_before_the_first_run_everything_says_to_migrate(fresh: Store) -> None:
    """Whatever is asked of an empty database, the answer names the command."""
    asked: list[Callable[[], Any]] = [
        fresh.list_namespaces,
        lambda: fresh.get_namespace("orders"),
        lambda: fresh.create_namespace("orders"),
        lambda: fresh.delete_namespace("orders"),
        lambda: fresh.stream_version("a-1"),
    ]
    for ask in asked:
        with pytest.raises(NotMigrated) as caught:
            ask()
        assert caught.value.hint == "run: evtool migrate, with this --dsn"


@pytest.mark.parametrize(
    "change",
    [
        TAMPER.format("orders"),
        "DROP VIEW orders.type_summary",
        "ALTER FUNCTION orders.write_message SECURITY INVOKER",
        "DROP FUNCTION orders.get_all_messages",
    ],
)
def test_what_was_changed_by_hand_is_found_and_mended(migrated: Store, admin: psycopg.Connection, change: str) -> None:
    """A drifted function or view shows in the status of its namespace only, and migrate brings it back."""
    (before,) = admin.execute("SELECT fingerprint FROM evtool.behaviours WHERE schema_name = 'orders'").fetchall()
    admin.execute(change)
    assert [state.functions for state in migrated.migration_status()] == ["current", "current", "changed"]
    assert [step.action for step in migrated.migrate()] == ["current", "current", "functions replaced"]
    assert [state.functions for state in migrated.migration_status()] == ["current"] * 3
    assert admin.execute("SELECT evtool.fingerprint('orders')").fetchall() == [before]
    orders = migrated.in_namespace("orders")
    assert orders.write_message(None, "a-1", "T", {}) == 0


def test_a_function_of_the_registry_is_mended_too(migrated: Store, admin: psycopg.Connection) -> None:
    """The registry's own functions drift and are replaced like a namespace's."""
    admin.execute("CREATE OR REPLACE FUNCTION evtool.role_name(schema_name text, kind text) RETURNS text"
                  " LANGUAGE sql IMMUTABLE RETURN 'x'")  # fmt: skip
    assert migrated.migration_status()[0].functions == "changed"
    assert [step.action for step in migrated.migrate()] == ["functions replaced", "current", "current"]
    assert admin.execute("SELECT evtool.role_name('a', 'reader')").fetchone() == ("a_reader",)


def test_an_object_of_somebodys_own_is_left_alone(migrated: Store, admin: psycopg.Connection) -> None:
    """A function that a user added to a namespace's schema is found once, and survives the migration."""
    admin.execute("CREATE FUNCTION orders.mine() RETURNS int LANGUAGE sql RETURN 7")
    assert migrated.migration_status()[2].functions == "changed"
    migrated.migrate()
    assert migrated.migration_status()[2].functions == "current"
    assert admin.execute("SELECT orders.mine()").fetchone() == (7,)


def test_functions_of_another_version_are_replaced(migrated: Store, admin: psycopg.Connection) -> None:
    """A namespace whose functions an older release installed is outdated until migrate."""
    admin.execute(
        "UPDATE evtool.behaviours SET checksum = 'old', evtool_version = '0.0.1' WHERE schema_name = 'orders'"
    )
    assert migrated.migration_status()[2].functions == "outdated"
    assert migrated.migrate()[2].action == "functions replaced"
    assert migrated.migration_status()[2].functions == "current"


@pytest.mark.parametrize("schema", ["evtool", "orders"])
def test_functions_of_a_newer_release_are_left_alone(migrated: Store, admin: psycopg.Connection, schema: str) -> None:
    """An older release never puts its functions over a newer one's: it says which version it found."""
    admin.execute(
        "UPDATE evtool.behaviours SET checksum = 'new', evtool_version = '999.1' WHERE schema_name = %s",
        (schema,),
    )
    before = _everything(admin)
    with pytest.raises(DatabaseTooNew, match=r"999\.1") as caught:
        migrated.migrate()
    assert "upgrade evtool" in (caught.value.hint or "")
    assert _everything(admin) == before
    (state,) = (state for state in migrated.migration_status() if state.schema == schema)
    assert state.functions == "outdated"
    assert "999.1" in (state.note or "")


@pytest.mark.parametrize("schema", ["evtool", "orders"])
def test_an_unknown_structure_is_refused(migrated: Store, admin: psycopg.Connection, schema: str) -> None:
    """A revision that this release doesn't know is a newer one's: clear error, and nothing is changed."""
    admin.execute(TAMPER.format("orders"))
    admin.execute(f"UPDATE {schema}.evtool_version SET version_num = '7777'")
    before = _everything(admin)
    with pytest.raises(DatabaseTooNew, match="structure 7777") as caught:
        migrated.migrate()
    assert "upgrade evtool" in (caught.value.hint or "")
    assert _everything(admin) == before
    (state,) = (state for state in migrated.migration_status() if state.schema == schema)
    assert (state.structure, state.pending) == ("7777", ())
    assert "7777" in (state.note or "")


def test_a_schema_that_was_dropped_is_told_and_can_be_forgotten(migrated: Store, admin: psycopg.Connection) -> None:
    """The status says what happened, migrate refuses to guess, and deleting the namespace clears the way."""
    admin.execute("DROP SCHEMA orders CASCADE")
    state = migrated.migration_status()[2]
    assert (state.structure, state.functions, state.current) == (None, "missing", False)
    assert "its schema is gone" in (state.note or "")
    with pytest.raises(MigrationFailed, match="orders"):
        migrated.migrate()
    migrated.delete_namespace("orders")
    assert {step.action for step in migrated.migrate()} == {"current"}


def test_a_strangers_version_table_is_not_looked_at(migrated: Store, admin: psycopg.Connection) -> None:
    """A table of the same name in a schema that isn't ours, of any shape, disturbs nothing."""
    admin.execute("CREATE SCHEMA stranger")
    admin.execute("CREATE TABLE stranger.evtool_version (something_else int)")
    assert all(state.current for state in migrated.migration_status())
    assert {step.action for step in migrated.migrate()} == {"current"}


def test_roles_that_were_dropped_are_made_again(migrated: Store, admin: psycopg.Connection) -> None:
    """Without its groups a namespace is shown as such, and migrate makes them."""
    # roles are the cluster's, and other tests have an orders too
    migrated.create_namespace("roleless")
    for role in ("roleless_reader", "roleless_writer"):
        admin.execute(f"DROP OWNED BY {role}")
        admin.execute(f"DROP ROLE {role}")
    assert [state.roles for state in migrated.migration_status()] == [True, True, True, False]
    assert migrated.migrate()[3].action == "roles granted"
    assert migrated.migration_status()[3].roles is True
    query = "SELECT has_function_privilege('roleless_writer', 'roleless.acquire_lock(varchar)', 'EXECUTE')"
    assert admin.execute(query).fetchone() == (True,)
