"""An empty namespace is loaded without its indexes: what is left afterwards, who is disturbed, and what is refused."""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import conninfo, sql

from evtool import ndjson
from evtool.errors import ImportRefused, PermissionDenied, StoreTimeout
from evtool.imports import ImportPlan, ImportSummary, OnConflict
from evtool.model import Selection
from evtool.stores.postgres import PostgresStore, sending
from tests.cli.running import Cli
from tests.transfer.conftest import Contents
from tests.transfer.lines import line, lines

Import = Callable[[bytes], ImportSummary]

# All that the catalog knows of the table and its indexes, but for what depends on the rows.
_CATALOG = """
    SELECT c.relname, c.relkind, c.relpersistence, c.reloptions, c.relacl::text, t.spcname, c.relowner::regrole::text,
      i.indisunique, i.indisprimary, i.indisvalid, i.indisready, i.indkey::text, i.indcollation::text, i.indclass::text,
      CASE WHEN c.relkind = 'i' THEN pg_get_indexdef(c.oid) END, n.conname, pg_get_constraintdef(n.oid), n.convalidated,
      obj_description(c.oid, 'pg_class'), obj_description(n.oid, 'pg_constraint'),
      (SELECT array_agg((attname, atttypid, attnotnull, nullif(attstattarget, -1), attacl)::text ORDER BY attnum)
        FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0),
      row_number() OVER (PARTITION BY c.relkind, c.relname = 'messages_by_type' ORDER BY c.oid)
    FROM pg_class c LEFT JOIN pg_index i ON i.indexrelid = c.oid LEFT JOIN pg_constraint n ON n.conindid = c.oid
      LEFT JOIN pg_tablespace t ON t.oid = c.reltablespace
    WHERE c.relnamespace = quote_ident(current_schema())::regnamespace AND c.relname ~ '^messages'
    ORDER BY c.relname
"""


@pytest.fixture
def catalog(connection: psycopg.Connection) -> Callable[[], list[Any]]:
    """What the catalog says of the messages and their indexes."""
    return lambda: connection.execute(_CATALOG).fetchall()


def _file_nodes(connection: psycopg.Connection) -> list[Any]:
    query = (
        "SELECT relname, relfilenode FROM pg_class WHERE oid IN ('messages_id'::regclass, 'messages_stream'::regclass)"
    )
    return sorted(connection.execute(query).fetchall())


def test_the_structure_is_as_before(
    import_lines: Import,
    catalog: Callable[[], list[Any]],
    connection: psycopg.Connection,
    store: PostgresStore,
    namespace: str,
) -> None:
    """Names, definitions, options, constraints, grants and the order of the indexes are those of a fresh namespace."""
    before, nodes = catalog(), _file_nodes(connection)
    assert len(before) == 7
    import_lines(lines(range(1, 3000)))
    assert catalog() == before
    assert _file_nodes(connection) != nodes
    assert [state.current for state in store.migration_status() if state.name == namespace] == [True]


def test_what_a_dba_has_added_is_kept(
    import_lines: Import, catalog: Callable[[], list[Any]], connection: psycopg.Connection
) -> None:
    """Comments, statistics targets, fill factors and indexes of one's own are there afterwards, and used."""
    connection.execute("COMMENT ON INDEX messages_stream IS 'it''s 100 % streams'")
    connection.execute("COMMENT ON INDEX messages_pkey IS 'all of them'")
    connection.execute("COMMENT ON CONSTRAINT messages_pkey ON messages IS 'the order'")
    connection.execute("ALTER INDEX messages_category ALTER COLUMN 1 SET STATISTICS 500")
    connection.execute("ALTER INDEX messages_id SET (fillfactor = 70)")
    connection.execute("ALTER INDEX messages_pkey SET (fillfactor = 100)")
    connection.execute("CREATE INDEX messages_by_type ON messages (type) WHERE position > 10")
    before = catalog()
    import_lines(lines(range(1, 3000)))
    assert catalog() == before
    connection.execute("SET enable_seqscan = off; SET enable_bitmapscan = off")
    plan = connection.execute("EXPLAIN SELECT FROM messages WHERE type = 'Deposited' AND position > 2000").fetchall()
    assert "messages_by_type" in str(plan)
    assert connection.execute("SELECT count(*) FROM messages WHERE position > 10").fetchone() == (2988,)


