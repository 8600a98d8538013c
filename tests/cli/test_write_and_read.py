"""`evtool write` and `evtool read`."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import psycopg
import pytest

from evtool.model import NewMessage
from evtool.stores.postgres import PostgresStore
from tests.cli.running import SECONDS, Cli, Done, assert_one_line


def _lines(done: Done) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.ok().out.splitlines()]


def _positions(done: Done) -> list[int]:
    return [line["pos"] for line in _lines(done)]


@pytest.mark.thorough(but=["1-0-*", "40000*-1"])
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(("count", "where"), [(1, "0"), (40_000, "0 to 39999")])
def test_a_position_that_can_not_be_printed_is_taken(
    cli: Cli, store: PostgresStore, tmp_path: Path, unbuffered: str, count: int, where: str
) -> None:
    """The message is there when standard output turns out to be full: the error says so, for a retry would write twice."""
    batch = tmp_path / "batch.ndjson"
    batch.write_text('{"type":"Counted"}\n' * count)
    with Path("/dev/full").open("wb") as full:
        environment = cli.environment(PYTHONUNBUFFERED=unbuffered)
        process = cli.start("write", "full-1", "--batch", batch, stdout=full, env=environment)
        _, error = process.communicate(timeout=SECONDS)
    assert process.returncode == 1
    assert error.decode() == (
        "evtool: FILE: can't write standard output: No space left on device;"
        f" the stream has it, at {where} — don't write it again; evtool read shows it\n"
    )
    assert store.stream_version("full-1") == count - 1


def _fill(store: PostgresStore, stream: str, count: int) -> None:
    store.write_messages(stream, [NewMessage("Counted", {"n": n}) for n in range(count)])


def test_a_written_message_is_read_as_it_was_given(cli: Cli) -> None:
    """Write prints the position in the stream; read prints the message with every field."""
    id_ = str(uuid.uuid4())
    done = cli("write", "account-1", "Opened", '{"a": 9007199254740993}', "--metadata", '{"m":[1.50]}', "--id", id_)
    assert done.ok().out == "0\n"
    assert cli("write", "account-1", "Closed").ok().out == "1\n"
    first, second = _lines(cli("read", "account-1"))
    assert list(first) == ["id", "stream", "type", "pos", "gpos", "data", "meta", "time"]
    assert (first["id"], first["stream"], first["type"], first["pos"]) == (id_, "account-1", "Opened", 0)
    assert first["data"] == {"a": 9007199254740993}
    assert '"meta":{"m": [1.50]}' in cli("read", "account-1").out
    assert (second["type"], second["data"], second["meta"]) == ("Closed", None, None)
    assert first["gpos"] < second["gpos"]


def test_data_is_read_from_stdin(cli: Cli) -> None:
    """A dash in the place of the data is standard input, in UTF-8 whatever the locale."""
    cli("write", "account-1", "Opened", "-", stdin='{"name": "Zoë"}'.encode(), LC_ALL="C", PYTHONUTF8="0").ok()
    done = cli("read", "account-1", LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0", PYTHONIOENCODING="latin-1")
    assert _lines(done)[0]["data"] == {"name": "Zoë"}


def test_data_on_stdin_must_be_utf_8(cli: Cli) -> None:
    """Other bytes are refused as a message, and nothing is written."""
    assert_one_line(cli("write", "account-1", "Opened", "-", stdin=b'"\xff"'), 2, "INVALID_MESSAGE")
    assert cli("read", "account-1").ok().out == ""


def test_a_batch_is_written_under_one_expected_version(cli: Cli) -> None:
    """A batch takes one version for all its messages, and prints their positions."""
    batch = b'{"type":"A"}\n{"type":"B","data":{"x":1},"metadata":{"y":2}}\n'
    assert cli("write", "account-1", "--batch", "-", "--expected-version", "-1", stdin=batch).ok().out == "0\n1\n"
    assert_one_line(
        cli("write", "account-1", "--batch", "-", "--expected-version", "0", stdin=batch), 4, "WRONG_EXPECTED_VERSION"
    )
    first, second = _lines(cli("read", "account-1"))
    assert (first["type"], first["data"], second["data"], second["meta"]) == ("A", None, {"x": 1}, {"y": 2})


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b'{"type":"B"', "INVALID_JSON"),
        (b'{"data":{}}', "INVALID_RECORD"),
        (b'{"type":"B","extra":1}', "INVALID_RECORD"),
        (b'{"type":"B","data":"\xff"}', "INVALID_JSON"),
    ],
)
def test_a_batch_with_a_wrong_line_writes_nothing(cli: Cli, line: bytes, code: str) -> None:
    """All or none: a wrong line is named, and the lines before it aren't written."""
    assert_one_line(cli("write", "account-1", "--batch", "-", stdin=b'{"type":"A"}\n' + line), 1, code, "line 2")
    assert cli("read", "account-1").ok().out == ""


@pytest.mark.parametrize(
    ("arguments", "code", "part"),
    [
        (["account-1", "T", "{}", "--expected-version", "5"], 4, "WRONG_EXPECTED_VERSION"),
        (["account-1", "T", '{"a":'], 2, "INVALID_MESSAGE"),
        (["account-1", "T", '"\\u0000"'], 2, "INVALID_MESSAGE"),
        (["account-1", "T", "{}", "--id", "nope"], 2, "INVALID_MESSAGE"),
    ],
)
def test_a_refused_write_says_why(cli: Cli, arguments: list[str], code: int, part: str) -> None:
    """A conflict is exit code 4, a message that can't be one is 2."""
    assert_one_line(cli("write", *arguments), code, part)


