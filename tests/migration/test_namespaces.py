"""Namespaces by name: each works or is refused with its reason, and nothing is shared or overwritten."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from psycopg import sql

from evtool.errors import NamespaceExists, NamespaceNotFound, NamespaceRefused
from evtool.stores.postgres import PostgresStore


@pytest.fixture
def admin(dsn: str) -> Any:
    """A superuser's session in autocommit on the shared database."""
    with psycopg.connect(dsn, autocommit=True) as session:
        yield session


@pytest.mark.parametrize(
    ("name", "schema"),
    [
        ("my-app", "my_app"),
        ("Shop", "shop"),
        ("two words", "two_words"),
        ('a "quoted" one', "a_quoted_one"),
        ("it's", "it_s"),
        ("back\\slash", "back_slash"),
        ("select", "select"),
        ("user", "user"),
        ("table", "table"),
        ("Straße", "straße"),
        ("日本", "日本"),
        ("1st", "1st"),
        ("x" * 63, "x" * 63),
        ("é" * 31, "é" * 31),
        ("pg", "pg"),
        ("%s {} :x $1", "_s_x_1"),
        ("; DROP SCHEMA evtool CASCADE; --", "_drop_schema_evtool_cascade_"),
    ],
)
def test_any_usable_name_works(shared_store: PostgresStore, name: str, schema: str) -> None:
    """A namespace has the name that it was given, a schema made of it, and takes messages; then it is gone."""
    made = shared_store.create_namespace(name)
    assert (made.name, made.schema) == (name, schema)
    assert shared_store.get_namespace(name) == made
    assert made in shared_store.list_namespaces()
    inside = shared_store.in_namespace(name)
    assert inside.write_message(None, "a-1", "T", {}) == 0
    assert len(inside.get_all_messages()) == 1
    shared_store.delete_namespace(name)
    with pytest.raises(NamespaceNotFound):
        shared_store.get_namespace(name)
    with pytest.raises(NamespaceNotFound):
        inside.stream_version("a-1")


@pytest.mark.parametrize(
    ("name", "schema", "reason"),
    [
        ("", None, "needs a name"),
        ("  ", None, "needs a name"),
        ("a\nb", None, "control characters"),
        ("a\0b", None, "control characters"),
        ("x" * 64, None, "64 bytes"),
        ("é" * 32, None, "64 bytes"),
        ("pg_catalog", None, "reserved"),
        ("PG-stat", None, "reserved"),
        ("public", None, "reserved"),
        ("evtool", None, "reserved"),
        ("information schema", None, "reserved"),
        ("fine", "", "without NUL"),
        ("fine", "a\0b", "without NUL"),
        ("fine", "x" * 64, "64 bytes"),
        ("fine", "pg_toast", "reserved"),
        ("fine", "evtool", "reserved"),
    ],
)
def test_an_unusable_name_is_refused_with_its_reason(
    shared_store: PostgresStore, admin: psycopg.Connection, name: str, schema: str | None, reason: str
) -> None:
    """Before anything is made, the error says what is wrong and what to do."""
    schemas = "SELECT count(*) FROM pg_namespace"
    before = admin.execute(schemas).fetchone()
    with pytest.raises(NamespaceRefused, match=reason) as caught:
        shared_store.create_namespace(name, schema)
    assert caught.value.hint
    assert admin.execute(schemas).fetchone() == before


def test_the_schema_can_be_named(shared_store: PostgresStore) -> None:
    """A schema given beside the name is taken letter by letter."""
    made = shared_store.create_namespace("named", 'Some "Schema" of - Mine')
    assert made.schema == 'Some "Schema" of - Mine'
    assert shared_store.in_namespace("named").write_message(None, "a-1", "T", {}) == 0
    shared_store.delete_namespace("named")


def test_a_name_is_given_once(shared_store: PostgresStore) -> None:
    """Making a namespace again is NamespaceExists, with whatever schema, and the messages stay."""
    shared_store.create_namespace("once")
    shared_store.in_namespace("once").write_message(None, "a-1", "T", {})
    for schema in (None, "once", "another"):
        with pytest.raises(NamespaceExists):
            shared_store.create_namespace("once", schema)
    assert shared_store.in_namespace("once").stream_version("a-1") == 0


