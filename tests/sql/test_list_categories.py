"""list_categories: the categories of a namespace, and how much is in each."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg import sql

LIST = "SELECT category, streams, messages FROM list_categories()"


def test_each_category_is_counted(connection: psycopg.Connection, write: Any) -> None:
    """Categories in the order of their names' bytes, with how many streams and messages each has."""
    for name in ("b-1", "a-1", "a-2", "a-1", "a", "", "-x", "B-1", "é-1", "a:command-1"):
        write(connection, name)
    assert connection.execute(LIST).fetchall() == [
        ("", 2, 2),
        ("B", 1, 1),
        ("a", 3, 4),
        ("a:command", 1, 1),
        ("b", 1, 1),
        ("é", 1, 1),
    ]


def test_an_empty_namespace_has_none(connection: psycopg.Connection) -> None:
    """Where nothing was written there is no category."""
    assert connection.execute(LIST).fetchall() == []


def test_a_call_from_another_path_lists_here(connection: psycopg.Connection, write: Any, namespace: str) -> None:
    """A schema-qualified call works whatever the search_path."""
    write(connection, "a-1")
    connection.execute("SET search_path = pg_catalog")
    call = sql.SQL("SELECT category FROM {}()").format(sql.Identifier(namespace, "list_categories"))
    assert connection.execute(call).fetchall() == [("a",)]
