"""Who may do what in a namespace: its readers, its writers, everybody else, and the clients' role message_store."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from psycopg import sql

READS = [
    "SELECT * FROM get_stream_messages('a-1')",
    "SELECT * FROM get_category_messages('a')",
    "SELECT * FROM get_category_messages('a', 1, 1, 'o', 0, 1)",
    "SELECT * FROM get_last_stream_message('a-1')",
    "SELECT * FROM get_all_messages()",
    "SELECT watermark()",
    "SELECT stream_version('a-1')",
    "SELECT category('a-1'), id('a-1'), cardinal_id('a-1'), is_category('a-1'), hash_64('a')",
    "SELECT message_store_version()",
    "SELECT * FROM messages",
    "SELECT * FROM imports",
    "SELECT last_value FROM messages_global_position_seq",
    (
        "SELECT * FROM stream_summary, type_summary, stream_type_summary, type_stream_summary, category_type_summary,"
        " type_category_summary"
    ),
]
WRITES = [
    "SELECT write_message(gen_random_uuid()::varchar, 'a-1', 'T', '{}')",
    "SELECT write_messages(ARRAY[gen_random_uuid()::varchar], 'a-1', ARRAY['T'], ARRAY['{}'::jsonb])",
    "SELECT acquire_lock('a-1')",
]
FORBIDDEN = [
    "INSERT INTO messages (stream_name, position, type) VALUES ('a-1', 99, 'T')",
    "INSERT INTO messages DEFAULT VALUES",
    "UPDATE messages SET type = 'U'",
    "DELETE FROM messages",
    "TRUNCATE messages",
    "COPY messages FROM STDIN",
    "SELECT * FROM messages FOR UPDATE",
    "SELECT nextval('messages_global_position_seq')",
    "SELECT setval('messages_global_position_seq', 1)",
    "LOCK TABLE messages IN ROW EXCLUSIVE MODE",
    "LOCK TABLE messages IN SHARE MODE",
    "CREATE INDEX ON messages (type)",
    "ALTER TABLE messages ADD COLUMN x int",
    "CREATE TRIGGER t BEFORE INSERT ON messages EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    "DROP FUNCTION hash_64(varchar)",
    "CREATE TABLE mine (x int)",
    "CREATE FUNCTION category(text) RETURNS varchar LANGUAGE sql AS 'SELECT $1'",
    "INSERT INTO imports (source) VALUES ('x')",
    "UPDATE imports SET complete = true",
    "DELETE FROM imports",
    "TRUNCATE imports",
    "SELECT nextval('imports_number_seq')",
    "UPDATE evtool_version SET version_num = 'x'",
    "SELECT * FROM evtool.behaviours",
    "INSERT INTO evtool.namespaces (name, schema_name) VALUES ('x', 'x')",
    "SELECT evtool.grant_namespace('x')",
    "SELECT evtool.role_name('x', 'reader')",
]


@pytest.fixture
def act(connection: psycopg.Connection, namespace: str, write: Any) -> Callable[[str], psycopg.Connection]:
    """A session that acts as a reader, a writer or a stranger, on a namespace with a message."""
    write(connection, "a-1")

    def as_role(kind: str) -> psycopg.Connection:
        if kind == "stranger":
            connection.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(f"{namespace}_stranger")))
        connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(f"{namespace}_{kind}")))
        return connection

    return as_role


# What somebody is told who may not look into the schema where the name would be found.
HIDDEN = (psycopg.errors.UndefinedFunction, psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName)


def _may(session: psycopg.Connection, statement: str, *, hidden: bool = False) -> bool:
    """Whether the statement is allowed; rolled back in any case."""
    try:
        with session.transaction(force_rollback=True), session.cursor() as cursor:
            if statement.startswith("COPY"):
                with cursor.copy(statement):
                    pass
            else:
                cursor.execute(statement)
    except psycopg.errors.InsufficientPrivilege:
        return False
    except HIDDEN:
        if not hidden:
            raise
        return False
    return True


@pytest.mark.parametrize(
    ("kind", "allowed"),
    [("reader", READS), ("writer", READS + WRITES), ("stranger", [])],
)
def test_each_role_may_do_its_part_and_no_more(
    act: Callable[[str], psycopg.Connection], kind: str, allowed: list[str]
) -> None:
    """Readers read, writers also call what writes, others nothing; nobody touches the table around the functions."""
    session = act(kind)
    statements = READS + WRITES + FORBIDDEN
    assert [text for text in statements if _may(session, text, hidden=kind == "stranger")] == allowed


def test_a_stranger_is_refused_by_name(
    act: Callable[[str], psycopg.Connection], namespace: str, refused: Callable[..., Any]
) -> None:
    """A qualified call of somebody who is neither reader nor writer is 42501 on the schema."""
    session = act("stranger")
    for statement in (
        "{}.write_message('x', 'a-1', 'T', '{{}}')",
        "{}.stream_version('a-1')",
        "count(*) FROM {}.messages",
    ):
        call = sql.SQL(f"SELECT {statement}").format(sql.Identifier(namespace))
        diag = refused(session, call)
        assert (diag.sqlstate, diag.message_primary) == ("42501", f"permission denied for schema {namespace}")


def test_readers_and_writers_find_the_schema(act: Callable[[str], psycopg.Connection]) -> None:
    """Which schema a namespace has may be looked up by those who may use one."""
    for kind in ("reader", "writer"):
        session = act(kind)
        assert session.execute("SELECT count(*) > 0 FROM evtool.namespaces").fetchone() == (True,)
        session.execute("RESET ROLE")


def test_public_may_nothing(connection: psycopg.Connection, namespace: str) -> None:
    """No schema, function, table or view of a namespace or of the registry is PUBLIC's."""
    for schema in (namespace, "evtool"):
        functions = (
            "SELECT proname FROM pg_proc WHERE pronamespace = to_regnamespace(%s)"
            " AND has_function_privilege('public', oid, 'EXECUTE')"
        )
        tables = (
            "SELECT relname FROM pg_class WHERE relnamespace = to_regnamespace(%s) AND relkind IN ('r', 'v')"
            " AND has_table_privilege('public', oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')"
        )
        assert connection.execute(functions, (schema,)).fetchall() == []
        assert connection.execute(tables, (schema,)).fetchall() == []
        assert connection.execute(
            "SELECT has_schema_privilege('public', %s, 'USAGE, CREATE')", (schema,)
        ).fetchone() == (False,)


