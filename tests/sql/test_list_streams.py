"""list_streams: the names of streams, page by page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from psycopg import sql

NAMES = ["", "A-1", "a", "a-", "a-1", "a-10", "a-2", "b-1", "b_1-1", "é-1", "日-1"]


@pytest.fixture
def many(connection: psycopg.Connection, write: Any) -> psycopg.Connection:
    """A session on a namespace with eleven streams; a-1 has three messages, the others one each."""
    for name in (*reversed(NAMES), "a-1", "a-1"):
        write(connection, name)
    return connection


def _names(session: psycopg.Connection, call: str) -> list[str]:
    return [row[0] for row in session.execute(f"SELECT stream_name FROM list_streams({call})")]


@pytest.mark.parametrize(
    ("call", "names"),
    [
        ("", NAMES),
        ("NULL", NAMES),
        ("'a'", ["a", "a-", "a-1", "a-10", "a-2"]),
        ("'a-1'", ["a-1", "a-10"]),
        ("'a-%'", []),
        ("'b_'", ["b_1-1"]),
        ("'z'", []),
        ("after => 'a-1'", ["a-10", "a-2", "b-1", "b_1-1", "é-1", "日-1"]),
        ("after => 'a-11'", ["a-2", "b-1", "b_1-1", "é-1", "日-1"]),
        ("after => ''", NAMES[1:]),
        ("after => '日-1'", []),
        ("'a', 'a-1'", ["a-10", "a-2"]),
        ("'b', 'a-1'", ["b-1", "b_1-1"]),
        ("'a', 'b'", []),
        ("'', NULL, 2", ["", "A-1"]),
        ("'', NULL, 0", []),
        ("'', NULL, -1", NAMES),
        ("'', NULL, NULL", NAMES),
    ],
)
def test_prefix_after_and_limit(many: psycopg.Connection, call: str, names: list[str]) -> None:
    """Streams in the order of their names' bytes, those that begin so, behind that one, as many as asked for."""
    assert _names(many, call) == names


def test_each_has_its_version(many: psycopg.Connection) -> None:
    """Beside each name stands the position of the stream's last message."""
    rows = many.execute("SELECT stream_name, version FROM list_streams('a-')").fetchall()
    assert rows == [("a-", 0), ("a-1", 2), ("a-10", 0), ("a-2", 0)]


def test_pages_add_up_to_all(many: psycopg.Connection) -> None:
    """Asking on behind the last name of each page lists every stream once."""
    pages: list[str] = []
    while page := _names(many, "'', " + (sql.quote(pages[-1]) if pages else "NULL") + ", 3"):
        pages += page
    assert pages == NAMES


def test_an_empty_namespace_has_none(connection: psycopg.Connection) -> None:
    """Where nothing was written there is no stream, not even ''."""
    assert _names(connection, "") == []
    assert _names(connection, "'a', 'a'") == []


def test_a_limit_below_minus_one_is_refused(many: psycopg.Connection, refused: Callable[..., Any]) -> None:
    """Below -1 is 2201W, as for the reads."""
    assert refused(many, "SELECT * FROM list_streams('', NULL, -2)").sqlstate == "2201W"


def test_the_default_limit_is_a_thousand(connection: psycopg.Connection) -> None:
    """Without a limit at most 1000 names come."""
    connection.execute(
        "INSERT INTO messages (position, stream_name, type) SELECT 0, 'a-' || n, 'T' FROM generate_series(1, 1005) AS n"
    )
    assert len(_names(connection, "")) == 1000
    assert len(_names(connection, "'', NULL, -1")) == 1005


def test_a_call_from_another_path_lists_here(many: psycopg.Connection, namespace: str) -> None:
    """A schema-qualified call works whatever the search_path."""
    many.execute("SET search_path = pg_catalog")
    call = sql.SQL("SELECT count(*) FROM {}('a')").format(sql.Identifier(namespace, "list_streams"))
    assert many.execute(call).fetchone() == (5,)
