"""evtool.adopt_roles: whoever was let in by grants becomes a member of a group."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from psycopg import sql

ADOPT = "SELECT evtool.adopt_roles(%s)"
MEMBER = "SELECT pg_has_role(%s, %s, 'MEMBER')"


@pytest.mark.parametrize(
    ("grants", "group"),
    [
        (["USAGE ON SCHEMA {ns}", "INSERT ON {ns}.messages"], "writer"),
        (["USAGE ON SCHEMA {ns}", "SELECT ON {ns}.messages"], "reader"),
        (["USAGE ON SCHEMA {ns}", "SELECT, INSERT ON {ns}.messages"], "writer"),
        (
            [
                "USAGE ON SCHEMA {ns}",
                "EXECUTE ON FUNCTION {ns}.write_message(varchar, varchar, varchar, jsonb, jsonb, bigint)",
            ],
            "writer",
        ),
        (["SELECT, INSERT ON {ns}.messages"], None),
        (["USAGE ON SCHEMA {ns}"], None),
    ],
)
def test_a_role_joins_the_group_that_it_needs(
    connection: psycopg.Connection, one: Callable[..., Any], namespace: str, grants: list[str], group: str | None
) -> None:
    """Who may insert or call write_message writes, who may select reads, who can't use the schema is left out."""
    role = f'{namespace}\'s "client"'
    connection.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(role)))
    for grant in grants:
        connection.execute(
            sql.SQL(f"GRANT {grant} TO {{role}}").format(ns=sql.Identifier(namespace), role=sql.Identifier(role))
        )
    for _ in range(2):
        one(connection, ADOPT, namespace)
    for kind in ("reader", "writer"):
        assert one(connection, MEMBER, role, f"{namespace}_{kind}") is (kind == group)
