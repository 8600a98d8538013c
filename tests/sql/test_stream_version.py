"""stream_version: the position of a stream's last message."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg


def test_it_is_the_greatest_position(connection: psycopg.Connection, write: Any, one: Callable[..., Any]) -> None:
    """The version of a stream is the position of its last message, whatever other streams hold."""
    for _ in range(3):
        write(connection, "account-1")
    write(connection, "account-12")
    assert one(connection, "SELECT stream_version('account-1')") == 2
    assert one(connection, "SELECT stream_version('account-12')") == 0


def test_it_is_null_where_there_is_no_stream(connection: psycopg.Connection, one: Callable[..., Any]) -> None:
    """A stream that doesn't exist, and NULL, have no version."""
    assert one(connection, "SELECT stream_version('account-1')") is None
    assert one(connection, "SELECT stream_version(NULL)") is None


def test_any_name_has_a_version(connection: psycopg.Connection, write: Any, one: Callable[..., Any]) -> None:
    """A bare category and '' that were written as streams have versions too."""
    for name in ("account", ""):
        write(connection, name)
        assert one(connection, "SELECT stream_version(%s)", name) == 0
