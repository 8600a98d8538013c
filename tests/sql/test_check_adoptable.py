"""evtool.check_adoptable: what a schema is to `ns adopt`. What it makes of Message DB's own is tests/migration/test_adopt.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from psycopg import sql

CHECK = "SELECT evtool.check_adoptable(%s, %s)"


def test_a_namespace_is_registered(connection: psycopg.Connection, one: Callable[..., Any], namespace: str) -> None:
    """The schema of this very namespace is there already."""
    assert one(connection, CHECK, namespace, namespace) == "registered"


def test_a_schema_that_the_registry_has_lost_is_evtools(
    connection: psycopg.Connection, one: Callable[..., Any], namespace: str
) -> None:
    """A restored schema of evtool's is known by its version table, under whatever name it is to have."""
    with connection.transaction(force_rollback=True):
        connection.execute("DELETE FROM evtool.namespaces WHERE schema_name = %s", (namespace,))
        assert one(connection, CHECK, namespace, f"another {namespace}") == "evtool"


def test_anothers_schema_or_name_is_refused(
    connection: psycopg.Connection, refused: Callable[..., Any], namespace: str
) -> None:
    """A schema of another namespace, and a name of another schema."""
    diag = refused(connection, CHECK, namespace, "another")
    assert (diag.constraint_name, diag.message_primary) == (
        "schema_taken",
        f"The schema {namespace} belongs to the namespace '{namespace}'",
    )
    connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(f"{namespace}_theirs")))
    assert refused(connection, CHECK, f"{namespace}_theirs", namespace).constraint_name == "namespace_taken"


@pytest.mark.parametrize(
    ("schema", "mark"),
    [
        ("nowhere", "not_adoptable"),
        ('no"where', "not_adoptable"),
        ("public", "schema_reserved"),
        ("evtool", "schema_reserved"),
        ("pg_catalog", "schema_reserved"),
        ("information_schema", "schema_reserved"),
    ],
)
def test_what_is_no_store_is_refused(
    connection: psycopg.Connection, refused: Callable[..., Any], schema: str, mark: str
) -> None:
    """No schema, or one of PostgreSQL's own."""
    assert refused(connection, CHECK, schema, "x").constraint_name == mark


@pytest.mark.parametrize("kind", ["VIEW messages AS SELECT 1 AS x", "TABLE other (x int)", "SEQUENCE messages"])
def test_a_schema_without_the_table_is_refused(
    connection: psycopg.Connection, refused: Callable[..., Any], namespace: str, kind: str
) -> None:
    """Whatever else is called messages is no table of messages."""
    schema = sql.Identifier(f"{namespace}_theirs")
    connection.execute(sql.SQL("CREATE SCHEMA {}").format(schema))
    with connection.transaction():
        connection.execute(sql.SQL("SET LOCAL search_path = {}").format(schema))
        connection.execute(f"CREATE {kind}")
    diag = refused(connection, CHECK, f"{namespace}_theirs", "x")
    assert (diag.constraint_name, diag.message_primary) == (
        "not_adoptable",
        f"The schema {namespace}_theirs has no table messages",
    )
