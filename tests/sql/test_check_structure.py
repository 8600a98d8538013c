"""evtool.check_structure: functions are installed only on tables of the version that they need."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
from psycopg import sql

from evtool import sqltext

CHECK = "SELECT evtool.check_structure(%s, %s)"


def test_the_version_of_this_release_is_accepted(connection: psycopg.Connection, namespace: str) -> None:
    """A namespace that was made just now has the structure that the functions need."""
    connection.execute(CHECK, (namespace, sqltext.structure_version("namespace")))


def test_another_version_is_refused_and_says_what_to_do(
    connection: psycopg.Connection, refused: Callable[..., Any], namespace: str
) -> None:
    """Older or newer, it names both versions and the command that mends it."""
    diag = refused(connection, CHECK, namespace, "9999")
    have = sqltext.structure_version("namespace")
    assert diag.message_primary == f"The schema {namespace} has structure {have}, and these functions need 9999"
    assert diag.constraint_name == "structure_differs"
    assert "evtool migrate" in diag.message_hint


def test_a_schema_without_a_version_is_refused(
    connection: psycopg.Connection, refused: Callable[..., Any], namespace: str
) -> None:
    """A version table that is empty is no version."""
    connection.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(namespace, "evtool_version")))
    diag = refused(connection, CHECK, namespace, "0001")
    assert diag.message_primary == f"The schema {namespace} has structure <NULL>, and these functions need 0001"
