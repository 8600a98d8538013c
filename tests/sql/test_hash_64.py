"""hash_64: the hash that deals streams to the members of a consumer group."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from evtool import names

VECTORS = [
    ("a", 919145239626757800),
    ("", -3162216497309240828),
    ("account", -2132379389342958165),
    ("123", 2318431741638412123),
    ("someStream-123", -6897031765186548867),
    ("é", 7412306613632936882),
]


@pytest.mark.parametrize(("value", "hash_64"), [*VECTORS, (None, None)])
def test_it_is_the_first_half_of_the_md5(
    connection: psycopg.Connection, one: Callable[..., Any], value: str | None, hash_64: int | None
) -> None:
    """The hash is the first 64 bits of the md5 of the UTF-8 text, signed, and NULL for NULL."""
    assert one(connection, "SELECT hash_64(%s)", value) == hash_64


@pytest.mark.parametrize("value", ["b-c", "x" * 10_000, "日本", "\x01", "1+2"])
def test_python_hashes_alike(connection: psycopg.Connection, one: Callable[..., Any], value: str) -> None:
    """A stream has the same hash in PostgreSQL and in Python."""
    assert one(connection, "SELECT hash_64(%s)", value) == names.hash_64(value)
