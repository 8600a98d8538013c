"""cardinal_id: the part of the id before the first plus sign."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest


@pytest.mark.parametrize(
    ("stream_name", "cardinal_id"),
    [
        ("a-1+2-3+4", "1"),
        ("a-b-c+d", "b-c"),
        ("a-1", "1"),
        ("a+b-c", "c"),
        ("a+b", None),
        ("a", None),
        ("", None),
        ("a-+x", ""),
        ("a-", ""),
        ("-x+y", "x"),
        ("é-ü+日", "ü"),
        (None, None),
    ],
)
def test_it_is_the_id_before_the_first_plus_sign(
    connection: psycopg.Connection, one: Callable[..., Any], stream_name: str | None, cardinal_id: str | None
) -> None:
    """The cardinal id ends at the id's first plus sign, and a name without an id has none."""
    assert one(connection, "SELECT cardinal_id(%s)", stream_name) == cardinal_id
