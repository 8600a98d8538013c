"""ns adopt: a store that Message DB itself installed becomes a namespace in place."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from psycopg import conninfo, sql

import evtool
from evtool.errors import NamespaceExists, NamespaceRefused, PermissionDenied
from evtool.stores.postgres import PostgresStore
from evtool.testing import reference
from evtool.testing.servers import DatabaseServer
from tests.cli.running import Cli, assert_one_line
from tests.migration.adopting import CACHE, CALLS, CHECKOUT, adopt, as_client, message_db, write

ROWS = "SELECT ctid::text, xmin::text, m.* FROM message_store.messages AS m ORDER BY global_position"
FILES = """
    SELECT relname, pg_relation_filenode(oid) FROM pg_class
    WHERE relname IN ('messages', 'messages_pkey', 'messages_id', 'messages_stream', 'messages_category')
      AND relnamespace = 'message_store'::regnamespace
    ORDER BY 1
"""
REFUSED = [
    ("CREATE SCHEMA elsewhere", "elsewhere", "has no table messages"),
    ("SELECT 1", "nowhere", "There is no schema nowhere"),
    ("SELECT 1", "evtool", "is reserved"),
    ("ALTER TABLE message_store.messages ADD COLUMN note text", "message_store", "its columns are"),
    ("ALTER TABLE message_store.messages ALTER type TYPE varchar(80)", "message_store", "its columns are"),
    ("DROP FUNCTION message_store.hash_64(varchar)", "message_store", "lacks functions of Message DB 1.3.0: hash_64"),
    (
        (
            "CREATE OR REPLACE FUNCTION message_store.message_store_version() RETURNS varchar LANGUAGE plpgsql"
            " AS $$ BEGIN RETURN '1.2.3'; END $$"
        ),
        "message_store",
        "another version of Message DB",
    ),
    ("DROP INDEX message_store.messages_stream", "message_store", "lacks valid indexes of Message DB: messages_stream"),
    (
        (
            "ALTER TABLE message_store.messages ALTER global_position SET DEFAULT 1; ALTER SEQUENCE"
            " message_store.messages_global_position_seq OWNED BY NONE"
        ),
        "message_store",
        "its own sequence",
    ),
    ("GRANT USAGE ON SCHEMA message_store TO PUBLIC", "message_store", "Everybody may use the schema"),
]


@pytest.fixture
def foreign(empty_dsn: str) -> Iterator[psycopg.Connection]:
    """A superuser's session on a database where Message DB was installed, and written to."""
    with message_db(empty_dsn) as session:
        yield session


def test_every_message_stays_where_it_is(foreign: psycopg.Connection, empty_dsn: str) -> None:
    """No row is touched, no table or index is rewritten, and evtool finds all of it current."""
    rows, files = foreign.execute(ROWS).fetchall(), foreign.execute(FILES).fetchall()
    assert len(rows) == 60
    said = adopt(empty_dsn)
    assert said[-1] == "nobody may write around the functions"
    assert foreign.execute(ROWS).fetchall() == rows
    assert foreign.execute(FILES).fetchall() == files
    assert len(files) == 5
    with evtool.connect(empty_dsn) as store:
        assert [(one.name, one.schema) for one in store.list_namespaces()] == [("message_store", "message_store")]
        assert all(state.current and state.roles and not state.note for state in store.migration_status())
        assert {(step.action, step.notes) for step in store.migrate()} == {("current", ())}
        assert [message.global_position for message in store.get_all_messages()] == list(range(1, 61))
        assert store.write_message(None, "account-1", "T", {}, expected_version=8) == 9
        assert store.get_all_messages(61)[0].global_position == 61
        assert len(store.list_streams()) == 7


