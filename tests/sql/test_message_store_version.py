"""message_store_version: whose contract the functions keep."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg


def test_it_is_message_dbs(connection: psycopg.Connection, one: Callable[..., Any]) -> None:
    """Clients that ask for the version are told 1.3.0."""
    assert one(connection, "SELECT message_store_version()") == "1.3.0"
