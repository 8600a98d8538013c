"""Consumer groups of get_category_messages: each stream with an id belongs to exactly one member."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from evtool import names

CALL = "SELECT stream_name FROM get_category_messages('s', 1, -1, NULL, %s, %s)"


def _fill(session: psycopg.Connection) -> list[str]:
    """Thirty streams with ids, some compound, and two without; three messages each. Returns all their names."""
    streams = [f"s-{number}" for number in range(20)] + [f"s-{number}+{number * 7}" for number in range(9)] + ["s-"]
    streams += ["s"]
    session.execute(
        "INSERT INTO messages (position, stream_name, type)"
        " SELECT n, name, 'T' FROM generate_series(0, 2) AS n, unnest(%s::text[]) AS name",
        (streams,),
    )
    return streams


@pytest.mark.parametrize("size", [1, 2, 3, 8, 100, 32767])
def test_every_stream_with_an_id_is_in_exactly_one_member(connection: psycopg.Connection, size: int) -> None:
    """The members' shares are the category without overlap, less the stream without an id."""
    streams = _fill(connection)
    hashed = {
        name: abs(names.hash_64(cardinal)) % size
        for name in streams
        if (cardinal := names.cardinal_id(name)) is not None
    }
    assert set(streams) - set(hashed) == {"s"}
    for member in set(hashed.values()) | {0, size - 1}:
        got = [row[0] for row in connection.execute(CALL, (member, size))]
        assert sorted(got) == sorted(3 * [name for name in hashed if hashed[name] == member])


def test_a_stream_without_an_id_is_in_no_member(connection: psycopg.Connection, write: Any) -> None:
    """The stream that is named like its category hashes to NULL: no member gets it, even at size 1."""
    write(connection, "s")
    assert connection.execute(CALL, (0, 1)).fetchall() == []
    assert connection.execute("SELECT stream_name FROM get_category_messages('s')").fetchall() == [("s",)]


def test_streams_of_one_cardinal_id_stay_together(connection: psycopg.Connection, write: Any) -> None:
    """s-1, s-1+2 and s-1+3 are one member's, whatever the group's size."""
    for name in ("s-1", "s-1+2", "s-1+3"):
        write(connection, name)
    for size in range(1, 12):
        member = abs(names.hash_64("1")) % size
        assert len(connection.execute(CALL, (member, size)).fetchall()) == 3


def test_a_member_gets_full_pages(connection: psycopg.Connection) -> None:
    """What belongs to others doesn't count for the batch size, so page after page is full until the end."""
    _fill(connection)
    query = "SELECT global_position FROM get_category_messages('s', %s, %s, NULL, 1, 3)"
    everything = [row[0] for row in connection.execute(query, (1, -1))]
    assert len(everything) > 10
    pages: list[int] = []
    position = 1
    while page := [row[0] for row in connection.execute(query, (position, 4))]:
        assert len(page) == min(4, len(everything) - len(pages))
        pages += page
        position = page[-1] + 1
    assert pages == everything


def test_a_size_beyond_a_smallint_is_out_of_range(connection: psycopg.Connection, refused: Callable[..., Any]) -> None:
    """A group of 32768 is 22003, as with Message DB, and one of 32767 is fine."""
    assert connection.execute(CALL, (32766, 32767)).fetchall() == []
    diag = refused(connection, CALL, 1, 32768)
    assert (diag.sqlstate, diag.message_primary) == ("22003", "smallint out of range")


def test_the_members_share_out_the_category(connection: psycopg.Connection, write: Any) -> None:
    """The members' shares add up to the whole, whatever sign the streams' hashes have."""
    for number in range(64):
        write(connection, f"s-{number}")
    shares = [len(connection.execute(CALL, (member, 5)).fetchall()) for member in range(5)]
    assert sum(shares) == 64
