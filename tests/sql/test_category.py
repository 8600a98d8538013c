"""category: what stands before the first hyphen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest


@pytest.mark.parametrize(
    ("stream_name", "category"),
    [
        ("a-b-c", "a"),
        ("a", "a"),
        ("", ""),
        ("-x", ""),
        ("-", ""),
        ("a-", "a"),
        ("a:command+pos-1", "a:command+pos"),
        ("é ü-1", "é ü"),
        (None, None),
    ],
)
def test_it_is_what_stands_before_the_first_hyphen(
    connection: psycopg.Connection, one: Callable[..., Any], stream_name: str | None, category: str | None
) -> None:
    """A category ends at the first hyphen, and a colon means nothing."""
    assert one(connection, "SELECT category(%s)", stream_name) == category


def test_the_planner_inlines_it(connection: psycopg.Connection) -> None:
    """A call of category costs no function call: the plan shows its expression."""
    plan = connection.execute("EXPLAIN (COSTS OFF, VERBOSE) SELECT category(stream_name) FROM messages").fetchall()
    assert any("split_part" in line for (line,) in plan)
