"""evtool.role_name: the names of a namespace's group roles."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest


@pytest.mark.parametrize(
    ("schema", "kind", "name"),
    [
        ("orders", "reader", "orders_reader"),
        ("orders", "writer", "orders_writer"),
        ('My "App"', "reader", 'My "App"_reader'),
        ("x" * 56, "reader", "x" * 56 + "_reader"),
        ("x" * 57, "reader", "evtool_693037871c4a9d3d8685018905cb530a_reader"),
        ("é" * 28, "writer", "é" * 28 + "_writer"),
        # PostgreSQL keeps role names that begin with pg_ for itself
        ("pg", "reader", "evtool_235ec52392b77977539cf78b62e708d3_reader"),
    ],
)
def test_it_is_the_schemas_name_or_its_md5(
    connection: psycopg.Connection, one: Callable[..., Any], schema: str, kind: str, name: str
) -> None:
    """A role is named after the schema, and where that would not be a role's name, after its md5."""
    assert one(connection, "SELECT evtool.role_name(%s, %s)", schema, kind) == name
    assert len(name.encode()) <= 63


def test_long_names_do_not_share_a_role(connection: psycopg.Connection, one: Callable[..., Any]) -> None:
    """Two schemas that differ only behind PostgreSQL's cut have roles of their own."""
    first, second = ("x" * 62 + end for end in "ab")
    query = "SELECT evtool.role_name(%s, 'reader') <> evtool.role_name(%s, 'reader')"
    assert one(connection, query, first, second) is True


def test_a_schema_named_like_a_role_does_not_share_it(connection: psycopg.Connection, one: Callable[..., Any]) -> None:
    """A schema that is called as a long schema's roles begin has roles of its own."""
    long = "x" * 57
    short = one(connection, "SELECT 'evtool_' || md5(%s)", long)
    query = "SELECT evtool.role_name(%s, 'writer') <> evtool.role_name(%s, 'writer')"
    assert one(connection, query, long, short) is True
    assert len(one(connection, "SELECT evtool.role_name(%s, 'writer')", short)) <= 63
