"""write_message: one message at the end of a stream."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from psycopg import sql

ID = "8f8a5b4a-3f7d-4d0e-9d7f-6f0f7b1c2d3e"


def test_the_position_counts_from_zero_in_each_stream(connection: psycopg.Connection, write: Any) -> None:
    """A message's position is the next in its own stream, and the first is 0."""
    assert [write(connection, name) for name in ("a-1", "a-1", "a-2", "a-1", "b-1")] == [0, 1, 0, 2, 0]


def test_a_row_holds_what_was_written(connection: psycopg.Connection, write: Any) -> None:
    """Every argument is in its column, and the id is a uuid."""
    write(connection, "a-1", "Opened", '{"x": [1, "é"]}', '{"y": null}', id=ID.upper())
    row = connection.execute(
        "SELECT global_position, position, stream_name, type, data::text, metadata::text, id::text FROM messages"
    ).fetchone()
    assert row == (1, 0, "a-1", "Opened", '{"x": [1, "é"]}', '{"y": null}', ID)


def test_metadata_and_expected_version_have_defaults(connection: psycopg.Connection, one: Callable[..., Any]) -> None:
    """Four arguments are enough: metadata is NULL then, and any version will do."""
    assert one(connection, "SELECT write_message(%s, 'a-1', 'T', '{}'::jsonb)", ID) == 0
    assert one(connection, "SELECT metadata IS NULL FROM messages") is True


def test_the_arguments_have_message_dbs_names(connection: psycopg.Connection, one: Callable[..., Any]) -> None:
    """A client may name the arguments, in any order."""
    call = (
        "SELECT write_message(expected_version => -1, metadata => '{}', data => '{}', \"type\" => 'T',"
        " stream_name => 'a-1', id => %s)"
    )
    assert one(connection, call, ID) == 0


@pytest.mark.parametrize("data", [None, "null", "1", '"text"', "[1, 2]", "true", "1e400", "9007199254740993"])
def test_data_is_any_json_or_none(
    connection: psycopg.Connection, write: Any, one: Callable[..., Any], data: str | None
) -> None:
    """Data may be NULL, a scalar or an array, and no number loses a digit."""
    write(connection, "a-1", data=data)
    assert one(connection, "SELECT data IS NOT DISTINCT FROM %s::jsonb FROM messages", data) is True


@pytest.mark.parametrize(
    ("stream_name", "type"), [("", "T"), ("account", "T"), ("account-1", ""), ("-", " "), ("é-日", "ü")]
)
def test_any_name_and_type_can_be_written(
    connection: psycopg.Connection, write: Any, one: Callable[..., Any], stream_name: str, type: str
) -> None:
    """The stream '', a bare category and the type '' are written like any other."""
    assert write(connection, stream_name, type) == 0
    assert one(connection, "SELECT (stream_name, type) = (%s, %s) FROM messages", stream_name, type) is True


def test_the_time_is_the_transactions_start_in_utc(connection: psycopg.Connection, write: Any) -> None:
    """All messages of a transaction have the time at which it began, in UTC."""
    connection.execute("SET TimeZone = 'Asia/Tokyo'")
    with connection.transaction():
        row = connection.execute("SELECT now() AT TIME ZONE 'UTC'").fetchone()
        assert row is not None
        connection.execute("SELECT clock_timestamp()")
        write(connection, "a-1")
        write(connection, "b-1")
    assert connection.execute("SELECT DISTINCT time FROM messages").fetchall() == [row]


@pytest.mark.parametrize(("written", "expected"), [(0, -1), (1, 0), (3, 2)])
def test_the_right_version_is_accepted(connection: psycopg.Connection, write: Any, written: int, expected: int) -> None:
    """The expected version is the last position, and -1 where there must be no stream."""
    for _ in range(written):
        write(connection, "a-1")
    assert write(connection, "a-1", expected_version=expected) == written


@pytest.mark.parametrize(
    ("stream_name", "expected", "text"),
    [
        ("a-1", -1, "Wrong expected version: -1 (Stream: a-1, Stream Version: 1)"),
        ("a-1", 0, "Wrong expected version: 0 (Stream: a-1, Stream Version: 1)"),
        ("a-1", 2, "Wrong expected version: 2 (Stream: a-1, Stream Version: 1)"),
        ("a-1", -2, "Wrong expected version: -2 (Stream: a-1, Stream Version: 1)"),
        ("none-1", 0, "Wrong expected version: 0 (Stream: none-1, Stream Version: -1)"),
        ("none-1", 2**63 - 1, f"Wrong expected version: {2**63 - 1} (Stream: none-1, Stream Version: -1)"),
        ("", 7, "Wrong expected version: 7 (Stream: , Stream Version: -1)"),
        (None, 7, "Wrong expected version: 7 (Stream: <NULL>, Stream Version: -1)"),
    ],
)
def test_a_wrong_version_is_refused_in_message_dbs_words(
    connection: psycopg.Connection, write: Any, stream_name: str | None, expected: int, text: str
) -> None:
    """Clients read the conflict from P0001 and this very text; a missing stream shows -1, NULL shows <NULL>."""
    write(connection, "a-1")
    write(connection, "a-1")
    with pytest.raises(psycopg.errors.RaiseException) as caught:
        write(connection, stream_name, expected_version=expected)
    diag = caught.value.diag
    assert (diag.sqlstate, diag.message_primary) == ("P0001", text)
    assert (diag.message_detail, diag.message_hint) == (None, None)
    # what evtool's own client reads instead of the text
    assert (diag.constraint_name, diag.column_name) == (
        "expected_version",
        text.rsplit(": ", maxsplit=1)[-1].rstrip(")"),
    )


