"""evtool.revoke_direct_writes: nobody but the owner writes around the functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
from psycopg import sql

REVOKE = "SELECT evtool.revoke_direct_writes(%s)"


def test_inserts_and_the_sequence_are_taken_back(
    connection: psycopg.Connection, one: Callable[..., Any], namespace: str, notices: Any
) -> None:
    """INSERT and the sequence go, reading stays, and what is a DBA's own choice stays and is told."""
    role = f'{namespace}\'s "client"'
    client = sql.Identifier(role)
    connection.execute(sql.SQL("CREATE ROLE {}").format(client))
    for grant in (
        "SELECT, INSERT, DELETE ON messages",
        "USAGE, SELECT, UPDATE ON SEQUENCE messages_global_position_seq",
    ):
        connection.execute(sql.SQL(f"GRANT {grant} TO {{}}").format(client))
    with notices(connection) as heard:
        assert [one(connection, REVOKE, namespace) for _ in range(2)] == [True, False]
    quoted = client.as_string(connection)
    assert heard == [f"The role {quoted} keeps DELETE on {namespace}.messages, which goes around the functions"] * 2
    for privilege, has in (("SELECT", True), ("INSERT", False), ("DELETE", True)):
        assert one(connection, "SELECT has_table_privilege(%s, 'messages', %s)", role, privilege) is has
    for privilege, has in (("SELECT", True), ("USAGE", False), ("UPDATE", False)):
        query = "SELECT has_sequence_privilege(%s, 'messages_global_position_seq', %s)"
        assert one(connection, query, role, privilege) is has


def test_where_nobody_has_any_it_does_nothing(
    connection: psycopg.Connection, one: Callable[..., Any], namespace: str
) -> None:
    """A namespace of evtool's own has nothing to be taken back, and its owner keeps everything."""
    acl = "SELECT relacl::text FROM pg_class WHERE oid = 'messages'::regclass"
    before = one(connection, acl)
    assert one(connection, REVOKE, namespace) is False
    assert one(connection, acl) == before
