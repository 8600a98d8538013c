"""One schema by every way: migrate, create_namespace, `--sql` through psql, and install.sql through psql."""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

import evtool
from evtool import migrating, namespaces, sqltext
from evtool.errors import NamespaceNotFound

INSTALL = sqltext.folder("sql") / "namespace" / "install.sql"

HOSTILE = [
    "orders",
    "select",
    "My Shop",
    'a "quoted" name',
    "it's",
    "back\\slash",
    "x" * 63,
    "日本 é",
    ":ns",
    "%s$1",
    "-",
]

Make = Callable[..., str]


@pytest.fixture
def migrated_dsn(empty_dsn: str) -> str:
    """A database that migrate has made."""
    with evtool.connect(empty_dsn) as store:
        store.migrate()
    return empty_dsn


def _registry(dsn: str) -> list[Any]:
    """What the registry says, without the times."""
    with psycopg.connect(dsn) as session:
        return [
            session.execute(query).fetchall()
            for query in (
                "SELECT name, schema_name FROM evtool.namespaces ORDER BY 1",
                "SELECT schema_name, checksum, fingerprint, evtool_version FROM evtool.behaviours ORDER BY 1",
                "SELECT version_num FROM evtool.evtool_version",
            )
        ]


def _use(dsn: str, schema: str) -> None:
    """Writes and reads a message."""
    with psycopg.connect(dsn, autocommit=True) as session:
        session.execute(sql.SQL("SET search_path = {}").format(sql.Identifier(schema)))
        call = "SELECT write_message(%s, 'a-1', 'T', '{}')"
        assert session.execute(call, (str(uuid.uuid4()),)).fetchone() == (0,)
        assert session.execute("SELECT count(*) FROM get_all_messages()").fetchone() == (1,)


def test_the_printed_sql_makes_what_migrate_makes(make_database: Make, migrated_dsn: str, psql: Any, dump: Any) -> None:
    """The SQL of `migrate --sql`, run by psql on an empty database, gives the same registry and namespace."""
    printed = make_database()
    psql(printed, migrating.script(None))
    assert _registry(printed) == _registry(migrated_dsn)
    for schema in ("evtool", "message_store"):
        assert dump(printed, schema) == dump(migrated_dsn, schema)
    _use(printed, "message_store")
    with evtool.connect(printed) as store:
        assert {(step.action, step.notes) for step in store.migrate()} == {("current", ())}


def test_the_sql_for_an_empty_database_is_that_for_none(empty_dsn: str) -> None:
    """Looking at an empty database prints what is printed without one."""
    assert migrating.script(empty_dsn) == migrating.script(None)


def test_with_nothing_to_do_only_comments_are_printed(migrated_dsn: str, psql: Any) -> None:
    """The SQL for a current database changes nothing, says so, and runs."""
    text = migrating.script(migrated_dsn)
    assert "-- nothing to do" in text
    assert [line for line in text.splitlines() if not line.startswith(("--", "\\set"))] == []
    psql(migrated_dsn, text)


def test_the_printed_sql_mends_what_was_changed_by_hand(migrated_dsn: str, psql: Any, dump: Any) -> None:
    """The SQL for a drifted database brings it back, and its namespace alone is in it."""
    with evtool.connect(migrated_dsn) as store:
        store.create_namespace("My Shop", "My Shop")
        before = dump(migrated_dsn, "My Shop")
        with psycopg.connect(migrated_dsn, autocommit=True) as session:
            session.execute('DROP VIEW "My Shop".type_summary')
        text = migrating.script(migrated_dsn)
        assert "message_store.write_message" not in text
        psql(migrated_dsn, text)
        assert dump(migrated_dsn, "My Shop") == before
        assert all(state.current for state in store.migration_status())


def test_install_sql_makes_what_evtool_makes(make_database: Make, psql: Any, dump: Any) -> None:
    """Psql -v ns=…, create_namespace and Alembic's migration give the same dump, and the same entry in the registry."""
    installed, created = make_database(), make_database()
    psql(installed, file=INSTALL, ns="message_store")
    with evtool.connect(created) as store:
        store.migrate()
        by_alembic = dump(created, "message_store")
        store.delete_namespace("message_store")
        store.create_namespace("message_store")
    assert dump(installed, "message_store") == by_alembic
    assert dump(created, "message_store") == by_alembic
    assert dump(installed, "evtool") == dump(created, "evtool")
    assert _registry(installed) == _registry(created)


def test_install_sql_gives_orders_as_ns_create_does(make_database: Make, psql: Any, dump: Any) -> None:
    """The example of the issue: ns=orders by psql, and `evtool ns create orders`."""
    installed, created = make_database(), make_database()
    psql(installed, file=INSTALL, ns="orders")
    with evtool.connect(created) as store:
        store.migrate()
        store.create_namespace("orders")
    assert dump(installed, "orders") == dump(created, "orders")
    with evtool.connect(installed, "orders") as store:
        assert [namespace.name for namespace in store.list_namespaces()] == ["orders"]
        assert all(state.current for state in store.migration_status())
        assert store.write_message(None, "a-1", "T", {}) == 0