def test_a_refused_file_leaves_the_indexes_where_they_were(
    import_lines: Import, catalog: Callable[[], list[Any]], connection: psycopg.Connection
) -> None:
    """They come back with the transaction: the very same files."""
    before, nodes = catalog(), _file_nodes(connection)
    for fault in (line(3), b"nope", line(9000, data=b'"\\u0000"')):
        with pytest.raises(ImportRefused):
            import_lines(lines(range(1, 3000)) + fault)
    assert (catalog(), _file_nodes(connection)) == (before, nodes)


def test_the_planner_knows_what_was_loaded(
    import_lines: Import, catalog: Callable[[], list[Any]], connection: psycopg.Connection
) -> None:
    """Statistics of a large file are up to date when the import ends, but for its JSON, which autovacuum comes to.

    How closely somebody wants a column looked at stays as it was.
    """
    connection.execute("ALTER TABLE messages ALTER COLUMN data SET STATISTICS 50")
    before = catalog()
    import_lines(lines(range(1, 12_000)))
    assert catalog() == before
    known = connection.execute(
        "SELECT tablename || '.' || attname, n_distinct FROM pg_stats WHERE schemaname = current_schema()"
    ).fetchall()
    assert dict(known)["messages.stream_name"] == 1.0
    assert dict(known)["messages_category.category"] == 1.0
    assert not {"messages.data", "messages.metadata"} & {*dict(known)}


@pytest.mark.parametrize(
    ("prepare", "why"),
    [
        ("SELECT 1", "loading without indexes: the namespace is empty"),
        (
            "SELECT write_message(gen_random_uuid()::varchar, 'there-1', 'T', '{}')",
            "loading into the indexes: the namespace has messages",
        ),
        (
            "ALTER TABLE messages CLUSTER ON messages_stream",
            "loading into the indexes: an index of the table is marked",
        ),
        (
            "ALTER TABLE messages REPLICA IDENTITY USING INDEX messages_id",
            "loading into the indexes: an index of the table is marked",
        ),
        (
            "CREATE TABLE mine (at bigint REFERENCES messages)",
            "loading into the indexes: other objects depend on its indexes",
        ),
        (
            """
            CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
            CREATE TRIGGER emptied AFTER TRUNCATE ON messages EXECUTE FUNCTION nothing()
            """,
            "loading into the indexes: the table has a trigger for TRUNCATE",
        ),
    ],
    ids=["empty", "filled", "clustered", "replica identity", "foreign key", "trigger"],
)
def test_v_says_which_way_and_why(
    cli: Cli, connection: psycopg.Connection, catalog: Callable[[], list[Any]], prepare: str, why: str
) -> None:
    """What could not be put back as it was stays where it is, and the import takes the ordinary way."""
    connection.execute(prepare)
    before = catalog()
    done = cli("import", "-v", stdin=lines(range(1000, 3000))).ok()
    assert why in done.err
    assert catalog() == before
    assert connection.execute("SELECT count(*) FROM messages WHERE stream_name = 'account-1'").fetchone() == (2000,)
    assert why not in cli("import", stdin=line(5000)).ok().err


def test_a_published_table_is_not_truncated(cli: Cli, connection: psycopg.Connection, namespace: str) -> None:
    """Subscribers would be told to remove what they have."""
    connection.execute(
        sql.SQL("CREATE PUBLICATION {} FOR TABLE messages").format(sql.Identifier(f"{namespace}_published"))
    )
    assert "the table is published" in cli("import", "-v", stdin=lines([1, 2])).ok().err


