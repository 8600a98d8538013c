"""The group roles of a namespace, and who is a member of them."""

from __future__ import annotations

import psycopg
from psycopg import sql

from evtool.administration import Member, Right
from evtool.errors import PermissionDenied, RoleRefused
from evtool.stores.postgres import scripts
from evtool.stores.postgres.connection import Connection

_GROUPS = "SELECT evtool.role_name(%s, 'reader'), evtool.role_name(%s, 'writer')"
_IS_THERE = "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = %s)"
_IS_MEMBER = """
    SELECT EXISTS (
      SELECT FROM pg_auth_members WHERE roleid = to_regrole(quote_ident(%s)) AND member = to_regrole(quote_ident(%s)))
"""
_GRANTORS = """
    SELECT pg_get_userbyid(grantor)::text FROM pg_auth_members
    WHERE roleid = to_regrole(quote_ident(%s)) AND member = to_regrole(quote_ident(%s)) ORDER BY 1
"""
_GRANTS_HAVE_GRANTORS = 160000

# From the groups down to whoever has one of them by however many others; the shortest way counts, and writing more.
_MEMBERS = """
    WITH RECURSIVE members (role, right_, through) AS (
      SELECT member, kind.right_, NULL::oid
      FROM (VALUES (evtool.role_name(%(schema)s, 'reader'), 'read'), (evtool.role_name(%(schema)s, 'writer'), 'write'))
        AS kind (role_name, right_)
      JOIN pg_auth_members ON roleid = to_regrole(quote_ident(kind.role_name))
      UNION
      SELECT m.member, members.right_, members.role
      FROM members JOIN pg_auth_members AS m ON m.roleid = members.role
    )
    SELECT DISTINCT ON (rolname) rolname::text, right_, rolcanlogin, through::regrole::text
    FROM members JOIN pg_roles ON oid = role
    ORDER BY rolname, right_ DESC, through IS NOT NULL, 4
"""


def grant(connection: Connection, schema: str, role: str, right: Right) -> bool:
    """See `Administration.grant`."""
    with connection.transaction():
        connection.execute(scripts.lock(schema))
        group = _group(connection, schema, role, right)
        if _has(connection, _IS_MEMBER, group, role):
            return False
        _run(connection, _grant(group, role), group)
    return True


def revoke(connection: Connection, schema: str, role: str) -> bool:
    """See `Administration.revoke`."""
    with connection.transaction():
        connection.execute(scripts.lock(schema))
        groups = [_group(connection, schema, role, right) for right in ("read", "write")]
        held = [(group, grantor) for group in groups for grantor in _grantors(connection, group, role)]
        for group, grantor in held:
            _run(connection, _revoke(group, grantor, role), group)
    return bool(held)


def script(connection: Connection, schema: str, role: str, right: Right | None) -> str:
    """See `Administration.grant_script`."""
    if right is not None:
        return _grant(_group(connection, schema, role, right), role).as_string(connection) + ";\n"
    groups = [_group(connection, schema, role, one) for one in ("read", "write")]
    held = [(group, grantor) for group in groups for grantor in _grantors(connection, group, role)]
    return "".join(_revoke(*one, role=role).as_string(connection) + ";\n" for one in held) or "-- nothing to do\n"


def members(connection: Connection, schema: str) -> list[Member]:
    """See `Administration.members`."""
    rows = connection.execute(_MEMBERS, {"schema": schema}).fetchall()
    return [Member(*row) for row in rows]


def _group(connection: Connection, schema: str, role: str, right: str) -> str:
    row = connection.execute(_GROUPS, (schema, schema)).fetchone()
    assert row is not None
    reader, writer = row
    if role in row:
        raise RoleRefused(f'"{role}" is the group itself', hint="name a role that is to be its member")
    if "\0" in role or not _has(connection, _IS_THERE, role):
        raise RoleRefused(f'there is no role "{role}"', hint="make it: CREATE ROLE … LOGIN, or createuser")
    group: str = writer if right == "write" else reader
    if not _has(connection, _IS_THERE, group):
        raise RoleRefused(
            f'the namespace\'s group "{group}" is missing', hint="run evtool migrate as a role with CREATEROLE"
        )
    return group


def _has(connection: Connection, query: str, *values: str) -> bool:
    row = connection.execute(query, values).fetchone()
    return bool(row and row[0])


def _grant(group: str, role: str) -> sql.Composed:
    return sql.SQL("GRANT {} TO {}").format(sql.Identifier(group), sql.Identifier(role))


def _revoke(group: str, grantor: str | None, role: str) -> sql.Composed:
    statement = sql.SQL("REVOKE {} FROM {}").format(sql.Identifier(group), sql.Identifier(role))
    # since PostgreSQL 16 each grantor's grant is one of its own, and REVOKE ends only the caller's
    return statement if grantor is None else statement + sql.SQL(" GRANTED BY {}").format(sql.Identifier(grantor))


def _grantors(connection: Connection, group: str, role: str) -> list[str | None]:
    rows = connection.execute(_GRANTORS, (group, role)).fetchall()
    return [row[0] if connection.info.server_version >= _GRANTS_HAVE_GRANTORS else None for row in rows]


def _run(connection: Connection, statement: sql.Composed, group: str) -> None:
    try:
        connection.execute(statement)
    except psycopg.errors.InsufficientPrivilege as error:
        raise PermissionDenied(
            f'the role "{connection.info.user}" may not say who is a member of "{group}"',
            hint="that takes a superuser, whoever made the group, or, before PostgreSQL 16, CREATEROLE",
        ) from error
    except psycopg.errors.InvalidGrantOperation as error:
        raise RoleRefused(
            f'"{group}" is itself a member of that role', hint="a group can't be a member of its own members"
        ) from error
