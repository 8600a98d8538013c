"""Namespaces that a release made before imports were kept on record: they are brought up with what they hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

import evtool
from evtool import migrating
from evtool.errors import MigrationFailed
from evtool.testing.contract.helping import everything, file_of, record, records


@pytest.fixture
def old_dsn(older_release: Any, empty_dsn: str) -> str:
    """A database with two namespaces of the first structure, and a message in one of them."""
    steps = older_release.migrate(empty_dsn).splitlines()
    assert steps == ["None created 0001", "message_store created 0001"]
    older_release.python(
        "import sys, evtool\n"
        "store = evtool.connect(sys.argv[1])\n"
        "store.create_namespace('orders')\n"
        "store.in_namespace('orders').write_message(None, 'a-1', 'T', {'n': 1})",
        empty_dsn,
    )
    return empty_dsn


def test_an_upgraded_namespace_is_a_fresh_one(old_dsn: str, make_database: Callable[..., str], dump: Any) -> None:
    """Tables, indexes, options, comments and grants are the same, and the messages are there."""
    fresh = make_database()
    with evtool.connect(fresh) as store:
        store.migrate()
        store.create_namespace("orders")
    with evtool.connect(old_dsn, "orders") as store:
        assert [(step.action, step.structure) for step in store.migrate()[1:]] == [("upgraded", "0002")] * 2
        assert len(everything(store)) == 1
    for schema in ("evtool", "message_store", "orders"):
        assert dump(old_dsn, schema) == dump(fresh, schema)


def test_the_printed_upgrade_makes_the_same(
    old_dsn: str, make_database: Callable[..., str], psql: Any, dump: Any
) -> None:
    """`migrate --sql`, run by psql, brings every namespace up."""
    psql(old_dsn, migrating.script(old_dsn))
    fresh = make_database()
    with evtool.connect(fresh) as store:
        store.migrate()
    assert dump(old_dsn, "message_store") == dump(fresh, "message_store")
    with evtool.connect(old_dsn) as store:
        assert {step.action for step in store.migrate()} == {"current"}


def test_an_upgraded_namespace_exports_and_imports(old_dsn: str) -> None:
    """What was there is exported, imports are on record from then on, and readers may see that record."""
    with evtool.connect(old_dsn, "orders") as store:
        store.migrate()
        assert store.import_records() == []
        assert store.import_batch([record(10)]).imported == 1
        file = file_of(store)
        store.create_namespace("again")
        with store.in_namespace("again") as again:
            assert again.import_batch(records(file)).imported == 2
            assert file_of(again) == file
        assert [one.last_line for one in store.import_records()] == [1]
    with psycopg.connect(old_dsn, options="-c role=orders_reader") as reader:
        assert reader.execute("SELECT count(*) FROM orders.imports").fetchone() == (1,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            reader.execute("DELETE FROM orders.imports")


def test_before_it_is_upgraded_an_import_says_what_to_do(old_dsn: str) -> None:
    """Nothing is imported into a structure that has no place for the record; the hint names the next step."""
    with evtool.connect(old_dsn, "orders") as store:
        with pytest.raises(MigrationFailed) as caught:
            store.import_batch([record(10)])
        assert "evtool migrate" in (caught.value.hint or "")
        store.migrate()
        assert len(everything(store)) == 1
