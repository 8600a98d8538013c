"""evtool.grant_namespace: makes a namespace's group roles and gives them just their privileges.

What each role may do then is tested in test_roles.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
from psycopg import sql

GRANT = "SELECT evtool.grant_namespace(%s)"


def _privileges(session: psycopg.Connection, schema: str) -> list[Any]:
    """All privileges in a schema, and on it."""
    return session.execute(
        "SELECT relname::text, relacl::text FROM pg_class WHERE relnamespace = to_regnamespace(%(schema)s)"
        " UNION ALL SELECT oid::regprocedure::text, proacl::text FROM pg_proc"
        " WHERE pronamespace = to_regnamespace(%(schema)s)"
        " UNION ALL SELECT nspname::text, nspacl::text FROM pg_namespace WHERE nspname = %(schema)s ORDER BY 1",
        {"schema": schema},
    ).fetchall()


def test_a_second_run_changes_nothing(connection: psycopg.Connection, one: Callable[..., Any], namespace: str) -> None:
    """Run again it says that the roles are there, and every privilege is as before."""
    before = _privileges(connection, namespace)
    assert one(connection, GRANT, namespace) is True
    assert _privileges(connection, namespace) == before


def test_what_was_granted_by_hand_is_taken_back(
    connection: psycopg.Connection, one: Callable[..., Any], namespace: str
) -> None:
    """The groups have what is theirs and nothing more, whatever somebody has given them meanwhile."""
    before = _privileges(connection, namespace)
    writer = sql.Identifier(f"{namespace}_writer")
    for statement in (
        "GRANT INSERT, UPDATE, TRUNCATE ON messages TO {}",
        "GRANT USAGE ON SEQUENCE messages_global_position_seq TO {}",
        "GRANT EXECUTE ON FUNCTION acquire_lock(varchar) TO PUBLIC, {}",
    ):
        connection.execute(sql.SQL(statement).format(writer))
    connection.execute(sql.SQL("GRANT ALL ON SCHEMA {} TO PUBLIC, {}").format(sql.Identifier(namespace), writer))
    assert _privileges(connection, namespace) != before
    assert one(connection, GRANT, namespace) is True
    after = _privileges(connection, namespace)
    assert [(name, sorted((acl or "").strip("{}").split(","))) for name, acl in after] == [
        (name, sorted((acl or "").strip("{}").split(","))) for name, acl in before
    ]


def test_a_login_role_of_that_name_is_refused(
    connection: psycopg.Connection, refused: Callable[..., Any], namespace: str
) -> None:
    """A person's role that happens to have the group's name gets no privileges."""
    role = f"{namespace}_reader"
    connection.execute(sql.SQL("ALTER ROLE {} LOGIN").format(sql.Identifier(role)))
    diag = refused(connection, GRANT, namespace)
    assert diag.message_primary == f"The role {role} exists and is not a group: it can log in, or is a superuser"
    assert (diag.sqlstate, diag.constraint_name) == ("42710", "role_is_not_a_group")


def test_without_createrole_it_says_so_and_closes_the_schema(
    connection: psycopg.Connection, one: Callable[..., Any], namespace: str, notices: Any
) -> None:
    """An owner who may not make roles keeps the namespace to itself: a NOTICE, false, and nothing for PUBLIC."""
    schema, owner = f"{namespace}_own", f"{namespace}_owner"
    for statement in (
        "CREATE ROLE {owner}",
        "GRANT USAGE ON SCHEMA evtool TO {owner}",
        "GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA evtool TO {owner}",
        "CREATE SCHEMA {schema} AUTHORIZATION {owner}",
        "SET ROLE {owner}",
        "CREATE FUNCTION {schema}.f() RETURNS int LANGUAGE sql RETURN 1",
    ):
        connection.execute(sql.SQL(statement).format(owner=sql.Identifier(owner), schema=sql.Identifier(schema)))
    with notices(connection) as heard:
        assert one(connection, GRANT, schema) is False
    assert heard == [
        f"Not allowed to create the role {schema}_reader: only the owner can use the schema {schema} for now"
    ]
    assert one(connection, "SELECT has_function_privilege('public', %s, 'EXECUTE')", f"{schema}.f()") is False
    connection.execute("RESET ROLE")
    assert one(connection, "SELECT to_regrole(%s) IS NULL", f"{schema}_reader") is True
