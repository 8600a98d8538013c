"""write_messages: a batch at the end of one stream, under one expected version."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

Batch = Callable[..., list[int]]

CALL = "SELECT * FROM write_messages(%s::varchar[], %s, %s::varchar[], %s::text[]::jsonb[], %s::text[]::jsonb[], %s)"


@pytest.fixture
def batch() -> Batch:
    """Writes as many messages as there are types."""

    def call(
        session: psycopg.Connection,
        stream_name: str | None,
        types: list[str | None],
        data: list[str | None] | None = None,
        metadata: list[str | None] | None = None,
        expected_version: int | None = None,
        ids: list[str | None] | None = None,
    ) -> list[int]:
        ids = [str(uuid.uuid4()) for _ in types] if ids is None else ids
        data = ["{}"] * len(types) if data is None else data
        return [row[0] for row in session.execute(CALL, (ids, stream_name, types, data, metadata, expected_version))]

    return call


def test_positions_are_returned_in_order(connection: psycopg.Connection, batch: Batch, write: Any) -> None:
    """A batch continues the stream, and each message's position is returned in the batch's order."""
    assert batch(connection, "a-1", ["A", "B", "C"]) == [0, 1, 2]
    assert write(connection, "a-1") == 3
    assert batch(connection, "a-1", ["D", "E"]) == [4, 5]


def test_global_positions_ascend_with_positions(connection: psycopg.Connection, batch: Batch) -> None:
    """However long the batch, positions and global positions ascend together, in its order."""
    types: list[str | None] = [f"T{number}" for number in range(5000)]
    batch(connection, "a-1", types)
    rows = connection.execute(
        "SELECT position, global_position, type FROM messages ORDER BY global_position"
    ).fetchall()
    assert rows == [(number, number + 1, f"T{number}") for number in range(5000)]


def test_each_message_has_its_own_values(connection: psycopg.Connection, batch: Batch) -> None:
    """Elements of the same index belong to one message, and may be NULL in data and metadata."""
    ids: list[str | None] = [str(uuid.uuid4()), str(uuid.uuid4())]
    batch(connection, "a-1", ["A", "B"], ['{"n": 1}', None], [None, '{"m": 2}'], ids=ids)
    rows = connection.execute(
        "SELECT id::text, type, data::text, metadata::text FROM messages ORDER BY position"
    ).fetchall()
    assert rows == [(ids[0], "A", '{"n": 1}', None), (ids[1], "B", None, '{"m": 2}')]


def test_an_empty_batch_writes_nothing(connection: psycopg.Connection, batch: Batch, spent: Any) -> None:
    """No messages: no positions, nothing spent."""
    assert batch(connection, "a-1", []) == []
    assert spent() == 0


def test_an_empty_batch_still_checks_the_version(connection: psycopg.Connection, batch: Batch) -> None:
    """The version is the batch's promise, even if the batch is empty."""
    with pytest.raises(psycopg.errors.RaiseException, match="Wrong expected version: 0"):
        batch(connection, "a-1", [], expected_version=0)


@pytest.mark.parametrize(("written", "expected"), [(0, -1), (2, 1)])
def test_one_expected_version_holds_for_all(
    connection: psycopg.Connection, batch: Batch, write: Any, written: int, expected: int
) -> None:
    """The version is compared once, before the first message."""
    for _ in range(written):
        write(connection, "a-1")
    assert batch(connection, "a-1", ["A", "B"], expected_version=expected) == [written, written + 1]


def test_a_wrong_version_is_refused_as_by_write_message(
    connection: psycopg.Connection, batch: Batch, spent: Any
) -> None:
    """The text and the state are write_message's, and nothing is spent or written."""
    with pytest.raises(psycopg.errors.RaiseException) as caught:
        batch(connection, "a-1", ["A", "B"], expected_version=3)
    assert caught.value.diag.message_primary == "Wrong expected version: 3 (Stream: a-1, Stream Version: -1)"
    assert (caught.value.diag.constraint_name, caught.value.diag.column_name) == ("expected_version", "-1")
    assert spent() == 0


def test_the_version_is_checked_before_the_ids(connection: psycopg.Connection, batch: Batch) -> None:
    """A batch that is wrong in both is told of its version."""
    with pytest.raises(psycopg.errors.RaiseException):
        batch(connection, "a-1", ["A"], ids=["no uuid"], expected_version=3)


