"""The tables of docs/roles.md against the catalog: every right of every kind of role on every object, and no other."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from evtool.stores.postgres import PostgresStore

PAGE = Path(__file__).resolve().parents[2] / "docs" / "roles.md"
KINDS = ("owner", "writer", "reader", "other writer", "stranger")

# Every object of a schema with every right that there is on its kind.
OBJECTS = """
    SELECT 'schema', unnest(ARRAY['USAGE', 'CREATE'])
    UNION ALL
    SELECT relname, unnest(CASE relkind WHEN 'S' THEN ARRAY['SELECT', 'USAGE', 'UPDATE']
      ELSE ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER'] END)
    FROM pg_class WHERE relnamespace = %(schema)s::regnamespace AND relkind NOT IN ('i', 'c', 'I', 't')
    UNION ALL
    SELECT DISTINCT proname, 'EXECUTE' FROM pg_proc WHERE pronamespace = %(schema)s::regnamespace
"""
# Whether a role has a right on all functions of a name, or on none: true, false, or null for a mixture.
HAS = {
    "schema": "SELECT has_schema_privilege(%(role)s, %(schema)s, %(right)s)",
    "EXECUTE": (
        "SELECT CASE WHEN count(DISTINCT may) = 1 THEN bool_and(may) END FROM (SELECT has_function_privilege(%(role)s,"
        " oid, %(right)s) AS may FROM pg_proc WHERE pronamespace = %(schema)s::regnamespace AND proname = %(name)s) AS f"
    ),
    "S": "SELECT has_sequence_privilege(%(role)s, format('%%I.%%I', %(schema)s::text, %(name)s::text), %(right)s)",
    "r": "SELECT has_table_privilege(%(role)s, format('%%I.%%I', %(schema)s::text, %(name)s::text), %(right)s)",
}

Matrix = dict[tuple[str, str], dict[str, bool]]


def _documented(heading: str) -> Matrix:
    """A table of the page: what each kind of role may, by object and right."""
    lines = PAGE.read_text("utf-8").splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(f"| {heading} |"))
    assert [cell.strip() for cell in lines[start].strip("|").split("|")][2:] == list(KINDS)
    matrix: Matrix = {}
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        objects, rights, *marks = [cell.strip() for cell in line.strip("|").split("|")]
        assert set(marks) <= {"✓", "–"}
        for name in re.findall(r"[\w]+", objects):
            for right in rights.split(", "):
                assert (name, right) not in matrix, f"{name} {right} stands twice"
                matrix[name, right] = dict(zip(KINDS, (mark == "✓" for mark in marks), strict=True))
    return matrix


def _found(session: psycopg.Connection, schema: str, roles: dict[str, str]) -> Matrix:
    """The same, as the server says it."""
    relations = dict(
        session.execute(
            "SELECT relname, relkind::text FROM pg_class WHERE relnamespace = %s::regnamespace", (schema,)
        ).fetchall()
    )
    matrix: Matrix = {}
    for name, right in session.execute(OBJECTS, {"schema": schema}).fetchall():
        how = HAS[
            "schema" if name == "schema" else right if right == "EXECUTE" else "S" if relations[name] == "S" else "r"
        ]
        matrix[name, right] = {}
        for kind, role in roles.items():
            values = {"role": role, "schema": schema, "name": name, "right": right}
            row = session.execute(how, values).fetchone()
            assert row is not None
            assert row[0] is not None, f"{kind} may execute only some of the functions {name}"
            matrix[name, right][kind] = row[0]
    return matrix


@pytest.fixture
def roles(connection: psycopg.Connection, namespace: str, shared_store: PostgresStore) -> dict[str, str]:
    """A role of each kind, every one a member of what makes it that kind, and of nothing else."""
    other = shared_store.create_namespace(f"{namespace}_other").schema
    made = {kind: f"{namespace} {kind}" for kind in KINDS}
    for kind, groups in {
        "owner": [],
        "writer": [f"{namespace}_writer"],
        "reader": [f"{namespace}_reader"],
        "other writer": [f"{other}_writer"],
        "stranger": [],
    }.items():
        connection.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(made[kind])))
        for group in groups:
            connection.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(group), sql.Identifier(made[kind])))
    owner = connection.execute("SELECT nspowner::regrole::text FROM pg_namespace WHERE nspname = %s", (namespace,))
    ((name,),) = owner.fetchall()
    connection.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(name.strip('"')), sql.Identifier(made["owner"])))
    return made


@pytest.mark.parametrize("heading", ["in the namespace", "in the registry"])
def test_the_page_says_what_the_server_does(
    connection: psycopg.Connection, namespace: str, roles: dict[str, str], heading: str
) -> None:
    """Each object that there is has its row, each row its object, and each right is given or refused as it says."""
    documented = _documented(heading)
    found = _found(connection, namespace if heading == "in the namespace" else "evtool", roles)
    assert sorted(found) == sorted(documented)
    wrong = {
        f"{right} on {name} for {kind}": may
        for (name, right), kinds in found.items()
        for kind, may in kinds.items()
        if documented[name, right][kind] is not may
    }
    assert wrong == {}


def test_an_object_without_a_row_is_noticed(
    connection: psycopg.Connection, namespace: str, roles: dict[str, str]
) -> None:
    """A new function or table of the schema is in what is compared."""
    connection.execute("CREATE FUNCTION fresh() RETURNS int LANGUAGE sql RETURN 1")
    connection.execute("CREATE TABLE brand_new (x int)")
    found = _found(connection, namespace, roles)
    assert ("fresh", "EXECUTE") in found
    assert ("brand_new", "SELECT") in found
    assert ("fresh", "EXECUTE") not in _documented("in the namespace")


def test_nobody_has_a_right_on_columns_alone(connection: psycopg.Connection, namespace: str) -> None:
    """Rights on single columns, which the tables do not show, are nobody's."""
    query = (
        "SELECT attrelid::regclass, attname FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid"
        " WHERE relnamespace IN (to_regnamespace(%s), 'evtool'::regnamespace) AND attacl IS NOT NULL"
    )
    assert connection.execute(query, (namespace,)).fetchall() == []


HIJACKS = [
    "CREATE FUNCTION pg_temp.split_part(text, text, int) RETURNS text LANGUAGE plpgsql AS $$ BEGIN {harm} RETURN 'x'; END $$",
    "CREATE FUNCTION pg_temp.hashtext(text) RETURNS int LANGUAGE plpgsql AS $$ BEGIN {harm} RETURN 1; END $$",
    "CREATE FUNCTION pg_temp.hashtext(varchar) RETURNS int LANGUAGE plpgsql AS $$ BEGIN {harm} RETURN 1; END $$",
    "CREATE FUNCTION pg_temp.current_setting(text, boolean) RETURNS text LANGUAGE plpgsql AS $$ BEGIN {harm} RETURN ''; END $$",
    (
        "CREATE FUNCTION pg_temp.differs(bigint, bigint) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN {harm} RETURN false; END $$;"
        " CREATE OPERATOR pg_temp.<> (FUNCTION = pg_temp.differs, LEFTARG = bigint, RIGHTARG = bigint)"
    ),
    (
        "CREATE FUNCTION pg_temp.same(text, varchar) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN {harm} RETURN true; END $$;"
        " CREATE OPERATOR pg_temp.= (FUNCTION = pg_temp.same, LEFTARG = text, RIGHTARG = varchar)"
    ),
    "CREATE TEMP TABLE messages (LIKE {ns}.messages)",
    "CREATE TEMP SEQUENCE messages_global_position_seq",
    "CREATE DOMAIN pg_temp.uuid AS text",
    "CREATE TYPE pg_temp.message AS (id text)",
    "CREATE TEMP VIEW messages AS SELECT 1 AS x",
    "SET search_path = pg_temp, {ns}, pg_catalog",
    "SET message_store.debug = 'on'",
    "SET message_store.debug_write = 'on'; SET message_store.sql_condition = 'on'",
    "SET check_function_bodies = off; SET default_transaction_isolation = 'serializable'",
    "SET TimeZone = 'Pacific/Kiritimati'; SET DateStyle = 'German, DMY'; SET IntervalStyle = 'sql_standard'",
    "SET timezone_abbreviations = 'Australia'",
    "SET plan_cache_mode = force_custom_plan; SET enable_indexscan = off; SET enable_seqscan = off; SET jit = on",
    "SET row_security = off; SET bytea_output = 'escape'; SET quote_all_identifiers = on; SET transform_null_equals = on",
    "SET standard_conforming_strings = off; SET backslash_quote = on; SET escape_string_warning = off",
]
REFUSED_SETTINGS = [
    "SET session_replication_role = replica",
    "SET session_preload_libraries = 'x'",
    "SET plpgsql.variable_conflict = use_column",
    "SET allow_system_table_mods = on",
    "SET ROLE {owner}",
]


@pytest.mark.parametrize("hijack", HIJACKS)
def test_nothing_of_a_writers_runs_in_its_owners_name(
    connection: psycopg.Connection, namespace: str, roles: dict[str, str], hijack: str
) -> None:
    """Objects of the temporary schema, operators and settings: the writing functions write the next message as ever."""
    connection.execute("CREATE TABLE harmed (x int)")
    connection.execute("SELECT write_message(gen_random_uuid()::varchar, 'a-1', 'T', '{}')")
    me = sql.Identifier(roles["writer"])
    connection.execute(
        sql.SQL("GRANT TEMPORARY ON DATABASE {} TO {}").format(sql.Identifier(connection.info.dbname), me)
    )
    connection.execute(sql.SQL("SET SESSION AUTHORIZATION {}").format(me))
    harm = f"INSERT INTO {namespace}.harmed VALUES (1);"
    connection.execute(hijack.replace("{harm}", harm).replace("{ns}", namespace))
    qualified = sql.Identifier(namespace, "write_message")
    one = sql.SQL("SELECT {}(gen_random_uuid()::varchar, 'a-1', 'T', '{{}}', NULL, 0)").format(qualified)
    many = sql.SQL(
        "SELECT * FROM {}(ARRAY[gen_random_uuid()::varchar], 'a-1', ARRAY['T'], ARRAY['{{}}'::jsonb], NULL, 1)"
    )
    assert connection.execute(one).fetchone() == (1,)
    assert connection.execute(many.format(sql.Identifier(namespace, "write_messages"))).fetchone() == (2,)
    with pytest.raises(psycopg.errors.RaiseException, match="Wrong expected version: 0"):
        connection.execute(one)
    for statement in ("RESET SESSION AUTHORIZATION", "RESET ALL"):
        connection.execute(statement)
    table = sql.Identifier(namespace, "messages")
    rows = connection.execute(
        sql.SQL(
            "SELECT position, abs(extract(epoch FROM now() AT TIME ZONE 'UTC' - time)) < 60 FROM {} ORDER BY"
            " global_position"
        ).format(table)
    ).fetchall()
    assert rows == [(0, True), (1, True), (2, True)]
    assert connection.execute(
        sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(namespace, "harmed"))
    ).fetchone() == (0,)