def test_who_does_not_own_the_table_loads_into_the_indexes(
    cli: Cli, connection: psycopg.Connection, dsn: str, namespace: str
) -> None:
    """A role that was given just what an import needs can import; it can't drop indexes, and isn't asked to."""
    role = f"{namespace}_loader"
    names = {
        "role": sql.Identifier(role),
        "ns": sql.Identifier(namespace),
        "reader": sql.Identifier(f"{namespace}_reader"),
    }
    for statement in (
        "CREATE ROLE {role} LOGIN PASSWORD 'secret'",
        "GRANT {reader} TO {role}",
        "GRANT INSERT, UPDATE ON {ns}.messages TO {role}",
        "GRANT UPDATE ON {ns}.messages_global_position_seq TO {role}",
    ):
        connection.execute(sql.SQL(statement).format(**names))
    theirs = Cli(conninfo.make_conninfo(dsn, user=role, password="secret"), namespace)
    refused = theirs("import", "-v", stdin=lines(range(1, 2000)))
    assert refused.code == 1
    assert "PERMISSION_DENIED" in refused.err
    assert connection.execute("SELECT count(*) FROM messages").fetchone() == (0,)
    connection.execute(sql.SQL("GRANT INSERT ON {ns}.imports TO {role}").format(**names))
    assert "the role does not own the table" in theirs("import", "-v", stdin=lines(range(1, 2000))).ok().err
    assert connection.execute("SELECT count(*) FROM messages").fetchone() == (1999,)
    assert theirs("import", "--force", "--yes", stdin=lines([5])).code == 1
    assert cli("export").ok().stdout.count(b"\n") == 1999


def test_a_reader_is_not_waited_for(cli: Cli, dsn: str, namespace: str) -> None:
    """Where somebody is reading, the indexes stay, and neither waits for the other."""
    with psycopg.connect(dsn) as reader:
        reader.execute(sql.SQL("SELECT FROM {}.messages").format(sql.Identifier(namespace)))
        done = cli("import", "-v", stdin=lines(range(1, 2000))).ok()
        assert "somebody is reading the table" in done.err
        count = sql.SQL("SELECT count(*) FROM {}.messages").format(sql.Identifier(namespace))
        assert reader.execute(count).fetchone() == (1999,)


def test_who_has_seen_an_older_state_goes_on_seeing_it(import_lines: Import, dsn: str, namespace: str) -> None:
    """A snapshot that was taken before an import does not show its messages, though the table has a new file."""
    count = sql.SQL("SELECT count(*) FROM {}.messages").format(sql.Identifier(namespace))
    with psycopg.connect(dsn) as older:
        older.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        older.execute("SELECT txid_current_if_assigned(), count(*) FROM pg_class")
        import_lines(lines(range(1, 2000)))
        assert older.execute(count).fetchone() == (0,)
    with psycopg.connect(dsn) as newer:
        assert newer.execute(count).fetchone() == (1999,)


def test_other_namespaces_are_not_disturbed(
    store: PostgresStore, shared_store: PostgresStore, namespace: str, connection: psycopg.Connection
) -> None:
    """While the indexes are laid aside, all works in the namespace beside it: reads, writes, exports, imports."""
    beside = shared_store.in_namespace(shared_store.create_namespace(f"{namespace}_beside").name)

    def records() -> Any:
        for number, record in enumerate(ndjson.read(io.BytesIO(lines(range(1, 2000))))):
            if number == 1500:
                connection.execute("SET lock_timeout = '10ms'")
                with pytest.raises(psycopg.errors.LockNotAvailable):
                    connection.execute("SELECT FROM messages")
                beside.write_message(None, "a-1", "T", {})
                assert len(beside.get_all_messages()) == 1
                assert b"".join(block.lines for block in beside.export(Selection())).count(b"\n") == 1
                beside.import_batch(ndjson.read(io.BytesIO(line(10))))
            yield record

    store.import_batch(records())
    assert beside.last_position() == 10
    assert store.last_position() == 1999


# Which line is named


def _shuffled(count: int) -> list[bytes]:
    numbers = list(range(1, count + 1))
    random.Random(11).shuffle(numbers)
    return [line(n, data={"text": "x" * (n * 37 % 9000)}) for n in numbers]


