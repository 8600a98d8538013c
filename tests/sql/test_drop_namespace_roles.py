"""evtool.drop_namespace_roles: the group roles go with their namespace, unless somebody needs them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from psycopg import sql

import evtool
from evtool.stores.postgres import PostgresStore

DROP = "SELECT evtool.drop_namespace_roles(%s)"
ROLES = "SELECT rolname FROM pg_roles WHERE rolname IN (%s, %s) ORDER BY 1"


@pytest.fixture
def bare(connection: psycopg.Connection, namespace: str) -> str:
    """The name of a schema that has just been dropped, whose roles are still there."""
    connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(namespace)))
    return namespace


def _roles(session: psycopg.Connection, schema: str) -> list[str]:
    return [row[0] for row in session.execute(ROLES, (f"{schema}_reader", f"{schema}_writer"))]


def test_both_roles_go(connection: psycopg.Connection, bare: str, notices: Any) -> None:
    """Nothing is left of the groups, and nothing is said; a second call finds nothing to do."""
    assert len(_roles(connection, bare)) == 2
    for _ in range(2):
        with notices(connection) as heard:
            connection.execute(DROP, (bare,))
        assert (heard, _roles(connection, bare)) == ([], [])


def test_a_role_with_other_rights_stays(connection: psycopg.Connection, bare: str, notices: Any) -> None:
    """A group that was given something else as well is not taken from those who use it."""
    connection.execute(f"CREATE TABLE public.{bare}_other (x int)")
    connection.execute(f"GRANT SELECT ON public.{bare}_other TO {bare}_reader")
    with notices(connection) as heard:
        connection.execute(DROP, (bare,))
    assert _roles(connection, bare) == [f"{bare}_reader"]
    assert len(heard) == 1
    assert heard[0].startswith(f"The role {bare}_reader stays: ")


def test_a_login_role_stays(connection: psycopg.Connection, bare: str) -> None:
    """A role that can log in is somebody's, and is not touched."""
    connection.execute(f"ALTER ROLE {bare}_writer LOGIN")
    connection.execute(DROP, (bare,))
    assert _roles(connection, bare) == [f"{bare}_writer"]


def test_the_last_database_that_uses_a_role_drops_it(
    connection: psycopg.Connection,
    shared_store: PostgresStore,
    namespace: str,
    make_database: Callable[..., str],
) -> None:
    """Roles are the cluster's: the same namespace in another database keeps them, and takes them with it."""
    with evtool.connect(make_database()) as other:
        other.migrate()
        other.create_namespace(namespace)
        shared_store.delete_namespace(namespace)
        assert len(_roles(connection, namespace)) == 2
        other.delete_namespace(namespace)
    assert _roles(connection, namespace) == []
