"""id: what stands behind the first hyphen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest


@pytest.mark.parametrize(
    ("stream_name", "id"),
    [
        ("a-b-c", "b-c"),
        ("a-1", "1"),
        ("account-1+2-3", "1+2-3"),
        ("a", None),
        ("", None),
        ("a-", ""),
        ("-", ""),
        ("-x", "x"),
        ("é-ü+日", "ü+日"),
        (None, None),
    ],
)
def test_it_is_what_stands_behind_the_first_hyphen(
    connection: psycopg.Connection, one: Callable[..., Any], stream_name: str | None, id: str | None
) -> None:
    """The id begins behind the first hyphen, and a name without a hyphen has none."""
    assert one(connection, "SELECT id(%s)", stream_name) == id