def test_the_version_is_checked_before_the_id(connection: psycopg.Connection, write: Any) -> None:
    """A call that is wrong in both is told of its version."""
    with pytest.raises(psycopg.errors.RaiseException):
        write(connection, "a-1", expected_version=5, id="not a uuid")


@pytest.mark.parametrize(
    ("id", "stream_name", "type", "state", "constraint"),
    [
        (None, "a-1", "T", "23502", "id"),
        ("new", None, "T", "23502", "stream_name"),
        ("new", "a-1", None, "23502", "type"),
        (ID, "b-1", "T", "23505", "messages_id"),
    ],
)
def test_what_only_the_insert_refuses_spends_a_position(
    connection: psycopg.Connection,
    write: Any,
    spent: Any,
    id: str | None,
    stream_name: Any,
    type: Any,
    state: str,
    constraint: str,
) -> None:
    """NULL in id, stream or type is 23502, the same id twice 23505, and both leave a gap."""
    write(connection, "a-1", id=ID)
    with pytest.raises(psycopg.IntegrityError) as caught:
        write(connection, stream_name, type, id=id)
    assert caught.value.sqlstate == state
    assert constraint in (caught.value.diag.constraint_name, caught.value.diag.column_name)
    assert spent() == 2
    assert write(connection, "c-1") == 0
    assert connection.execute("SELECT array_agg(global_position ORDER BY 1) FROM messages").fetchone() == ([1, 3],)


@pytest.mark.parametrize(
    ("values", "state"),
    [({"id": "not a uuid"}, "22P02"), ({"id": ""}, "22P02"), ({"expected_version": 9}, "P0001")],
)
def test_what_is_refused_before_the_insert_spends_none(
    connection: psycopg.Connection, write: Any, spent: Any, values: dict[str, Any], state: str
) -> None:
    """A bad uuid and a version conflict leave no gap."""
    write(connection, "a-1")
    with pytest.raises(psycopg.Error) as caught:
        write(connection, "a-1", **values)
    assert caught.value.sqlstate == state
    assert spent() == 1


def test_a_bad_uuid_is_named(connection: psycopg.Connection, write: Any) -> None:
    """The text is PostgreSQL's own, as with Message DB."""
    with pytest.raises(psycopg.DataError, match='invalid input syntax for type uuid: "not a uuid"'):
        write(connection, "a-1", id="not a uuid")


def test_json_with_a_nul_is_refused(connection: psycopg.Connection, write: Any, spent: Any) -> None:
    """What jsonb can't hold is 22P05, and nothing is spent."""
    with pytest.raises(psycopg.DataError) as caught:
        write(connection, "a-1", data='{"x": "\\u0000"}')
    assert caught.value.sqlstate == "22P05"
    assert spent() == 0


def test_a_rewrite_is_not_idempotent(connection: psycopg.Connection, write: Any) -> None:
    """The same message again, in the same stream, is 23505 and not a silent success."""
    write(connection, "a-1", id=ID)
    with pytest.raises(psycopg.errors.UniqueViolation):
        write(connection, "a-1", id=ID)


def test_messages_of_a_transaction_see_each_other(connection: psycopg.Connection, write: Any) -> None:
    """Within one transaction the stream grows, and a rollback takes all of it back."""
    with connection.transaction(force_rollback=True):
        assert [write(connection, "a-1", expected_version=version) for version in (-1, 0, 1)] == [0, 1, 2]
    assert write(connection, "a-1", expected_version=-1) == 0


def test_a_call_from_another_path_writes_here(
    connection: psycopg.Connection, namespace: str, one: Callable[..., Any]
) -> None:
    """A schema-qualified call works whatever the search_path, even one with a decoy in it."""
    connection.execute("CREATE TEMP TABLE messages (stream_name text, position bigint)")
    connection.execute("SET search_path = pg_temp, pg_catalog")
    call = sql.SQL("SELECT {}.write_message(%s, 'a-1', 'T', '{{}}')").format(sql.Identifier(namespace))
    assert one(connection, call, str(uuid.uuid4())) == 0
    assert one(connection, "SELECT count(*) FROM pg_temp.messages") == 0
    assert one(connection, sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(namespace, "messages"))) == 1


@pytest.mark.parametrize("setting", ["message_store.debug_write", "message_store.debug"])
def test_debugging_tells_the_arguments(connection: psycopg.Connection, write: Any, notices: Any, setting: str) -> None:
    """With a debug setting on, a write says in NOTICEs what it was given; <NULL> where that is nothing."""
    connection.execute(sql.SQL("SET {} = 'on'").format(sql.Identifier(*setting.split("."))))
    with notices(connection) as heard:
        write(connection, "a-1", "Opened", '{"x": 1}', None, -1, id=ID)
    assert heard[heard.index("» write_message") :] == [
        "» write_message",
        f"id ($1): {ID}",
        "stream_name ($2): a-1",
        "type ($3): Opened",
        'data ($4): {"x": 1}',
        "metadata ($5): <NULL>",
        "expected_version ($6): -1",
        "_stream_version: -1",
        "_next_position: 0",
    ]


@pytest.mark.parametrize("settings", [{}, {"debug_write": "off"}, {"debug_get": "on"}, {"debug": "true"}])
def test_without_debugging_a_write_is_silent(
    connection: psycopg.Connection, write: Any, notices: Any, settings: dict[str, str]
) -> None:
    """Unset, off, another's setting, or any word but `on`: no NOTICE."""
    for name, value in settings.items():
        connection.execute(sql.SQL("SET message_store.{} = {}").format(sql.Identifier(name), sql.Literal(value)))
    with notices(connection) as heard:
        write(connection, "a-1")
    assert heard == []