def test_what_comes_out_is_what_evtool_makes(foreign: psycopg.Connection, empty_dsn: str, make_database: Any) -> None:
    """Functions and views are those of a fresh namespace, so are the indexes but for the one more of stream names."""
    adopt(empty_dsn)
    fresh_dsn = make_database()
    with evtool.connect(fresh_dsn) as store:
        store.migrate()
    with psycopg.connect(fresh_dsn, autocommit=True) as fresh:
        for query in (
            "SELECT schema_name, checksum, fingerprint, evtool_version FROM evtool.behaviours ORDER BY 1",
            "SELECT version_num FROM message_store.evtool_version",
            (
                "SELECT relname, relkind, relacl::text FROM pg_class WHERE relnamespace = 'message_store'::regnamespace"
                " AND relkind IN ('r', 'v', 'S', 'c') ORDER BY relname COLLATE \"C\""
            ),
            (
                "SELECT proname, proacl::text FROM pg_proc WHERE pronamespace = 'message_store'::regnamespace"
                ' ORDER BY proname COLLATE "C"'
            ),
        ):
            assert _normal(foreign.execute(query).fetchall()) == _normal(fresh.execute(query).fetchall())
        indexes = "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'message_store' ORDER BY 1"
        more = set(foreign.execute(indexes).fetchall()) - set(fresh.execute(indexes).fetchall())
        assert [name for name, _ in more] == ["messages_stream_bytes"]
        assert len(foreign.execute(indexes).fetchall()) == len(fresh.execute(indexes).fetchall()) + 1


