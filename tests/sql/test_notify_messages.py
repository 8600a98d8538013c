"""notify_messages: writers wake up who listens, where a trigger was made of it, and pay nothing where not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from evtool.imports import ImportPlan
from evtool.model import MigrationPlan
from evtool.stores.postgres import PostgresStore
from evtool.testing.contract.helping import append, record


def _heard(listener: psycopg.Connection) -> list[tuple[str, str]]:
    """What has been heard so far: notifications come with the answer to whatever is asked next."""
    listener.execute("SELECT 1")
    return [(one.channel, one.payload) for one in listener.notifies(timeout=0)]


@pytest.fixture
def listener(open_session: Callable[..., psycopg.Connection], namespace: str) -> psycopg.Connection:
    """A session that listens to the namespace."""
    session = open_session()
    session.execute(f"LISTEN {namespace}")
    return session


def test_a_fresh_namespace_has_no_trigger_and_notifies_nobody(
    store: PostgresStore, connection: psycopg.Connection, listener: psycopg.Connection
) -> None:
    """Off is nothing at all: no trigger that a write could pay for."""
    append(store, "a-1", 3)
    assert _heard(listener) == []
    triggers = "SELECT tgname FROM pg_trigger WHERE tgrelid = 'messages'::regclass"
    assert connection.execute(triggers).fetchall() == []


def test_every_transaction_that_writes_notifies_once(
    store: PostgresStore, connection: psycopg.Connection, listener: psycopg.Connection, namespace: str
) -> None:
    """By write_message, write_messages or an import: one empty notification, at the commit, on the schema's channel."""
    assert store.administration().notify(namespace, on=True) is True
    assert store.administration().notifies(namespace) is True
    with connection.transaction():
        for _ in range(3):
            connection.execute("SELECT write_message(gen_random_uuid()::varchar, 'a-1', 'T', '{}')")
        assert _heard(listener) == []
    assert _heard(listener) == [(namespace, "")]
    append(store, "a-1", 5)
    assert _heard(listener) == [(namespace, "")]
    store.import_batch([record(100 + number, "b-1", number) for number in range(5)])
    assert _heard(listener) == [(namespace, "")]
    store.import_batch([record(9)], ImportPlan(replace=True))
    assert _heard(listener) == [(namespace, "")]
    with connection.transaction(force_rollback=True):
        connection.execute("SELECT write_message(gen_random_uuid()::varchar, 'a-1', 'T', '{}')")
    assert _heard(listener) == []


def test_switched_off_again_it_is_as_before(
    store: PostgresStore, connection: psycopg.Connection, listener: psycopg.Connection, namespace: str
) -> None:
    """The trigger is gone; and doing again what is done says so."""
    administration = store.administration()
    for on in (True, False):
        assert [administration.notify(namespace, on=on) for _ in range(2)] == [True, False]
    append(store, "a-1")
    assert _heard(listener) == []
    triggers = "SELECT count(*) FROM pg_trigger WHERE tgrelid = 'messages'::regclass"
    assert connection.execute(triggers).fetchone() == (0,)


def test_a_trigger_that_was_disabled_is_neither_on_nor_off(
    store: PostgresStore, connection: psycopg.Connection, listener: psycopg.Connection, namespace: str
) -> None:
    """Nobody is notified by it: switching on enables it, switching off removes it."""
    administration = store.administration()
    administration.notify(namespace, on=True)
    for on in (True, False):
        connection.execute("ALTER TABLE messages DISABLE TRIGGER messages_notify")
        assert administration.notifies(namespace) is False
        assert administration.notify(namespace, on=on) is True
        append(store, "a-1")
        assert _heard(listener) == ([(namespace, "")] if on else [])


def test_it_is_a_writers_transaction_that_notifies_and_not_its_rights(
    store: PostgresStore, open_session: Callable[..., psycopg.Connection], listener: psycopg.Connection, namespace: str
) -> None:
    """A writer without a right on the table notifies like the owner; nobody can call the function by hand."""
    store.administration().notify(namespace, on=True)
    writer = open_session()
    writer.execute(f"SET ROLE {namespace}_writer")
    writer.execute("SELECT write_message(gen_random_uuid()::varchar, 'a-1', 'T', '{}')")
    assert _heard(listener) == [(namespace, "")]
    with pytest.raises(psycopg.errors.FeatureNotSupported):
        writer.execute("SELECT notify_messages()")
    writer.execute("RESET ROLE")


def test_new_functions_leave_it_switched_on(
    store: PostgresStore, connection: psycopg.Connection, listener: psycopg.Connection, namespace: str
) -> None:
    """A migration that replaces the functions keeps the trigger, and the doctor takes it for ours."""
    store.administration().notify(namespace, on=True)
    connection.execute("UPDATE evtool.behaviours SET checksum = 'old' WHERE schema_name = %s", (namespace,))
    steps = store.administration().migrate(MigrationPlan((namespace,)))
    assert (namespace, "functions replaced") in [(step.name, step.action) for step in steps]
    append(store, "a-1")
    assert _heard(listener) == [(namespace, "")]
    assert _codes(store, namespace) == set()
    connection.execute("DROP TRIGGER messages_notify ON messages")
    connection.execute(
        "CREATE TRIGGER messages_notify AFTER INSERT ON messages FOR EACH ROW EXECUTE FUNCTION notify_messages()"
    )
    assert _codes(store, namespace) == {"foreign-trigger"}


def _codes(store: PostgresStore, namespace: str) -> set[str]:
    from evtool.diagnosing import examine

    return {one.code for one in examine(store, namespace).findings if one.namespace == namespace}


@pytest.mark.parametrize("schema", ["we\"ird's $1 %s", "x" * 63, "SELECT", "ü" * 31])
def test_any_schema_has_a_channel_of_its_name(store: PostgresStore, schema: str, dsn: str) -> None:
    """A name with quotes, of the greatest length, of a keyword or of other letters."""
    from psycopg import sql

    made = store.create_namespace(f"channel {schema}", schema)
    try:
        with psycopg.connect(dsn, autocommit=True) as listener:
            listener.execute(sql.SQL("LISTEN {}").format(sql.Identifier(schema)))
            store.administration().notify(made.name, on=True)
            append(store.in_namespace(made.name), "a-1")
            assert _heard(listener) == [(schema, "")]
            assert store.administration().notify(made.name, on=False) is True
    finally:
        store.delete_namespace(made.name)


def test_it_takes_the_owner(
    open_session: Callable[..., psycopg.Connection], refused: Callable[..., Any], namespace: str
) -> None:
    """A writer can neither make the trigger nor drop it."""
    session = open_session()
    session.execute(f"SET ROLE {namespace}_writer")
    create = "CREATE TRIGGER messages_notify AFTER INSERT ON messages EXECUTE FUNCTION notify_messages()"
    assert refused(session, create).sqlstate == "42501"
    session.execute("RESET ROLE")
    session.execute(create)
    session.execute(f"SET ROLE {namespace}_writer")
    assert refused(session, "DROP TRIGGER messages_notify ON messages").sqlstate == "42501"
    session.execute("RESET ROLE")
