"""The SQL condition of reads: who may give one, what it can say, and that it only ever narrows."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from psycopg import sql

# Each begins behind the first message and takes three of the four that follow.
STREAM = "SELECT stream_name, position FROM get_stream_messages('a-1', 1, 3, %s)"
CATEGORY = "SELECT stream_name, position FROM get_category_messages('a', 2, 3, condition => %s)"
GROUP = "SELECT stream_name, position FROM get_category_messages('a', 2, 3, 'c', 0, 1, %s)"
READS = [STREAM, CATEGORY, GROUP]

INACTIVE = "Retrieval with SQL condition is not activated"


@pytest.fixture
def conditional(connection: psycopg.Connection) -> psycopg.Connection:
    """A session that may give conditions, on five messages each of a-1 and b-1: T0, T2, T3, T4, T5."""
    connection.execute(
        "INSERT INTO messages (stream_name, position, type, data, metadata)"
        " SELECT name, n - (n > 0)::int, 'T' || n, jsonb_build_object('n', n), '{\"correlationStreamName\": \"c-1\"}'"
        " FROM generate_series(0, 5) AS n, unnest(ARRAY['a-1', 'b-1']) AS name"
        " WHERE n <> 1 ORDER BY n, name"
    )
    connection.execute("SET message_store.sql_condition = 'on'")
    return connection


def _unconditional(session: psycopg.Connection, read: str) -> list[tuple[str, int]]:
    """What the read returns without a condition and without a limit."""
    rows: list[tuple[str, int]] = session.execute(read.replace(", 3, ", ", -1, "), (None,)).fetchall()
    return rows


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("setting", [None, "off"])
def test_without_the_setting_it_is_refused(
    connection: psycopg.Connection, refused: Callable[..., Any], read: str, setting: str | None
) -> None:
    """Unset and off forbid the condition, with Message DB's text; a NULL condition is none."""
    if setting is not None:
        connection.execute(sql.SQL("SET message_store.sql_condition = {}").format(sql.Literal(setting)))
    diag = refused(connection, read, "true")
    assert (diag.sqlstate, diag.message_primary) == ("P0001", INACTIVE)
    assert connection.execute(read, (None,)).fetchall() == []


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("setting", ["on", "true", "1", "", "OFF"])
def test_any_other_setting_allows_it(conditional: psycopg.Connection, read: str, setting: str) -> None:
    """Only the word `off` forbids, as in Message DB."""
    conditional.execute(sql.SQL("SET message_store.sql_condition = {}").format(sql.Literal(setting)))
    assert conditional.execute(read, ("true",)).fetchall()


@pytest.mark.parametrize("read", READS)
def test_a_setting_of_a_transaction_ends_with_it(
    conditional: psycopg.Connection, refused: Callable[..., Any], read: str
) -> None:
    """SET LOCAL allows it for a transaction, and what it was before holds again afterwards."""
    conditional.execute("SET message_store.sql_condition = 'off'")
    with conditional.transaction():
        conditional.execute("SET LOCAL message_store.sql_condition = 'on'")
        assert conditional.execute(read, ("true",)).fetchall()
    assert refused(conditional, read, "true").message_primary == INACTIVE


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize(
    ("condition", "positions"),
    [
        ("true", [1, 2, 3]),
        ("false", []),
        ("NULL", []),
        ("position >= 3", [3, 4]),
        ("messages.position = 2", [2]),
        ("type = 'T4'", [3]),
        ("type LIKE 'T%' AND data->>'n' IN ('3', '5')", [2, 4]),
        ("(data->>'n')::int % 2 = 1", [2, 4]),
        ("metadata->>'correlationStreamName' = 'c-1' AND stream_name = 'a-1'", [1, 2, 3]),
        ("global_position > 0 AND time <= now() AT TIME ZONE 'utc' AND id IS NOT NULL", [1, 2, 3]),
        ("CASE WHEN position = 2 THEN true ELSE false END", [2]),
        ("position = (SELECT max(position) FROM messages)", [4]),
        ("type = 'T3' -- a comment at the end", [2]),
        ("/* a comment */ type = 'T3'", [2]),
        ("type = 'a '' quote' OR type = $$T3$$ OR type = E'\\'' OR type = '\\'", [2]),
    ],
)
def test_it_filters_what_the_read_would_return(
    conditional: psycopg.Connection, read: str, condition: str, positions: list[int]
) -> None:
    """A condition is SQL over the columns of messages, and pages are full behind it."""
    assert conditional.execute(read, (condition,)).fetchall() == [("a-1", position) for position in positions]


# The columns as the reads select them, so that only the SQL around the condition stands in the way.
SELECTED = (
    "SELECT id::varchar, stream_name::varchar, type::varchar, position, global_position, data::varchar,"
    " metadata::varchar, time FROM messages WHERE (stream_name = 'b-1'"
)

