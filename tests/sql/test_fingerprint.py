"""evtool.fingerprint: whether somebody changed the functions or views of a schema by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

FINGERPRINT = "SELECT evtool.fingerprint(%s)"


def test_it_is_what_was_noted_at_the_installation(
    connection: psycopg.Connection, one: Callable[..., Any], namespace: str
) -> None:
    """Right after the installation, and from any search_path, the fingerprint is the one on record."""
    noted = one(connection, "SELECT fingerprint FROM evtool.behaviours WHERE schema_name = %s", namespace)
    for path in (namespace, "pg_catalog", '"$user", public, evtool'):
        connection.execute(f"SET search_path = {path}")
        assert one(connection, FINGERPRINT, namespace) == noted


@pytest.mark.parametrize(
    "change",
    [
        "CREATE OR REPLACE FUNCTION message_store_version() RETURNS varchar LANGUAGE sql IMMUTABLE RETURN '9'::varchar",
        "ALTER FUNCTION acquire_lock(varchar) SET work_mem = '1MB'",
        "ALTER FUNCTION write_message(varchar, varchar, varchar, jsonb, jsonb, bigint) SECURITY INVOKER",
        "ALTER FUNCTION category(varchar) STABLE",
        "DROP FUNCTION get_all_messages(bigint, bigint)",
        "CREATE FUNCTION mine() RETURNS int LANGUAGE sql RETURN 1",
        "CREATE FUNCTION category(int) RETURNS int LANGUAGE sql RETURN 1",
        "CREATE PROCEDURE mine() LANGUAGE sql AS ''",
        "CREATE OR REPLACE VIEW type_summary AS SELECT ''::text AS type, 1::bigint AS message_count, 1.0 AS percent",
        "DROP VIEW type_summary",
        "CREATE VIEW mine AS SELECT 1 AS x",
    ],
)
def test_a_change_by_hand_shows(
    connection: psycopg.Connection, one: Callable[..., Any], namespace: str, change: str
) -> None:
    """A function or view that was replaced, altered, dropped or added changes the fingerprint."""
    before = one(connection, FINGERPRINT, namespace)
    connection.execute(change)
    assert one(connection, FINGERPRINT, namespace) != before


def test_data_and_privileges_do_not_show(
    connection: psycopg.Connection, one: Callable[..., Any], namespace: str, write: Any
) -> None:
    """Only what a schema does counts: not its messages, its statistics, or who may use it."""
    before = one(connection, FINGERPRINT, namespace)
    write(connection, "a-1")
    connection.execute("ANALYZE messages")
    connection.execute(f"GRANT SELECT ON messages TO {namespace}_writer")
    assert one(connection, FINGERPRINT, namespace) == before


def test_a_schema_that_is_gone_has_one_too(connection: psycopg.Connection, one: Callable[..., Any]) -> None:
    """Asking for a schema that isn't there is no error: it has no functions."""
    assert one(connection, FINGERPRINT, "no such schema") == one(connection, "SELECT md5('')")
