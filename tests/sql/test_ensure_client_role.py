"""evtool.ensure_client_role: the LOGIN role that existing Message DB clients connect as."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
from psycopg import sql

ENSURE = "SELECT evtool.ensure_client_role(%s, %s)"


def test_it_is_made_and_made_a_writer(connection: psycopg.Connection, one: Callable[..., Any], namespace: str) -> None:
    """A role that isn't there is made, with LOGIN and without a password; again, it stays as it is."""
    role = f"{namespace} client"
    for _ in range(2):
        assert one(connection, ENSURE, role, namespace) is True
    query = "SELECT rolcanlogin, rolpassword, pg_has_role(rolname, %s, 'USAGE') FROM pg_authid WHERE rolname = %s"
    assert connection.execute(query, (f"{namespace}_writer", role)).fetchall() == [(True, None, True)]


def test_a_role_that_is_there_only_becomes_a_member(
    connection: psycopg.Connection, one: Callable[..., Any], namespace: str
) -> None:
    """What an existing role has, its password for one, stays."""
    role = f"{namespace}_client"
    connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'kept' CONNECTION LIMIT 3")
    before = one(connection, "SELECT rolpassword FROM pg_authid WHERE rolname = %s", role)
    assert one(connection, ENSURE, role, namespace) is True
    query = "SELECT rolpassword, rolconnlimit FROM pg_authid WHERE rolname = %s"
    assert connection.execute(query, (role,)).fetchall() == [(before, 3)]


def test_a_superuser_needs_no_membership(
    connection: psycopg.Connection, one: Callable[..., Any], namespace: str
) -> None:
    """A superuser of that name may all already."""
    role = f"{namespace}_client"
    connection.execute(f"CREATE ROLE {role} SUPERUSER")
    assert one(connection, ENSURE, role, namespace) is True
    assert one(connection, "SELECT count(*) FROM pg_auth_members WHERE member = %s::regrole", role) == 0


def test_without_createrole_it_says_so(
    connection: psycopg.Connection, one: Callable[..., Any], namespace: str, notices: Any
) -> None:
    """Whoever may not make roles gets a NOTICE and false, and no error."""
    caller, role = f"{namespace}_caller", f"{namespace}_client"
    connection.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(caller)))
    connection.execute(sql.SQL("GRANT USAGE ON SCHEMA evtool TO {}").format(sql.Identifier(caller)))
    connection.execute(sql.SQL("GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA evtool TO {}").format(sql.Identifier(caller)))
    connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(caller)))
    with notices(connection) as heard:
        assert one(connection, ENSURE, role, namespace) is False
    connection.execute("RESET ROLE")
    assert heard == [f"Not allowed to set up the role {role}, which Message DB's clients connect as"]
    assert one(connection, "SELECT to_regrole(%s) IS NULL", role) is True