WIDENERS = [
    f"true); {SELECTED}",
    f"true) UNION ALL {SELECTED}",
    f"true) UNION ALL {SELECTED}) UNION ALL ({SELECTED})",
    f"true) THEN true END FROM messages; {SELECTED}",
    f"true) ORDER BY 1 LIMIT 1; {SELECTED}",
    "true) OR (true",
    "false) OR (stream_name = 'b-1'",
    "true OR stream_name = 'b-1'",
    "true) OR true OR (true",
    "stream_name = 'b-1') UNION SELECT * FROM messages WHERE (true",
    "true) UNION ALL SELECT * FROM messages --",
    "true) UNION ALL SELECT * FROM messages WHERE (true",
    "true) UNION ALL SELECT stream_name::varchar, position FROM messages WHERE (true",
    "true) INTERSECT SELECT 1 WHERE (true",
    "EXISTS (SELECT FROM messages WHERE stream_name = 'b-1')",
    "(SELECT true FROM messages LIMIT 1)",
    "(SELECT count(*) FROM messages) > 0",
    "true IN (SELECT true UNION SELECT false)",
    "true; SELECT * FROM messages",
    "true); SELECT * FROM messages; --",
    "true); SELECT * FROM messages WHERE (true",
    "true); DELETE FROM messages WHERE (true",
    "true) THEN true END; SELECT CASE WHEN (true",
    "true) THEN true END FROM messages; SELECT CASE WHEN (true",
    "true) THEN true END FROM messages WHERE (true",
    "true) THEN true END FROM messages --",
    "true) THEN true END, CASE WHEN (true",
    "true) THEN (SELECT true) ELSE (true",
    "true) END OR (true",
    "true /*",
    "true */ OR true /*",
    "true) /* */ OR /* ) */ (true",
    "true) --",
    "true) ORDER BY (stream_name",
    "true) ORDER BY 1 --",
    "true) LIMIT 1000 OFFSET (0",
    "true) FOR UPDATE OF messages --",
    "true) GROUP BY (1",
    "true) HAVING (true",
    "true) WINDOW w AS (ORDER BY position",
    "true) AS messages WHERE (true",
    "true\n) OR (\ntrue",
    "'",
    "true ' OR '",
    '"',
    "$$",
    "$1 IS NOT NULL OR $1 = 'b-1'",
    "$1 = $1) OR ($3 > 0",
    "",
    " ",
    ")",
    "(",
    ")(",
    "\\",
    "true) OR stream_name <> ALL (ARRAY[1",
]


@pytest.mark.parametrize("read", READS)
def test_nothing_in_it_widens_the_read(conditional: psycopg.Connection, read: str) -> None:
    """Whatever the text, it is an error, or what returns is part of what the read returns without it."""
    allowed = _unconditional(conditional, read)
    assert len(allowed) == 4
    for condition in WIDENERS:
        with contextlib.suppress(psycopg.Error):
            rows = conditional.execute(read, (condition,)).fetchall()
            assert set(rows) <= set(allowed), condition
            assert len(rows) <= 3, condition
        assert conditional.execute("SELECT count(*) FROM messages").fetchone() == (10,), condition


@pytest.mark.parametrize("read", READS)
def test_an_or_between_parentheses_stays_inside(conditional: psycopg.Connection, read: str) -> None:
    """`true) OR (true`, the reference's injection point, returns what `true` returns."""
    assert conditional.execute(read, ("true) OR (true",)).fetchall() == [("a-1", 1), ("a-1", 2), ("a-1", 3)]


@pytest.mark.parametrize("read", READS)
def test_no_second_statement_runs(conditional: psycopg.Connection, refused: Callable[..., Any], read: str) -> None:
    """A statement stacked behind the first is refused before it runs, even one that a rollback can't undo."""
    stacked = "true) THEN true END; SELECT nextval('messages_global_position_seq'); SELECT CASE WHEN (true"
    refused(conditional, read, stacked)
    assert conditional.execute("SELECT last_value FROM messages_global_position_seq").fetchone() == (10,)


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize(
    ("condition", "state"),
    [("no_such_column = 1", "42703"), ("", "42601"), ("true) UNION (", "42601"), ("position", "42804")],
)
def test_what_is_no_condition_is_postgresqls_error(
    conditional: psycopg.Connection, refused: Callable[..., Any], read: str, condition: str, state: str
) -> None:
    """Bad SQL has PostgreSQL's own SQLSTATE."""
    assert refused(conditional, read, condition).sqlstate == state


def test_debugging_tells_the_condition(conditional: psycopg.Connection, notices: Any) -> None:
    """With message_store.debug_get on, the condition is among the arguments that are told."""
    conditional.execute("SET message_store.debug_get = 'on'")
    with notices(conditional) as heard:
        conditional.execute(STREAM, ("type = 'T3'",))
        conditional.execute(CATEGORY, ("type = 'T3'",))
    assert "condition ($4): type = 'T3'" in heard
    assert "condition: type = 'T3'" in heard


@pytest.mark.parametrize("read", READS)
def test_it_reads_with_the_callers_rights(
    conditional: psycopg.Connection, refused: Callable[..., Any], read: str, namespace: str
) -> None:
    """A condition of a reader sees only what the reader may see."""
    conditional.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(f"{namespace}_reader")))
    assert conditional.execute(read, ("true",)).fetchall()
    assert refused(conditional, read, "EXISTS (SELECT FROM evtool.behaviours)").sqlstate == "42501"