def test_the_page_tells_how_to_lose_the_last_difference(
    foreign: psycopg.Connection, empty_dsn: str, make_database: Any, psql: Any
) -> None:
    """The SQL of docs/adopt.md, and then migrate: columns and indexes are those of a fresh namespace."""
    adopt(empty_dsn)
    page = (CHECKOUT / "docs" / "adopt.md").read_text("utf-8")
    (block,) = re.findall(r"^```sql\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    psql(empty_dsn, block)
    fresh_dsn = make_database()
    described = []
    for dsn in (empty_dsn, fresh_dsn):
        with evtool.connect(dsn) as store:
            store.migrate()
            assert {(step.action, step.notes) for step in store.migrate()} == {("current", ())}
        with psycopg.connect(dsn) as session:
            session.execute("SET search_path = pg_catalog")
            described.append(
                [
                    session.execute(query).fetchall()
                    for query in (
                        "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'message_store' ORDER BY 1",
                        (
                            "SELECT attname, atttypid, attcollation, attnotnull FROM pg_attribute"
                            " WHERE attrelid = 'message_store.messages'::regclass AND attnum > 0 ORDER BY attnum"
                        ),
                    )
                ]
            )
    assert described[0] == described[1]
    with evtool.connect(empty_dsn) as store:
        assert store.write_message(None, "account-1", "T", {}, expected_version=8) == 9


def _normal(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Privileges in an order of their own, without what an owner has anyhow, and what Message DB's role had directly."""

    def plain(value: Any) -> Any:
        if not (isinstance(value, str) and value.startswith("{")):
            return value
        items = value.strip("{}").split(",")
        return sorted(item for item in items if not item.startswith(("message_store=", "postgres=")))

    return [tuple(plain(value) for value in row) for row in rows]


def test_again_it_does_nothing(foreign: psycopg.Connection, empty_dsn: str) -> None:
    """A store that was adopted is found done; so is a namespace that evtool made."""
    adopt(empty_dsn)
    before = foreign.execute(
        "SELECT oid, xmin::text FROM pg_class UNION SELECT oid, xmin::text FROM pg_proc"
    ).fetchall()
    with as_client(empty_dsn) as busy:
        busy.execute("BEGIN")
        busy.execute("SELECT 1")
        assert adopt(empty_dsn, wait=timedelta(0)) == ["nothing is left to be done"]
    after = foreign.execute("SELECT oid, xmin::text FROM pg_class UNION SELECT oid, xmin::text FROM pg_proc").fetchall()
    assert sorted(after) == sorted(before)


def test_the_printed_sql_does_the_same(
    foreign: psycopg.Connection, empty_dsn: str, make_database: Any, psql: Any, dump: Any
) -> None:
    """Run by psql on a store of the same kind, it leaves what `ns adopt` leaves; printing changes nothing."""
    other = make_database()
    with psycopg.connect(other, autocommit=True) as session:
        reference.install(session, reference.fetch(CACHE))
    before = dump(other, "message_store")
    with PostgresStore(other) as store:
        text = store.administration().adoption_script("message_store", "message_store")
    assert dump(other, "message_store") == before
    psql(other, text)
    adopt(empty_dsn)
    assert dump(other, "message_store") == dump(empty_dsn, "message_store")
    assert dump(other, "evtool") == dump(empty_dsn, "evtool")
    with evtool.connect(other) as store:
        assert {(step.action, step.notes) for step in store.migrate()} == {("current", ())}
    # and again, on a store that is done
    with PostgresStore(other) as store:
        psql(other, store.administration().adoption_script("message_store", "message_store"))


def test_no_index_is_built_while_the_table_is_locked(foreign: psycopg.Connection, empty_dsn: str) -> None:
    """What the migrations build on messages was built concurrently before: in the transactions none is made."""
    with PostgresStore(empty_dsn) as store:
        text = store.administration().adoption_script("message_store", "message_store")
    outside: list[str] = []
    inside: list[str] = []
    for number, part in enumerate(text.split("\nBEGIN;\n")):
        transaction, _, rest = part.partition("\nCOMMIT;\n") if number else ("", "", part)
        inside += re.findall(r"CREATE (?:UNIQUE )?INDEX (\w+) ON messages\b", transaction)
        outside += re.findall(r"^CREATE INDEX CONCURRENTLY IF NOT EXISTS (\w+) ON", rest, re.MULTILINE)
    assert outside == ["messages_time", "messages_stream_bytes"]
    assert inside == ["messages_time"]
    assert "IF to_regclass('messages_time') IS NULL THEN" in text


def test_a_session_that_knew_the_index_before_still_uses_it(foreign: psycopg.Connection, empty_dsn: str) -> None:
    """A client that stays connected reads categories by the index after category() has become inlinable."""
    plan = "EXPLAIN SELECT * FROM messages WHERE category(stream_name) = 'account' AND global_position > 5"
    with as_client(empty_dsn) as session:
        session.execute("SET enable_seqscan = off")
        session.execute("SET enable_bitmapscan = off")
        assert "messages_category" in str(session.execute(plan).fetchall())
        adopt(empty_dsn)
        assert "messages_category" in str(session.execute(plan).fetchall())


def test_its_clients_write_by_the_functions_and_no_other_way(foreign: psycopg.Connection, empty_dsn: str) -> None:
    """Whoever could INSERT is a writer now, whoever could look a reader; nobody inserts, and other rights are told."""
    tag = os.getpid()
    app, team, analyst = f"app_{tag}", f'team\'s "{tag}"', f"analyst_{tag}"
    for statement in (
        "CREATE ROLE {app} LOGIN IN ROLE message_store",
        "CREATE ROLE {team}",
        "CREATE ROLE {analyst} LOGIN",
        "GRANT USAGE ON SCHEMA message_store TO {team}, {analyst}",
        "GRANT SELECT, INSERT, DELETE ON message_store.messages TO {team}",
        "GRANT USAGE ON SEQUENCE message_store.messages_global_position_seq TO {team}",
        "GRANT SELECT ON message_store.messages TO {analyst}",
    ):
        names = {"app": app, "team": team, "analyst": analyst}
        foreign.execute(sql.SQL(statement).format(**{key: sql.Identifier(name) for key, name in names.items()}))
    said = adopt(empty_dsn)
    quoted = sql.Identifier(team).as_string(foreign)
    assert any(f"The role {quoted} keeps DELETE on message_store.messages" in line for line in said)
    with PostgresStore(empty_dsn) as store:
        members = {one.role: (one.right, one.through) for one in store.administration().members("message_store")}
    assert members[app] == ("write", "message_store")
    assert members[team] == ("write", None)
    assert members[analyst] == ("read", None)
    assert members["message_store"] == ("write", None)
    insert = "INSERT INTO messages (stream_name, position, type) VALUES ('a-1', 99, 'T')"
    for role in (app, team, "message_store"):
        with as_client(empty_dsn, role) as session:
            write(session, "account-1")
            for statement in (insert, "SELECT nextval('messages_global_position_seq')"):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    session.execute(statement)
    with as_client(empty_dsn, analyst) as session:
        session.execute(CALLS[0])
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            write(session, "account-1")


def test_migrate_leaves_it_alone_and_says_what_adopts_it(foreign: psycopg.Connection, empty_dsn: str) -> None:
    """Without being asked nothing of it is changed, and the note names the command."""
    source = "SELECT md5(string_agg(prosrc, '' ORDER BY oid)) FROM pg_proc WHERE pronamespace = 'message_store'::regnamespace"
    before = foreign.execute(source).fetchone()
    with evtool.connect(empty_dsn) as store:
        steps = store.migrate()
    assert steps[1].action == "left alone"
    assert "evtool ns adopt message_store" in steps[1].notes[0]
    assert foreign.execute(source).fetchone() == before


def test_streams_are_listed_by_their_bytes_in_a_locale_of_words(server: DatabaseServer, make_database: Any) -> None:
    """In a database that sorts like a dictionary, an adopted store lists the streams of a prefix, all and in order."""
    dsn = make_database()
    locale = _dictionary_locale(server)
    database = f"dictionary_{os.getpid()}"
    with psycopg.connect(server.dsn, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {database} TEMPLATE template0 {locale}")
        try:
            words = conninfo.make_conninfo(dsn, dbname=database)
            with psycopg.connect(words, autocommit=True) as session:
                reference.install(session, reference.fetch(CACHE))
                with as_client(words) as client:
                    for stream in ("ab-1", "a-b", "A-1", "a-c", "aB-2", "a_1-1", "ä-1", "a-1"):
                        write(client, stream)
                ordered = session.execute("SELECT 'ab' < 'a-c'").fetchone()
                assert ordered == (True,), "the locale sorts by bytes, and the test proves nothing"
            adopt(words)
            with evtool.connect(words) as store:
                assert [one.stream_name for one in store.list_streams("a-")] == ["a-1", "a-b", "a-c"]
                listed = [one.stream_name for one in store.list_streams()]
                assert listed == sorted(listed, key=str.encode)
                assert len(listed) == 8
                after = store.list_streams("a", after="a-b")
                assert [one.stream_name for one in after] == ["a-c", "aB-2", "a_1-1", "ab-1"]
                assert [one.position for one in store.get_category_messages("a")] == [0, 0, 0]
        finally:
            admin.execute(f"DROP DATABASE {database} WITH (FORCE)")


def _dictionary_locale(server: DatabaseServer) -> str:
    """A locale of this server in which a hyphen counts less than letters."""
    with psycopg.connect(server.dsn) as session:
        ours = "collprovider = 'c' AND collname ~ '^en_.*utf-?8$'"
        named = session.execute(f"SELECT min(collname) FROM pg_collation WHERE {ours}").fetchone()
        icu = session.execute("SELECT count(*) > 1 FROM pg_collation WHERE collprovider = 'i'").fetchone()
    if named and named[0]:
        return f"LOCALE '{named[0]}'"
    # a server without ICU lists one collation of its own
    if icu != (True,):
        # PostgreSQL's own image has one; a server of the embedded binaries has what the machine has
        (pytest.fail if server.rung == "docker" else pytest.skip)("the server has no locale en_…UTF-8, and no ICU")
    return "ENCODING 'UTF8' LOCALE 'C' LOCALE_PROVIDER icu ICU_LOCALE 'en-US-u-ka-shifted'"


@pytest.mark.parametrize(("change", "schema", "reason"), REFUSED)
def test_what_is_not_message_db_is_refused(
    foreign: psycopg.Connection, empty_dsn: str, change: str, schema: str, reason: str
) -> None:
    """Anything else than a whole store of 1.3.0 is left as it is, and the error says what is in the way."""
    if "OR" not in reason and "messages ALTER type" in change:
        foreign.execute(
            "DROP VIEW message_store.type_summary, message_store.stream_type_summary,"
            " message_store.type_stream_summary, message_store.category_type_summary,"
            " message_store.type_category_summary"
        )
    foreign.execute(change)
    source = "SELECT md5(string_agg(prosrc, '' ORDER BY oid)) FROM pg_proc WHERE pronamespace = 'message_store'::regnamespace"
    before = foreign.execute(source).fetchone()
    with pytest.raises(NamespaceRefused, match=reason.replace("(", r"\(")):
        adopt(empty_dsn, schema)
    assert foreign.execute(source).fetchone() == before
    with evtool.connect(empty_dsn) as store:
        assert {step.action for step in store.migrate()} <= {"created", "current", "left alone"}
        assert "message_store" not in [one.name for one in store.list_namespaces()]


def test_a_function_of_the_schema_is_never_run(foreign: psycopg.Connection, empty_dsn: str) -> None:
    """What somebody put in the place of message_store_version doesn't run with the rights of whoever adopts."""
    foreign.execute("CREATE TABLE public.ran (x int)")
    foreign.execute(
        "CREATE OR REPLACE FUNCTION message_store.message_store_version() RETURNS varchar LANGUAGE plpgsql"
        " AS $$ BEGIN INSERT INTO public.ran VALUES (1); RETURN '1.3.0'; END $$"
    )
    adopt(empty_dsn)
    assert foreign.execute("SELECT count(*) FROM public.ran").fetchone() == (0,)


def test_a_name_that_is_anothers_is_refused(foreign: psycopg.Connection, empty_dsn: str) -> None:
    """--as names the namespace; a name that is taken is a conflict, and a hostile one is a name."""
    with evtool.connect(empty_dsn) as store:
        store.migrate()
        store.create_namespace("orders")
    with pytest.raises(NamespaceExists):
        adopt(empty_dsn, name="orders")
    name = 'the "old" one\'; DROP TABLE x; -- %s'
    adopt(empty_dsn, name=name)
    with evtool.connect(empty_dsn, name) as store:
        assert store.get_namespace(name).schema == "message_store"
        assert store.stream_version("account-1") == 8


def test_who_may_not_is_told_which_right_is_missing(foreign: psycopg.Connection, empty_dsn: str) -> None:
    """A role that doesn't own the store is refused by the owner's name, before anything of the store is changed."""
    role = f"guest_{os.getpid()}"
    foreign.execute(f"CREATE ROLE {role}")
    foreign.execute(f"GRANT CREATE ON DATABASE {foreign.info.dbname} TO {role}")
    dsn = conninfo.make_conninfo(empty_dsn, options=f"-c role={role}")
    with pytest.raises(PermissionDenied) as caught:
        adopt(dsn)
    owner = foreign.execute(
        "SELECT nspowner::regrole::text FROM pg_namespace WHERE nspname = 'message_store'"
    ).fetchone()
    assert owner is not None
    assert f"belongs to {owner[0]}" in caught.value.message
    assert f"GRANT {owner[0]} TO {role}" in (caught.value.hint or "")


def test_an_owner_who_is_no_superuser_adopts(empty_dsn: str) -> None:
    """A role that owns database and store, and may create roles, adopts it; without CREATEROLE it is told so."""
    role = f"owner_{os.getpid()}"
    with psycopg.connect(empty_dsn, autocommit=True) as admin:
        admin.execute(f"CREATE ROLE {role}")
        admin.execute(f"ALTER DATABASE {admin.info.dbname} OWNER TO {role}")
        reference.install(admin, reference.fetch(CACHE))
        admin.execute(f"ALTER SCHEMA message_store RENAME TO owned_{role}")
        schema = f"owned_{role}"
        for query in (
            "SELECT format('ALTER FUNCTION %%s OWNER TO {0}', oid::regprocedure) FROM pg_proc WHERE pronamespace = %s::regnamespace",
            (
                "SELECT format('ALTER TABLE %%s OWNER TO {0}', oid::regclass) FROM pg_class"
                " WHERE relnamespace = %s::regnamespace AND relkind IN ('r', 'v')"
            ),
            "SELECT format('ALTER SCHEMA %%s OWNER TO {0}', %s::text)",
        ):
            for (statement,) in admin.execute(query.format(role), (schema,)).fetchall():
                admin.execute(statement)
        dsn = conninfo.make_conninfo(empty_dsn, options=f"-c role={role}")
        with pytest.raises(PermissionDenied, match="may not create the group roles"):
            adopt(dsn, schema)
        admin.execute(f"ALTER ROLE {role} CREATEROLE")
        adopt(dsn, schema)
        with evtool.connect(dsn, schema) as store:
            assert store.write_message(None, "a-1", "T", {}) == 0


def test_the_command_says_what_it_does(foreign: psycopg.Connection, empty_dsn: str) -> None:
    """`ns adopt` tells each step on stderr and the result on stdout; --sql prints; refusals are one line."""
    cli = Cli(empty_dsn)
    script = cli("ns", "adopt", "message_store", "--sql").ok().out
    assert "CREATE INDEX CONCURRENTLY" in script
    assert "CREATE SCHEMA" in script
    assert foreign.execute("SELECT to_regnamespace('evtool')").fetchone() == (None,)
    done = cli("ns", "adopt", "message_store", "--wait", "30").ok()
    assert done.out == 'namespace "message_store": adopted (schema message_store)\n'
    assert "old and new writers share a lock" in done.err
    assert_one_line(cli("ns", "adopt", "nowhere"), 1, "NAMESPACE_REFUSED", "There is no schema")
    assert cli("ns", "adopt", "message_store", "--wait", "-1").code == 2
    assert cli("read", "account-1", "--last").ok().out.count("\n") == 1
