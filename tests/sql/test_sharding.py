"""What an extension that places schemas on other nodes asks of a namespace: docs/how-to/scale-out-with-citus.md."""

from __future__ import annotations

import re

import psycopg

from evtool import sqltext


def test_every_table_of_a_namespace_has_a_primary_key(connection: psycopg.Connection, namespace: str) -> None:
    """A table without one can't be moved by logical replication."""
    tables = connection.execute(
        "SELECT c.relname::text, EXISTS (SELECT FROM pg_constraint WHERE conrelid = c.oid AND contype = 'p')"
        " FROM pg_class AS c WHERE c.relnamespace = %s::regnamespace AND c.relkind = 'r'",
        (namespace,),
    ).fetchall()
    assert {name for name, _ in tables} == {"messages", "imports", "evtool_version"}
    assert all(has_key for _, has_key in tables)


def test_a_namespace_has_no_triggers_and_no_foreign_keys(connection: psycopg.Connection, namespace: str) -> None:
    """Neither goes along, and a foreign key could leave the schema."""
    found = connection.execute(
        "SELECT tgname::text FROM pg_trigger JOIN pg_class AS c ON c.oid = tgrelid WHERE c.relnamespace = %(ns)s::regnamespace"
        " UNION ALL SELECT conname::text FROM pg_constraint WHERE connamespace = %(ns)s::regnamespace AND contype = 'f'",
        {"ns": namespace},
    ).fetchall()
    assert found == []


def test_no_object_of_a_namespace_needs_another_schema(connection: psycopg.Connection, namespace: str) -> None:
    """Functions, views, tables, indexes and types depend on their own schema and on PostgreSQL's alone."""
    found = connection.execute(
        """
        WITH own AS (
          SELECT 'pg_class'::regclass AS kind, oid FROM pg_class WHERE relnamespace = %(ns)s::regnamespace
          UNION ALL SELECT 'pg_proc'::regclass, oid FROM pg_proc WHERE pronamespace = %(ns)s::regnamespace
          UNION ALL SELECT 'pg_type'::regclass, oid FROM pg_type WHERE typnamespace = %(ns)s::regnamespace
          UNION ALL SELECT 'pg_rewrite'::regclass, r.oid FROM pg_rewrite AS r
            JOIN pg_class AS c ON c.oid = r.ev_class WHERE c.relnamespace = %(ns)s::regnamespace
        )
        SELECT pg_describe_object(d.refclassid, d.refobjid, 0)
        FROM pg_depend AS d JOIN own ON (d.classid, d.objid) = (own.kind, own.oid)
        WHERE d.refclassid IN ('pg_class'::regclass, 'pg_proc'::regclass, 'pg_type'::regclass)
          AND (d.refclassid, d.refobjid) NOT IN (SELECT kind, oid FROM own)
          AND d.refobjid >= 16384
        """,
        {"ns": namespace},
    ).fetchall()
    assert found == []


def test_writing_inserts_values_without_a_subquery() -> None:
    """The INSERT of write_message has its values ready: none of them is a SELECT in parentheses."""
    text = (sqltext.folder("sql") / "namespace" / "functions" / "write_message.sql").read_text()
    (values,) = re.findall(r"\bVALUES \((.*?);", text, re.DOTALL)
    assert "SELECT" not in values