def test_install_sql_runs_twice(empty_dsn: str, psql: Any, dump: Any) -> None:
    """Again, it changes nothing: not the schemas, not the registry, not the messages."""
    psql(empty_dsn, file=INSTALL, ns="orders")
    before = (dump(empty_dsn, "evtool"), dump(empty_dsn, "orders"), _registry(empty_dsn))
    _use(empty_dsn, "orders")
    psql(empty_dsn, file=INSTALL, ns="orders")
    assert (dump(empty_dsn, "evtool"), dump(empty_dsn, "orders"), _registry(empty_dsn)) == before
    with evtool.connect(empty_dsn, "orders") as store:
        assert store.stream_version("a-1") == 0


def test_install_sql_mends_what_was_changed_by_hand(empty_dsn: str, psql: Any, dump: Any) -> None:
    """Run again, it brings the functions up to date."""
    psql(empty_dsn, file=INSTALL, ns="orders")
    before = dump(empty_dsn, "orders")
    psql(empty_dsn, "DROP FUNCTION orders.get_all_messages")
    psql(empty_dsn, file=INSTALL, ns="orders")
    assert dump(empty_dsn, "orders") == before


def test_hostile_schema_names_by_install_sql(empty_dsn: str, psql: Any) -> None:
    """Spaces, quotes, backslashes, reserved words, psql's own syntax and 63 bytes are names like any other."""
    for schema in HOSTILE:
        psql(empty_dsn, file=INSTALL, ns=schema)
        _use(empty_dsn, schema)
        psql(empty_dsn, file=INSTALL, ns=schema)
    with evtool.connect(empty_dsn) as store:
        assert {namespace.schema for namespace in store.list_namespaces()} == set(HOSTILE)
        assert all(state.current for state in store.migration_status())
        assert {step.action for step in store.migrate()} == {"current"}


def test_hostile_names_by_printed_sql(migrated_dsn: str, psql: Any) -> None:
    """The SQL of `ns create --sql` and `ns delete --sql` runs through psql, whatever the names."""
    with evtool.connect(migrated_dsn) as store:
        for number, schema in enumerate(HOSTILE):
            name = f"{schema} '; -- \\ {number}"
            psql(migrated_dsn, namespaces.creation_script(name, schema))
            assert store.get_namespace(name).schema == schema
            _use(migrated_dsn, schema)
        assert all(state.current for state in store.migration_status())
        for number, schema in enumerate(HOSTILE):
            name = f"{schema} '; -- \\ {number}"
            psql(migrated_dsn, namespaces.deletion_script(store, name))
            with pytest.raises(NamespaceNotFound):
                store.get_namespace(name)
        assert [namespace.name for namespace in store.list_namespaces()] == ["message_store"]


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        ({}, "no namespace given"),
        ({"ns": ""}, "this one has 0"),
        ({"ns": "x" * 64}, "this one has 64"),
        ({"ns": "evtool"}, "reserved"),
        ({"ns": "pg_mine"}, "reserved"),
        ({"ns": "public"}, "reserved"),
        ({"ns": "foreign"}, "not a namespace of evtool"),
        ({"ns": "elsewhere"}, "lives in the schema"),
    ],
)
def test_install_sql_refuses_what_evtool_refuses(
    empty_dsn: str, psql: Any, variables: dict[str, str], reason: str
) -> None:
    """A name that can't be used ends psql with an error that says why, and nothing was made."""
    psql(empty_dsn, 'CREATE SCHEMA "foreign"; CREATE TABLE "foreign".kept (x int)')
    if variables.get("ns") == "elsewhere":
        with evtool.connect(empty_dsn) as store:
            store.migrate()
            store.create_namespace("elsewhere", "another_schema")
    schemas = "SELECT array_agg(nspname ORDER BY nspname) FROM pg_namespace"
    with psycopg.connect(empty_dsn, autocommit=True) as session:
        before = session.execute(schemas).fetchone()
        done: subprocess.CompletedProcess[str] = psql(empty_dsn, file=INSTALL, fails=True, **variables)
        assert reason in done.stderr
        assert session.execute(schemas).fetchone() == before
        assert session.execute('SELECT count(*) FROM "foreign".kept').fetchone() == (0,)


@pytest.mark.parametrize("schema", ["evtool", "orders"])
def test_install_sql_leaves_another_structure_alone(empty_dsn: str, psql: Any, dump: Any, schema: str) -> None:
    """Tables of another version are migrate's business: install.sql ends with an error and changes nothing."""
    psql(empty_dsn, file=INSTALL, ns="orders")
    psql(empty_dsn, f"UPDATE {schema}.evtool_version SET version_num = '0000'; DROP VIEW orders.type_summary")
    before = (dump(empty_dsn, "evtool"), dump(empty_dsn, "orders"))
    done: subprocess.CompletedProcess[str] = psql(empty_dsn, file=INSTALL, ns="orders", fails=True)
    assert "division by zero" in done.stderr if schema == "evtool" else "has structure 0000" in done.stderr
    assert (dump(empty_dsn, "evtool"), dump(empty_dsn, "orders")) == before


def test_the_scripts_are_found_where_the_package_is() -> None:
    """install.sql includes its files by paths beside it, so it runs from any folder."""
    text = INSTALL.read_text("utf-8")
    included = [line.split()[1] for line in text.splitlines() if line.startswith("\\ir ")]
    assert included
    assert all((INSTALL.parent / path).is_file() for path in included)
    assert Path(INSTALL).is_absolute()