def test_a_bad_uuid_spends_nothing(connection: psycopg.Connection, batch: Batch, spent: Any) -> None:
    """One bad id refuses the batch before a global position is drawn."""
    with pytest.raises(psycopg.errors.InvalidTextRepresentation):
        batch(connection, "a-1", ["A", "B"], ids=[str(uuid.uuid4()), "no uuid"])
    assert spent() == 0


@pytest.mark.parametrize("fault", ["twice in the batch", "in the table", "null id", "null type", "null stream"])
def test_it_is_all_or_none(connection: psycopg.Connection, batch: Batch, write: Any, fault: str) -> None:
    """One message that can't be written leaves none of the batch."""
    taken = str(uuid.uuid4())
    write(connection, "b-1", id=taken)
    ids: list[str | None] = [str(uuid.uuid4()), str(uuid.uuid4())]
    types: list[str | None] = ["A", "B"]
    stream: str | None = "a-1"
    if fault == "twice in the batch":
        ids[1] = ids[0]
    elif fault == "in the table":
        ids[1] = taken
    elif fault == "null id":
        ids[1] = None
    elif fault == "null type":
        types[1] = None
    else:
        stream = None
    with pytest.raises(psycopg.IntegrityError) as caught:
        batch(connection, stream, types, ids=ids)
    assert caught.value.sqlstate == ("23502" if fault.startswith("null") else "23505")
    assert connection.execute("SELECT stream_name FROM messages").fetchall() == [("b-1",)]


@pytest.mark.parametrize(
    ("ids", "types", "data", "metadata", "text"),
    [
        (2, 1, 2, None, "(Ids: 2, Types: 1, Data: 2, Metadata: <NULL>)"),
        (1, 1, 0, None, "(Ids: 1, Types: 1, Data: 0, Metadata: <NULL>)"),
        (1, 1, 1, 2, "(Ids: 1, Types: 1, Data: 1, Metadata: 2)"),
        (None, 1, 1, None, "(Ids: 0, Types: 1, Data: 1, Metadata: <NULL>)"),
    ],
)
def test_arrays_of_different_lengths_are_refused(
    connection: psycopg.Connection, ids: int | None, types: int, data: int, metadata: int | None, text: str
) -> None:
    """No message is padded with NULLs: a batch has as many of each."""
    values = (
        None if ids is None else [str(uuid.uuid4()) for _ in range(ids)],
        "a-1",
        ["T"] * types,
        ["{}"] * data,
        None if metadata is None else ["{}"] * metadata,
        None,
    )
    with pytest.raises(psycopg.errors.RaiseException) as caught:
        connection.execute(CALL, values)
    assert caught.value.diag.message_primary == f"A batch must have as many types, data and metadata as ids {text}"


def test_metadata_may_be_left_out(connection: psycopg.Connection, one: Callable[..., Any]) -> None:
    """Four arguments are enough."""
    call = "SELECT * FROM write_messages(ARRAY[%s], 'a-1', ARRAY['T'], ARRAY['{}'::jsonb])"
    assert one(connection, call, str(uuid.uuid4())) == 0


def test_a_batch_and_single_writes_wait_for_each_other(
    connection: psycopg.Connection, batch: Batch, write: Any, open_session: Any, background: Any, waits: Any
) -> None:
    """A batch holds the category's lock to the end of its transaction."""
    first, second = open_session(), open_session()
    with first.transaction():
        batch(first, "a-1", ["A", "B"])
        later = background(write, second, "a-2")
        waits(second)
        assert not later.done()
    assert later.result(30) == 0
    rows = connection.execute("SELECT stream_name FROM messages ORDER BY global_position").fetchall()
    assert rows == [("a-1",), ("a-1",), ("a-2",)]


def test_debugging_tells_the_arguments(connection: psycopg.Connection, batch: Batch, notices: Any) -> None:
    """With message_store.debug_write on, a batch says in NOTICEs what it was given."""
    connection.execute("SET message_store.debug_write = 'on'")
    with notices(connection) as heard:
        batch(connection, "a-1", ["A"], expected_version=-1)
    assert heard[0] == "» write_messages"
    assert "stream_name ($2): a-1" in heard
    assert "expected_version ($6): -1" in heard
