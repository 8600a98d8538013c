"""evtool.ensure_group: a group role is made once, by whoever may."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
from psycopg import sql

ENSURE = "SELECT evtool.ensure_group(%s)"


def test_it_makes_a_group_once(connection: psycopg.Connection, one: Callable[..., Any], namespace: str) -> None:
    """The role may not log in and bears evtool's mark; asked again, it is simply there."""
    role = f'{namespace}\'s "group"'
    assert [one(connection, ENSURE, role) for _ in range(2)] == [True, True]
    query = "SELECT rolcanlogin, rolsuper, shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname = %s"
    assert connection.execute(query, (role,)).fetchall() == [(False, False, "made by evtool")]


def test_a_group_that_was_there_keeps_its_own_mark(
    connection: psycopg.Connection, one: Callable[..., Any], namespace: str
) -> None:
    """Somebody's group is used and not called evtool's."""
    role = f"{namespace}_theirs"
    connection.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(role)))
    assert one(connection, ENSURE, role) is True
    query = "SELECT shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname = %s"
    assert one(connection, query, role) is None


def test_whoever_may_not_is_told_by_false(
    connection: psycopg.Connection, one: Callable[..., Any], namespace: str
) -> None:
    """Without CREATEROLE nothing is made and nothing is raised."""
    guest = sql.Identifier(f"{namespace}_guest")
    connection.execute(sql.SQL("CREATE ROLE {}").format(guest))
    connection.execute(sql.SQL("GRANT USAGE ON SCHEMA evtool TO {}").format(guest))
    connection.execute(sql.SQL("GRANT EXECUTE ON FUNCTION evtool.ensure_group(text) TO {}").format(guest))
    connection.execute(sql.SQL("SET ROLE {}").format(guest))
    assert one(connection, ENSURE, f"{namespace}_none") is False
    connection.execute("RESET ROLE")
    connection.execute(sql.SQL("DROP OWNED BY {}").format(guest))
    assert one(connection, "SELECT to_regrole(%s) IS NULL", f"{namespace}_none") is True


def test_a_person_is_no_group(connection: psycopg.Connection, refused: Callable[..., Any], namespace: str) -> None:
    """A role that can log in is refused, and is left as it is."""
    role = f"{namespace}_person"
    connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(role)))
    diag = refused(connection, ENSURE, role)
    assert (diag.sqlstate, diag.constraint_name) == ("42710", "role_is_not_a_group")