def test_a_members_objects_do_not_mislead_a_write(
    act: Callable[[str], psycopg.Connection], connection: psycopg.Connection
) -> None:
    """write_message runs with its owner's rights, so nothing in the caller's temporary schema or path is looked at."""
    session = act("writer")
    session.execute("CREATE TEMP TABLE messages (LIKE messages)")
    session.execute("CREATE FUNCTION pg_temp.hashtext(text) RETURNS int LANGUAGE sql AS 'SELECT 1 / 0'")
    path = session.execute("SHOW search_path").fetchone()
    assert path is not None
    session.execute(f"SET search_path = pg_temp, {path[0]}, pg_catalog")
    session.execute("SELECT write_message(%s, 'a-1', 'T', '{}')", (str(uuid.uuid4()),))
    assert session.execute("SELECT count(*) FROM pg_temp.messages").fetchone() == (0,)
    assert session.execute("SELECT position FROM get_last_stream_message('a-1')").fetchone() == (1,)


def test_only_the_functions_that_write_run_as_their_owner(connection: psycopg.Connection, namespace: str) -> None:
    """SECURITY DEFINER is kept to what needs it, and with a pinned path that ends in pg_temp."""
    query = "SELECT proname, proconfig[1] FROM pg_proc WHERE pronamespace = to_regnamespace(%s) AND prosecdef"
    rows: dict[str, str] = dict(connection.execute(query, (namespace,)).fetchall())
    assert rows == dict.fromkeys(["write_message", "write_messages"], f"search_path={namespace}, pg_temp")


@contextlib.contextmanager
def _as_client(dsn: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(dsn, autocommit=True) as session:
        session.execute("SET SESSION AUTHORIZATION message_store")
        assert session.execute("SHOW search_path").fetchone() == ('"$user", public',)
        yield session


def test_message_dbs_clients_work_unchanged(dsn: str) -> None:
    """The role message_store logs in, finds its schema by "$user", and calls everything unqualified."""
    stream = f"account-{uuid.uuid4()}"
    with _as_client(dsn) as session:
        call = "SELECT write_message(%s, %s, 'Opened', '{\"x\": 1}'::jsonb, NULL, -1)"
        assert session.execute(call, (str(uuid.uuid4()), stream)).fetchone() == (0,)
        assert session.execute("SELECT count(*) FROM get_stream_messages(%s)", (stream,)).fetchone() == (1,)
        assert session.execute("SELECT count(*) > 0 FROM get_category_messages('account')").fetchone() == (True,)
        assert session.execute("SELECT type FROM get_last_stream_message(%s)", (stream,)).fetchone() == ("Opened",)
        assert session.execute("SELECT stream_version(%s)", (stream,)).fetchone() == (0,)
        assert session.execute("SELECT message_store_version()").fetchone() == ("1.3.0",)
        assert session.execute("SELECT message_store.hash_64('a')").fetchone() == (919145239626757800,)
        assert session.execute("SELECT count(*) > 0 FROM messages").fetchone() == (True,)
        assert session.execute("SELECT count(*) > 0 FROM category_type_summary").fetchone() == (True,)
        assert not [statement for statement in FORBIDDEN[:9] if _may(session, statement)]


def test_the_clients_role_logs_in_without_a_password(connection: psycopg.Connection) -> None:
    """The role is a plain LOGIN role: no password, no superuser, no right to make roles or databases."""
    query = (
        "SELECT rolcanlogin, rolsuper, rolcreaterole, rolcreatedb, rolbypassrls, rolpassword IS NULL"
        " FROM pg_authid WHERE rolname = 'message_store'"
    )
    assert connection.execute(query).fetchall() == [(True, False, False, False, False, True)]


def test_the_groups_can_not_log_in(connection: psycopg.Connection, namespace: str) -> None:
    """A namespace's reader and writer are groups."""
    query = "SELECT rolname, rolcanlogin, rolsuper FROM pg_roles WHERE rolname LIKE %s ORDER BY 1"
    rows = connection.execute(query, (namespace.replace("_", r"\_") + r"\_%er",)).fetchall()
    assert rows == [(f"{namespace}_reader", False, False), (f"{namespace}_writer", False, False)]


def test_the_owner_may_truncate(connection: psycopg.Connection, write: Any) -> None:
    """The tests of existing clients empty the table as its owner."""
    write(connection, "a-1")
    connection.execute("TRUNCATE messages RESTART IDENTITY")
    assert write(connection, "a-1", expected_version=-1) == 0
    assert connection.execute("SELECT global_position FROM messages").fetchall() == [(1,)]
