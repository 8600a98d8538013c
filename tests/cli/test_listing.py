"""`evtool streams`, `categories` and `stats`, on every store."""

from __future__ import annotations

import json
import re
from pathlib import Path

import psycopg
import pytest

import evtool
import evtool.store
from tests.cli.running import Cli


@pytest.fixture(params=["postgres", "sqlite", "lmdb"])
def address(request: pytest.FixtureRequest, empty_dsn: str, tmp_path: Path) -> str:
    """A migrated store with three messages in two categories."""
    made = {"postgres": empty_dsn, "sqlite": f"sqlite://{tmp_path}/s", "lmdb": f"lmdb://{tmp_path}/l"}[request.param]
    with evtool.connect(made) as store:
        store.migrate()
        for stream in ("account-1", "account-1", "order-2"):
            store.write_message(None, stream, "T", None)
    return made


def test_streams_are_listed_with_their_versions(address: str) -> None:
    """A line a stream, in the order of names, by prefix, behind a name, and up to a limit."""
    assert Cli(address)("streams").ok().out == "account-1\t1\norder-2\t0\n"
    assert Cli(address)("streams", "order-").ok().out == "order-2\t0\n"
    assert Cli(address)("streams", "--after", "account-1").ok().out == "order-2\t0\n"
    assert Cli(address)("streams", "--limit", "1").ok().out == "account-1\t1\n"
    assert json.loads(Cli(address)("streams", "--limit", "1", "--json").ok().out) == [
        {"stream_name": "account-1", "version": 1}
    ]


def test_categories_are_listed_with_their_counts(address: str) -> None:
    """Each category with its streams and messages."""
    assert json.loads(Cli(address)("categories", "--json").ok().out) == [
        {"category": "account", "streams": 1, "messages": 2},
        {"category": "order", "streams": 1, "messages": 1},
    ]
    assert Cli(address)("categories").ok().out.split() == [
        *("CATEGORY", "STREAMS", "MESSAGES"),
        *("account", "1", "2"),
        *("order", "1", "1"),
    ]


def test_stats_count_what_is_there(address: str) -> None:
    """stats counts messages, streams and categories, and says where the positions begin and end."""
    facts = json.loads(Cli(address)("stats", "--json").ok().out)
    counts = {key: facts[key] for key in ("messages", "streams", "categories", "first_position", "last_position")}
    assert counts == {"messages": 3, "streams": 2, "categories": 2, "first_position": 1, "last_position": 3}
    assert "messages:       3" in Cli(address)("stats").ok().out


def test_stats_tell_categories_types_streams_sizes_and_when(address: str) -> None:
    """As tables for people, the rows that --top leaves out added up; as JSON all of it."""
    facts = json.loads(Cli(address)("stats", "--json", "--top", "1", "--per", "year").ok().out)
    assert facts["by_category"] == [
        {"category": "account", "messages": 2, "bytes": 0},
        {"category": "order", "messages": 1, "bytes": 0},
    ]
    assert facts["by_type"] == [{"type": "T", "messages": 3, "bytes": 0}]
    assert facts["longest_streams"] == [{"stream_name": "account-1", "version": 1}]
    assert (facts["types"], facts["bytes"], facts["per"]) == (1, 0, "year")
    assert facts["disk"] > (facts["indexes"] or 0)
    assert [one["messages"] for one in facts["rate"]] == [3]
    shown = [line.split() for line in Cli(address)("stats", "--top", "1", "--per", "year").ok().out.splitlines()]
    for row in (
        ["CATEGORY", "MESSAGES", "BYTES"],
        ["account", "2", "0"],
        ["(1", "more)", "1", "0"],
        ["TYPE", "MESSAGES", "BYTES"],
        ["T", "3", "0"],
        ["STREAM", "VERSION"],
        ["account-1", "1"],
        ["YEAR", "FROM", "MESSAGES", "BYTES"],
        [facts["rate"][0]["from"], "3", "0", "#" * 40],
    ):
        assert row in shown


def test_stats_of_nothing_are_no_tables(address: str) -> None:
    """An empty namespace has numbers only."""
    Cli(address)("ns", "create", "empty").ok()
    out = Cli(address, "empty")("stats").ok().out
    assert "messages:" in out
    assert "CATEGORY" not in out
    assert json.loads(Cli(address, "empty")("stats", "--json").ok().out)["rate"] == []


def test_a_name_does_not_break_a_table(address: str) -> None:
    """Line breaks and control characters of a name are shown escaped; no name at all as quotes."""
    with evtool.connect(address) as store:
        store.write_message(None, "", "line\nbreak\x1b[31m", None)
    lines = Cli(address)("stats").ok().out.splitlines()
    assert any(line.startswith("''  ") for line in lines)
    assert any(line.startswith("line\\nbreak\\x1b[31m  ") for line in lines)


def test_stats_do_not_wait_for_a_writer(cli: Cli, dsn: str, namespace: str) -> None:
    """They tell what is committed now; a transaction that is open for hours is no reason to fail."""
    cli("write", "account-1", "T").ok()
    with psycopg.connect(dsn) as writer:
        writer.execute(f"SELECT {namespace}.write_message(gen_random_uuid()::varchar, 'slow-1', 'T', '1')")
        done = cli("stats", "--json", PGOPTIONS="-c message_store.watermark_timeout=1ms").ok()
    facts = json.loads(done.out)
    assert (facts["messages"], facts["first_position"], facts["last_position"]) == (1, 1, 1)


def test_stats_are_told_whatever_data_holds(address: str) -> None:
    """A number too long for Python, too."""
    Cli(address)("write", "account-2", "T", "-", stdin=b"7" * 5000).ok()
    Cli(address)("ns", "create", "long").ok()
    Cli(address, "long")("write", "account-2", "T", "-", stdin=b"7" * 5000).ok()
    assert json.loads(Cli(address, "long")("stats", "--json").ok().out)["first_position"] == 1


def test_moments_are_written_as_in_an_export(address: str) -> None:
    """Always six digits and a Z, in JSON as for people."""
    [message] = [json.loads(line) for line in Cli(address)("read", "--all", "--limit", "1").ok().out.splitlines()]
    assert json.loads(Cli(address)("stats", "--json").ok().out)["first_time"] == message["time"]
    assert f"first time:     {message['time']}\n" in Cli(address)("stats").ok().out
    (made, *_) = json.loads(Cli(address)("ns", "list", "--json").ok().out)
    shown = json.loads(Cli(address)("ns", "show", made["name"], "--json").ok().out)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", made["created_at"])
    assert shown["created_at"] == made["created_at"]
    assert f"created_at: {made['created_at']}\n" in Cli(address)("ns", "show", made["name"]).ok().out


def test_sql_is_refused_by_stores_that_have_none(address: str) -> None:
    """--sql prints where the store is migrated by SQL, and says that it isn't where not."""
    with evtool.connect(address) as store:
        able = evtool.store.Ability.SQL_SCRIPTS in store.abilities
    done = Cli(address)("migrate", "--sql")
    assert done.code == (0 if able else 2)
    assert able or "NOT_ABLE" in done.err