@pytest.mark.parametrize("part", [1 << 24, 20_000], ids=["one part", "many parts"])
@pytest.mark.parametrize("plan", [ImportPlan(), ImportPlan(on_conflict=OnConflict.SKIP)], ids=["error", "skip"])
def test_the_first_fault_is_named_in_whatever_order_lines_come(
    store: PostgresStore, contents: Callable[[], Contents], monkeypatch: pytest.MonkeyPatch, part: int, plan: ImportPlan
) -> None:
    """Duplicates are found after the load, and still the first line that is at fault is told, whatever comes later."""
    monkeypatch.setattr(sending, "_PART_BYTES", part)
    before = contents()
    there = "00000007-0000-4000-8000-000000000000"
    good = [line(5000, id=there, stream="there-1", pos=7), *_shuffled(600)]
    faults = [
        ("POSITION_EXISTS", line(5000, id="ffffffff-0000-4000-8000-000000000000", stream="else-1")),
        ("ID_EXISTS", line(9001, id=there, stream="else-2")),
        ("STREAM_POSITION_EXISTS", line(9002, stream="there-1", pos=7)),
        ("INVALID_JSON", line(9003, stream="else-3", data=b"1e200000")),
        ("IMPORT_FAILED", line(9004, stream="".join(chr(0x4E00 + n * 7919 % 20000) for n in range(4000)) + "-1")),
        ("INVALID_TIME", line(9005, stream="else-5", time="now")),
    ]
    for seed in range(8):
        order = random.Random(seed).sample(faults, len(faults))
        places = sorted(random.Random(seed).sample(range(2, 600), len(faults)))
        content = list(good)
        for place, (_, fault) in zip(reversed(places), reversed(order), strict=True):
            content.insert(place, fault)
        with pytest.raises(ImportRefused) as caught:
            store.import_batch(ndjson.read(io.BytesIO(b"".join(content))), plan)
        assert (caught.value.code, caught.value.line) == (order[0][0], places[0] + 1), seed
        assert contents() == before


