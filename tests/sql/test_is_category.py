"""is_category: whether a name holds no hyphen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("a", True),
        ("", True),
        (None, True),
        ("a:b+c", True),
        ("a-", False),
        ("-", False),
        ("-a", False),
        ("a-b", False),
    ],
)
def test_a_category_has_no_hyphen(
    connection: psycopg.Connection, one: Callable[..., Any], name: str | None, answer: bool
) -> None:
    """A name is a category's unless it holds a hyphen; NULL is one too, as in Message DB."""
    assert one(connection, "SELECT is_category(%s)", name) is answer
