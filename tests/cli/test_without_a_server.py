"""The commands that every store has, one after the other, without a server: nothing but the DSN differs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.running import Cli

ID = "0f8fad5b-d9cb-469f-a165-70867728950e"


@pytest.mark.parametrize("store", ["sqlite", "lmdb"])
def test_a_journey_needs_no_server(store: str, tmp_path: Path) -> None:
    """From `migrate` to `ns delete`, what is printed and the exit codes are those that PostgreSQL has."""
    dsn = f"{store}://{tmp_path}/store"
    orders, debug = Cli(dsn, "orders"), Cli(dsn, "debug")
    file = tmp_path / "slice.ndjson.gz"

    assert 'namespace "message_store": created' in orders("migrate").ok().out
    assert "Nothing to do" in orders("migrate").ok().out
    for name in ("orders", "debug"):
        assert orders("ns", "create", name).ok().out == f'namespace "{name}": created (schema {name})\n'

    placed = '{"total": 12345678901234567890.10}'
    assert orders("write", "order-1", "Placed", placed, "--id", ID).ok().out == "0\n"
    assert orders("write", "order-1", "Paid", "{}", "--expected-version", "0").ok().out == "1\n"
    conflict = orders("write", "order-1", "Paid", "{}", "--expected-version", "0")
    assert (conflict.code, conflict.out) == (4, "")
    assert "Wrong expected version: 0 (Stream: order-1, Stream Version: 1)" in conflict.err

    lines = orders("read", "order-1").ok().out.splitlines()
    assert "12345678901234567890.10" in lines[0]
    assert [(json.loads(line)["type"], json.loads(line)["pos"]) for line in lines] == [("Placed", 0), ("Paid", 1)]
    assert orders("read", "--category", "order").ok().out.splitlines() == lines

    orders("export", "--categories", "order", "-o", file).ok()
    assert debug("import", "-i", file).ok().out == ""
    assert debug("import", "-i", file).code == 4
    assert debug("read", "--all").ok().out.splitlines() == lines
    assert orders("ns", "delete", "debug", "--yes").code == 0
    gone = debug("streams")
    assert (gone.code, gone.out) == (1, "")
    assert "NAMESPACE_NOT_FOUND" in gone.err