def test_two_names_never_share_a_schema(shared_store: PostgresStore) -> None:
    """my-shop and my_shop would both be my_shop: the second is refused, and may name another schema."""
    first = shared_store.create_namespace("my-shop")
    for name in ("my_shop", "My Shop", "my--shop"):
        with pytest.raises(NamespaceRefused, match="belongs to the namespace 'my-shop'") as caught:
            shared_store.create_namespace(name)
        assert "--schema" in (caught.value.hint or "")
    second = shared_store.create_namespace("my_shop", "my_second_shop")
    assert {first.schema, second.schema} == {"my_shop", "my_second_shop"}
    shared_store.in_namespace("my-shop").write_message(None, "a-1", "T", {})
    assert shared_store.in_namespace("my_shop").stream_version("a-1") is None


def test_a_schema_that_is_not_ours_is_left_alone(shared_store: PostgresStore, admin: psycopg.Connection) -> None:
    """A schema that exists is refused, with all that is in it untouched."""
    admin.execute("CREATE SCHEMA theirs")
    admin.execute("CREATE TABLE theirs.messages (x int)")
    with pytest.raises(NamespaceRefused, match="exists and is not a namespace") as caught:
        shared_store.create_namespace("theirs")
    assert "--schema" in (caught.value.hint or "")
    assert admin.execute("SELECT count(*) FROM theirs.messages").fetchone() == (0,)
    with pytest.raises(NamespaceNotFound):
        shared_store.get_namespace("theirs")


def test_deleting_leaves_nothing(shared_store: PostgresStore, admin: psycopg.Connection) -> None:
    """The schema, both entries in the registry and both roles go."""
    shared_store.create_namespace("passing", "Passing By")
    shared_store.delete_namespace("passing")
    for query in (
        "SELECT count(*) FROM pg_namespace WHERE nspname = 'Passing By'",
        "SELECT count(*) FROM evtool.namespaces WHERE name = 'passing'",
        "SELECT count(*) FROM evtool.behaviours WHERE schema_name = 'Passing By'",
        "SELECT count(*) FROM pg_roles WHERE rolname LIKE 'Passing By%'",
    ):
        assert admin.execute(query).fetchone() == (0,)
    assert shared_store.create_namespace("passing", "Passing By").schema == "Passing By"


def test_deleting_what_is_not_there_says_so(shared_store: PostgresStore) -> None:
    """A name that no namespace has is NamespaceNotFound."""
    with pytest.raises(NamespaceNotFound, match="nobody") as caught:
        shared_store.delete_namespace("nobody")
    assert caught.value.hint


def test_a_namespace_whose_schema_is_gone_can_be_deleted(
    shared_store: PostgresStore, admin: psycopg.Connection
) -> None:
    """What status advises for a dropped schema works, and the name is free again."""
    shared_store.create_namespace("lost")
    admin.execute("DROP SCHEMA lost CASCADE")
    shared_store.delete_namespace("lost")
    assert shared_store.create_namespace("lost").schema == "lost"
    shared_store.delete_namespace("lost")


def test_a_role_that_can_log_in_is_never_made_a_group(shared_store: PostgresStore, admin: psycopg.Connection) -> None:
    """A person who is called like the group would be is not given the namespace's privileges."""
    admin.execute("CREATE ROLE person_reader LOGIN")
    with pytest.raises(NamespaceRefused, match="person_reader"):
        shared_store.create_namespace("person")
    assert admin.execute("SELECT to_regnamespace('person')").fetchone() == (None,)


def test_namespaces_do_not_see_each_other(shared_store: PostgresStore, admin: psycopg.Connection) -> None:
    """Messages, positions and writers of one namespace are nothing to another."""
    for name in ("left", "right"):
        shared_store.create_namespace(name)
    shared_store.in_namespace("left").write_message(None, "a-1", "T", {})
    right = shared_store.in_namespace("right")
    assert right.write_message(None, "a-1", "T", {}, expected_version=-1) == 0
    assert [message.global_position for message in right.get_all_messages()] == [1]
    query = (
        "SELECT pg_has_role('left_writer', 'right_writer', 'USAGE'), has_schema_privilege('left_writer', %s, 'USAGE')"
    )
    assert admin.execute(query, ("right",)).fetchone() == (False, False)
    assert admin.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier("left", "messages"))).fetchone() == (
        1,
    )
