"""evtool.check_schema_name: whether a namespace may have a schema, and whether it is still to be made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from psycopg import sql

from evtool.stores.postgres import PostgresStore

CHECK = "SELECT evtool.check_schema_name(%s, %s)"


@pytest.mark.parametrize("schema", ["nobody_has_this", "select", 'a "b" c', "x" * 63, "é" * 31, "pgx", "Public"])
def test_a_free_name_is_to_be_made(connection: psycopg.Connection, one: Callable[..., Any], schema: str) -> None:
    """Any name of 1 to 63 bytes that nobody has is free."""
    assert one(connection, CHECK, schema, "any") is True


def test_the_namespaces_own_schema_is_there(
    connection: psycopg.Connection, one: Callable[..., Any], namespace: str
) -> None:
    """The schema that this very namespace has is not made again."""
    assert one(connection, CHECK, namespace, namespace) is False


@pytest.mark.parametrize(
    ("schema", "text", "mark"),
    [
        ("", "A schema's name has 1 to 63 bytes; this one has 0", "schema_name_length"),
        ("x" * 64, "A schema's name has 1 to 63 bytes; this one has 64", "schema_name_length"),
        ("é" * 32, "A schema's name has 1 to 63 bytes; this one has 64", "schema_name_length"),
        ("pg_mine", "The schema name pg_mine is reserved", "schema_reserved"),
        ("evtool", "The schema name evtool is reserved", "schema_reserved"),
        ("public", "The schema name public is reserved", "schema_reserved"),
        ("information_schema", "The schema name information_schema is reserved", "schema_reserved"),
    ],
)
def test_a_name_that_no_namespace_may_have_is_refused(
    connection: psycopg.Connection, refused: Callable[..., Any], schema: str, text: str, mark: str
) -> None:
    """Too short, too long, or somebody else's by nature: refused with the reason and a mark."""
    diag = refused(connection, CHECK, schema, "any")
    assert (diag.sqlstate, diag.message_primary, diag.constraint_name) == ("P0001", text, mark)


def test_another_namespaces_schema_is_refused(
    connection: psycopg.Connection, refused: Callable[..., Any], namespace: str
) -> None:
    """Two namespaces never share a schema."""
    diag = refused(connection, CHECK, namespace, "another's")
    assert diag.message_primary == f"The schema {namespace} belongs to the namespace '{namespace}'"
    assert diag.constraint_name == "schema_taken"


def test_a_schema_that_is_not_ours_is_refused(
    connection: psycopg.Connection, refused: Callable[..., Any], namespace: str
) -> None:
    """A schema that evtool did not make is never touched."""
    foreign = f"{namespace} foreign"
    connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(foreign)))
    diag = refused(connection, CHECK, foreign, foreign)
    assert diag.message_primary == f'The schema "{foreign}" exists and is not a namespace of evtool'
    assert diag.constraint_name == "schema_not_ours"


def test_a_second_schema_for_a_namespace_is_refused(
    connection: psycopg.Connection, refused: Callable[..., Any], shared_store: PostgresStore, namespace: str
) -> None:
    """A namespace has one schema: its name can't be entered again with another."""
    name = f"{namespace}_elsewhere"
    shared_store.create_namespace(name, f"{namespace}_schema")
    diag = refused(connection, CHECK, name, name)
    assert diag.message_primary == f"The namespace '{name}' lives in the schema {namespace}_schema"
    assert diag.constraint_name == "namespace_taken"
