"""evtool.grant_registry: groups find a namespace's schema through one role, however many they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
from psycopg import sql

from evtool.stores.postgres import PostgresStore

GRANT = "SELECT evtool.grant_registry(%s)"
LOOK = "SELECT count(*) > 0 FROM evtool.namespaces"


def test_its_members_look_up_namespaces_and_nothing_else(
    connection: psycopg.Connection, one: Callable[..., Any], refused: Callable[..., Any], namespace: str
) -> None:
    """A group may read evtool.namespaces, and no more of the registry."""
    role = f"{namespace}_group"
    connection.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(role)))
    one(connection, GRANT, role)
    connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))
    assert one(connection, LOOK) is True
    assert refused(connection, "SELECT * FROM evtool.behaviours").sqlstate == "42501"
    assert refused(connection, "UPDATE evtool.namespaces SET name = 'x'").sqlstate == "42501"
    connection.execute("RESET ROLE")


def test_a_lost_privilege_comes_back(connection: psycopg.Connection, one: Callable[..., Any], namespace: str) -> None:
    """What was revoked from the role is granted again, and a second call changes nothing."""
    with connection.transaction(force_rollback=True):
        connection.execute("REVOKE SELECT ON evtool.namespaces FROM evtool_reader")
        connection.execute("REVOKE USAGE ON SCHEMA evtool FROM evtool_reader")
        for _ in range(2):
            one(connection, GRANT, f"{namespace}_reader")
        connection.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(f"{namespace}_reader")))
        assert one(connection, LOOK) is True


def test_privileges_do_not_grow_with_namespaces(
    connection: psycopg.Connection, one: Callable[..., Any], shared_store: PostgresStore, namespace: str
) -> None:
    """One more namespace adds nothing to the privileges of the registry, which have no room for a thousand."""
    acl = "SELECT relacl::text FROM pg_class WHERE oid = 'evtool.namespaces'::regclass"
    before = one(connection, acl)
    shared_store.create_namespace(f"{namespace}_more")
    assert one(connection, acl) == before
    assert "evtool_reader=r" in before


def test_whoever_may_not_grant_is_told_what_is_missing(
    connection: psycopg.Connection, namespace: str, notices: Any
) -> None:
    """A caller without the right gets a NOTICE, and the group looks nothing up."""
    guest, role = f"{namespace}_guest", f"{namespace}_group"
    for statement in (
        "CREATE ROLE {guest}",
        "CREATE ROLE {role}",
        "GRANT USAGE ON SCHEMA evtool TO {guest}",
        "GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA evtool TO {guest}",
        "SET ROLE {guest}",
    ):
        connection.execute(sql.SQL(statement).format(guest=sql.Identifier(guest), role=sql.Identifier(role)))
    with notices(connection) as heard:
        connection.execute(GRANT, (role,))
    connection.execute("RESET ROLE")
    connection.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(guest)))
    assert heard == [f"Not allowed to let {role} look up namespaces: evtool does not find the schema for its members"]
