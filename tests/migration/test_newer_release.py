"""From this release to the next: a copy of evtool with one more migration upgrades what this one made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

import evtool
from evtool.errors import DatabaseTooNew


@pytest.fixture
def old_dsn(empty_dsn: str) -> str:
    """A database that this release migrated, with a message in each of two namespaces."""
    with evtool.connect(empty_dsn) as store:
        store.migrate()
        store.create_namespace("orders")
        for name in ("message_store", "orders"):
            store.in_namespace(name).write_message(None, "a-1", "T", {})
    return empty_dsn


def test_an_upgrade_is_pending_and_then_done(newer_release: Any, old_dsn: str, admin: psycopg.Connection) -> None:
    """The newer release sees what is pending, brings each namespace up with its messages, and then does nothing."""
    assert newer_release.status(old_dsn).splitlines() == [
        "None 0001 [] current",
        "message_store 0002 ['0003'] outdated",
        "orders 0002 ['0003'] outdated",
    ]
    assert newer_release.migrate(old_dsn).splitlines() == [
        "None current 0001",
        "message_store upgraded 0003",
        "orders upgraded 0003",
    ]
    assert newer_release.migrate(old_dsn).splitlines() == [
        "None current 0001",
        "message_store current 0003",
        "orders current 0003",
    ]
    assert admin.execute("SELECT stream_name, note FROM orders.messages").fetchall() == [("a-1", "50 % :x a[1:2]")]
    assert admin.execute("SELECT orders.message_store_version()").fetchone() == ("1.4.0",)


@pytest.mark.thorough
def test_an_upgraded_namespace_is_a_fresh_one(
    newer_release: Any, old_dsn: str, make_database: Callable[..., str], dump: Any
) -> None:
    """Tables, functions and grants are the same whether a namespace was upgraded or made by the newer release."""
    newer_release.migrate(old_dsn)
    fresh = make_database()
    newer_release.migrate(fresh)
    newer_release.python("import sys, evtool\nevtool.connect(sys.argv[1]).create_namespace('orders')", fresh)
    for schema in ("evtool", "message_store", "orders"):
        assert dump(old_dsn, schema) == dump(fresh, schema)


@pytest.mark.thorough
def test_the_printed_upgrade_does_the_same(
    newer_release: Any, old_dsn: str, make_database: Callable[..., str], dump: Any, psql: Any
) -> None:
    """`migrate --sql` of the newer release, run by psql, upgrades every namespace."""
    code = "import sys\nfrom evtool import migrating\nprint(migrating.script(sys.argv[1]))"
    psql(old_dsn, newer_release.python(code, old_dsn))
    assert [line.split()[-1] for line in newer_release.status(old_dsn).splitlines()] == ["current"] * 3
    fresh = make_database()
    newer_release.migrate(fresh)
    assert dump(old_dsn, "message_store") == dump(fresh, "message_store")


def test_this_release_then_keeps_its_hands_off(newer_release: Any, old_dsn: str, dump: Any) -> None:
    """What the newer release has upgraded, this one refuses to migrate, and can still read and write."""
    newer_release.migrate(old_dsn)
    before = dump(old_dsn, "orders")
    with evtool.connect(old_dsn, "orders") as store:
        with pytest.raises(DatabaseTooNew):
            store.migrate()
        assert "0003" in (store.migration_status()[2].note or "")
        assert store.write_message(None, "a-1", "T", {}) == 1
    assert dump(old_dsn, "orders") == before


def test_install_sql_of_the_newer_release_leaves_upgrading_to_migrate(
    newer_release: Any, old_dsn: str, dump: Any, psql: Any
) -> None:
    """Psql's way is for fresh namespaces and for functions: an older structure is refused and stays as it is."""
    before = dump(old_dsn, "orders")
    install = newer_release.folder / "sql" / "namespace" / "install.sql"
    done = psql(old_dsn, file=install, ns="orders", fails=True)
    assert "has structure 0002, and these functions need 0003" in done.stderr
    assert dump(old_dsn, "orders") == before


def test_a_migration_that_fails_leaves_its_namespace_as_it_was(
    make_release: Callable[[], Any], old_dsn: str, dump: Any, admin: psycopg.Connection
) -> None:
    """A namespace's migration is one transaction: the ones before it stay upgraded, the failing one stays old."""
    release = make_release()
    release.add(
        "alembic/namespace/versions/0003_unique.py",
        '"""A migration that some data refuses."""\n'
        "from evtool.stores.postgres.structure import execute\n"
        'revision = "0003"\ndown_revision = "0002"\nbranch_labels = None\ndepends_on = None\n'
        'def upgrade():\n    execute("CREATE INDEX messages_type ON messages (type)")\n'
        '    execute("CREATE UNIQUE INDEX messages_once ON messages (stream_name)")\n'
        'def downgrade():\n    execute("DROP INDEX messages_once")\n',
    )
    release.generate()
    with evtool.connect(old_dsn, "orders") as store:
        store.write_message(None, "a-1", "T", {})
    before = dump(old_dsn, "orders")
    assert "messages_once" in release.migrate(old_dsn, fails=True)
    assert dump(old_dsn, "orders") == before
    versions = "SELECT m.version_num, o.version_num FROM message_store.evtool_version AS m, orders.evtool_version AS o"
    assert admin.execute(versions).fetchone() == ("0003", "0002")
    admin.execute("DELETE FROM orders.messages WHERE position = 1")
    assert release.migrate(old_dsn).splitlines()[1:] == ["message_store current 0003", "orders upgraded 0003"]