def test_an_id_is_written_once(cli: Cli) -> None:
    """The second message with an id is a conflict."""
    id_ = str(uuid.uuid4())
    cli("write", "account-1", "T", "--id", id_).ok()
    assert_one_line(cli("write", "account-2", "T", "--id", id_), 4, "MESSAGE_EXISTS")


def test_reading_pages_through_more_than_a_page(cli: Cli, store: PostgresStore) -> None:
    """Streams, categories and all messages are read to their end, however many there are."""
    _fill(store, "account-1", 1500)
    _fill(store, "other-1", 700)
    _fill(store, "account-2", 600)
    assert _positions(cli("read", "account-1")) == [*range(1500)]
    assert _positions(cli("read", "--category", "account")) == [*range(1500), *range(600)]
    everything = _lines(cli("read", "--all"))
    assert len(everything) == 2800
    assert [line["gpos"] for line in everything] == sorted({line["gpos"] for line in everything})
    assert _positions(cli("read", "account-1", "--position", "1400", "--limit", "5")) == [*range(1400, 1405)]
    assert _positions(cli("read", "account-1", "--limit", "1200")) == [*range(1200)]
    assert cli("read", "account-1", "--limit", "0").ok().out == ""
    at = everything[1499]["gpos"]
    assert [line["gpos"] for line in _lines(cli("read", "--all", "--position", str(at), "--limit", "2"))] == [
        everything[1499]["gpos"],
        everything[1500]["gpos"],
    ]
    assert _positions(cli("read", "--category", "account", "--position", str(at), "--limit", "2")) == [1499, 0]


def test_the_last_message_of_a_stream_and_of_a_type(cli: Cli) -> None:
    """--last reads one message; with --type the last of that type; none is nothing, and success."""
    for type_ in ("Opened", "Deposited", "Closed"):
        cli("write", "account-1", type_).ok()
    assert [line["type"] for line in _lines(cli("read", "account-1", "--last"))] == ["Closed"]
    assert [line["pos"] for line in _lines(cli("read", "account-1", "--last", "--type", "Opened"))] == [0]
    assert cli("read", "account-1", "--last", "--type", "Nope").ok().out == ""
    assert cli("read", "nobody-1").ok().out == ""


def test_members_of_a_consumer_group_share_a_category(cli: Cli, store: PostgresStore) -> None:
    """Each stream is read by exactly one member."""
    for number in range(20):
        _fill(store, f"account-{number}", 2)
    shares = [
        {
            line["stream"]
            for line in _lines(
                cli("read", "--category", "account", "--consumer-group-member", str(n), "--consumer-group-size", "2")
            )
        }
        for n in range(2)
    ]
    assert all(shares)
    assert not shares[0] & shares[1]
    assert shares[0] | shares[1] == {f"account-{number}" for number in range(20)}
    done = cli("read", "--category", "account", "--consumer-group-member", "2", "--consumer-group-size", "2")
    assert_one_line(done, 2, "INVALID_CONSUMER_GROUP")


def test_a_correlation_filters_a_category(cli: Cli) -> None:
    """Only messages whose correlationStreamName is of the category that is asked for."""
    cli("write", "account-1", "A", "{}", "--metadata", '{"correlationStreamName":"order-7"}').ok()
    cli("write", "account-1", "B", "{}", "--metadata", '{"correlationStreamName":"other-7"}').ok()
    assert _positions(cli("read", "--category", "account", "--correlation", "order")) == [0]
    assert_one_line(cli("read", "--category", "account", "--correlation", "order-7"), 2, "INVALID_CORRELATION")


def test_a_condition_needs_the_servers_consent(cli: Cli, dsn: str, store: PostgresStore) -> None:
    """--condition filters where message_store.sql_condition is on, and is refused elsewhere."""
    _fill(store, "account-1", 4)
    assert_one_line(cli("read", "account-1", "--condition", "position = 2"), 2, "CONDITION_NOT_ACTIVATED")
    allowed = Cli(psycopg.conninfo.make_conninfo(dsn, options="-c message_store.sql_condition=on"), store.namespace)
    assert _positions(allowed("read", "account-1", "--condition", "position >= 2")) == [2, 3]
    assert_one_line(allowed("read", "account-1", "--condition", "no sql"), 2)


@pytest.mark.parametrize(
    ("arguments", "part"),
    [(["account"], "Must be a stream name: account"), (["--category", "a-1"], "Must be a category: a-1")],
)
def test_streams_and_categories_are_not_mixed_up(cli: Cli, arguments: list[str], part: str) -> None:
    """The errors are Message DB's."""
    assert_one_line(cli("read", *arguments), 2, part)


def test_a_reader_that_has_seen_enough_ends_the_command_quietly(cli: Cli, store: PostgresStore) -> None:
    """`evtool read … | head -1` prints a line and no complaint."""
    _fill(store, "account-1", 3000)
    process = cli.start("read", "--all")
    assert process.stdout and process.stderr and process.stdin
    process.stdin.close()
    assert json.loads(process.stdout.readline())["pos"] == 0
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() in {0, 1}