@pytest.mark.parametrize("statement", REFUSED_SETTINGS)
def test_settings_that_would_change_what_runs_are_not_a_writers(
    connection: psycopg.Connection, roles: dict[str, str], statement: str, refused: Callable[..., Any]
) -> None:
    """What switches triggers off, loads libraries or takes another role is refused by the server."""
    ((owner,),) = connection.execute("SELECT quote_ident(current_user)").fetchall()
    # PL/pgSQL has its settings from its first function on
    connection.execute("SELECT acquire_lock('a-1')")
    connection.execute(sql.SQL("SET SESSION AUTHORIZATION {}").format(sql.Identifier(roles["writer"])))
    diag = refused(connection, statement.replace("{owner}", owner))
    assert diag.sqlstate == "42501"
    connection.execute("RESET SESSION AUTHORIZATION")


def test_a_writer_places_no_message_but_at_the_end(
    connection: psycopg.Connection, namespace: str, roles: dict[str, str], refused: Callable[..., Any]
) -> None:
    """No way to a chosen position, global position or time: not by the table, a copy, the sequence, a rule or a cursor."""
    connection.execute("SELECT write_message(gen_random_uuid()::varchar, 'a-1', 'T', '{}')")
    connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(roles["writer"])))
    for statement in (
        "INSERT INTO messages (stream_name, position, type) VALUES ('a-1', 99, 'T')",
        "INSERT INTO messages (global_position, stream_name, position, type, time) VALUES (99, 'a-1', 1, 'T', '2001-01-01')",
        "WITH x AS (INSERT INTO messages (stream_name, position, type) VALUES ('a-1', 9, 'T') RETURNING 1) SELECT * FROM x",
        "MERGE INTO messages m USING (SELECT 1) s ON false WHEN NOT MATCHED THEN INSERT (stream_name) VALUES ('a')",
        "UPDATE messages SET position = 99",
        "UPDATE messages SET time = '2001-01-01'",
        "DELETE FROM messages",
        "TRUNCATE messages",
        "UPDATE stream_summary SET stream_name = 'b'",
        "SELECT setval('messages_global_position_seq', 99)",
        "SELECT nextval('messages_global_position_seq')",
        "ALTER SEQUENCE messages_global_position_seq RESTART WITH 99",
        "ALTER TABLE messages ALTER time SET DEFAULT '2001-01-01'",
        "CREATE RULE r AS ON INSERT TO messages DO INSTEAD NOTHING",
        "CREATE TRIGGER t BEFORE INSERT ON messages EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        "CREATE OR REPLACE FUNCTION write_message(varchar, varchar, varchar, jsonb) RETURNS bigint LANGUAGE sql RETURN 1",
        "ALTER FUNCTION write_messages SET search_path = public",
        "ALTER FUNCTION write_messages SECURITY INVOKER",
        (
            "INSERT INTO imports (source, options, last_line, imported, skipped, replaced, complete)"
            " VALUES ('x', '', 1, 1, 1, true, true)"
        ),
        "DO $$ BEGIN UPDATE messages SET position = 5; END $$",
    ):
        assert refused(connection, statement).sqlstate in {"42501", "55000"}, statement
    # without a grant option it does nothing, and says so in a WARNING
    connection.execute("GRANT INSERT ON messages TO PUBLIC")
    assert refused(connection, "INSERT INTO messages DEFAULT VALUES").sqlstate == "42501"
    connection.execute("RESET ROLE")
    assert connection.execute("SELECT position, global_position FROM messages").fetchall() == [(0, 1)]