def test_a_part_is_sent_again_without_the_row_at_fault(
    store: PostgresStore, contents: Callable[[], Contents], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names with line breaks in them are counted as what they are, in whichever part they stand."""
    monkeypatch.setattr(sending, "_PART_BYTES", 5000)
    before = contents()
    odd = [line(n, stream=f"a\n\r\n{n}-\n1", type="x\ny", pos=0) for n in range(1, 300)]
    for clash, fault in ((5, 150), (140, 141), (260, 290)):
        again = line(1000, id="ffffffff-0000-4000-8000-000000000000", stream=f"a\n\r\n{clash}-\n1", pos=0)
        content = [*odd[:fault], line(2000, data=b"1e200000"), *odd[fault:]]
        with pytest.raises(ImportRefused) as caught:
            store.import_batch(ndjson.read(io.BytesIO(b"".join(content))))
        assert (caught.value.code, caught.value.line) == ("INVALID_JSON", fault + 1)
        content.insert(clash, again)
        with pytest.raises(ImportRefused) as caught:
            store.import_batch(ndjson.read(io.BytesIO(b"".join(content))))
        assert (caught.value.code, caught.value.line) == ("STREAM_POSITION_EXISTS", clash + 1)
    assert contents() == before


def test_without_temporary_tables_a_fault_is_still_a_refusal(empty_dsn: str) -> None:
    """A role that may not make them imports, is told of duplicates by line, and of a name too long as such."""
    with psycopg.connect(empty_dsn, autocommit=True) as admin:
        admin.execute("CREATE ROLE plain_owner LOGIN PASSWORD 'secret'")
        database = sql.Identifier(conninfo.conninfo_to_dict(empty_dsn)["dbname"])
        admin.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(database))
        admin.execute(sql.SQL("GRANT CONNECT, CREATE ON DATABASE {} TO plain_owner").format(database))
    name = "".join(chr(0x4E00 + n * 7919 % 20000) for n in range(4000)) + "-1"
    with PostgresStore(conninfo.make_conninfo(empty_dsn, user="plain_owner", password="secret")) as store:
        store.migrate()
        for content, code, at in (
            (lines([1, 2, 2]), "POSITION_EXISTS", 3),
            (lines([1, 2]) + line(3, stream=name), "IMPORT_FAILED", None),
            (lines([1, 2, 2]) + line(3, stream=name), "POSITION_EXISTS", 3),
        ):
            with pytest.raises(ImportRefused) as caught:
                store.import_batch(ndjson.read(io.BytesIO(content)))
            assert (caught.value.code, caught.value.line) == (code, at)
        assert store.import_batch(ndjson.read(io.BytesIO(lines([1, 2])))).imported == 2
        with pytest.raises(PermissionDenied, match="temporary"):
            store.import_batch(ndjson.read(io.BytesIO(lines([3]))), ImportPlan(on_conflict=OnConflict.SKIP))


# Waiting


def test_a_replacement_waits_for_readers_but_not_for_ever(
    store: PostgresStore, contents: Callable[[], Contents], dsn: str, namespace: str
) -> None:
    """Removing all rows needs readers to be gone: a lock timeout says who is in the way, and nothing is changed."""
    store.import_batch(ndjson.read(io.BytesIO(lines([1, 2]))))
    before = contents()
    with psycopg.connect(dsn) as reader:
        reader.execute(sql.SQL("SELECT FROM {}.messages").format(sql.Identifier(namespace)))
        impatient = PostgresStore(conninfo.make_conninfo(dsn, options="-c lock_timeout=200ms"), namespace)
        with impatient, pytest.raises(StoreTimeout):
            impatient.import_batch(ndjson.read(io.BytesIO(lines([7]))), ImportPlan(replace=True))
    assert contents() == before
    store.import_batch(ndjson.read(io.BytesIO(lines([7]))), ImportPlan(replace=True))
    assert [row[0] for row in contents()[0]] == [7]


@pytest.mark.parametrize("filled", [False, True], ids=["empty", "filled"])
def test_a_statement_timeout_leaves_all_as_it_was(
    store: PostgresStore,
    contents: Callable[[], Contents],
    catalog: Callable[[], list[Any]],
    dsn: str,
    namespace: str,
    filled: bool,
) -> None:
    """The server's own limit ends an import without blaming a line; the next one works."""
    if filled:
        store.import_batch(ndjson.read(io.BytesIO(line(1))))
    before = (contents(), catalog())
    with PostgresStore(conninfo.make_conninfo(dsn, options="-c statement_timeout=150ms"), namespace) as limited:

        def slow() -> Any:
            yield from ndjson.read(io.BytesIO(lines(range(10, 3000))))
            with psycopg.connect(dsn, autocommit=True) as clock:
                clock.execute("SELECT pg_sleep(0.4)")
            yield from ndjson.read(io.BytesIO(lines(range(3000, 6000))))

        with pytest.raises(StoreTimeout):
            limited.import_batch(slow())
    assert (contents(), catalog()) == before
    store.import_batch(ndjson.read(io.BytesIO(lines(range(10, 3000)))))


def test_skipping_keeps_writers_waiting_only_while_it_compares(
    store: PostgresStore, shared_store: PostgresStore, namespace: str
) -> None:
    """With --on-conflict skip the file is sent before the table is locked: a slow pipe keeps nobody waiting."""
    writer = shared_store.in_namespace(namespace)

    def slow() -> Any:
        yield from ndjson.read(io.BytesIO(lines(range(10, 3000))))
        writer.write_message(None, "meanwhile-1", "T", {})
        yield from ndjson.read(io.BytesIO(line(4000)))

    assert store.import_batch(slow(), ImportPlan(on_conflict=OnConflict.SKIP)).imported == 2991
    assert writer.write_message(None, "meanwhile-1", "T", {}) == 1
    assert store.last_position() == 4001


def test_no_import_leaves_a_temporary_file(cli: Cli, tmp_path: Path) -> None:
    """Everything that is needed on the way is the server's, and gone with the transaction."""
    (tmp_path / "in.ndjson").write_bytes(lines(range(1, 100)))
    for options in ([], ["--on-conflict", "skip"], ["--force", "--yes"], ["--dry-run", "--force"]):
        cli("import", "-i", tmp_path / "in.ndjson", *options).ok()
    assert [path.name for path in tmp_path.iterdir()] == ["in.ndjson"]
