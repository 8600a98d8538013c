"""What `evtool doctor` finds: each finding provoked on a real server, mended by its cure or by --fix, and gone."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from psycopg import conninfo, sql

from evtool import embedded
from evtool.errors import NamespaceNotFound, NotAble
from evtool.findings import Diagnosis, Finding, Severity
from evtool.stores.postgres import PostgresStore
from evtool.stores.postgres.doctor import shapes
from evtool.testing.servers import DatabaseServer
from tests.cli.running import Cli
from tests.migration.adopting import adopt, message_db

HOSTILE = 'Straße "o\'neill"; -- %s {x} .a'
SCHEMAS = ["to_be_examined", HOSTILE]
# How careless the server of the tests is, is its own business.
OF_THE_SERVER = {"fsync", "full-page-writes", "synchronous-commit", "wal-level", "max-locks"}
# a hostile name takes as long as a plain one, and most tests of names are elsewhere
pytestmark = pytest.mark.thorough(but=["", "plain*", "sqlite", "lmdb"])
HOUR = timedelta(hours=1)
NOW = timedelta(0)


class Clinic:
    """A database with one namespace besides the default, and a doctor in it."""

    def __init__(self, dsn: str, admin: psycopg.Connection, schema: str) -> None:
        self.dsn, self.admin, self.schema = dsn, admin, schema
        self.store = PostgresStore(dsn)

    def run(self, text: str, **names: str) -> None:
        """Runs SQL with {ns} for the schema."""
        places = {name: sql.Identifier(value) for name, value in names.items()}
        self.admin.execute(sql.SQL(text).format(ns=sql.Identifier(self.schema), **places))

    def diagnose(self, name: str | None = None, busy: timedelta = HOUR) -> Diagnosis:
        return self.store.administration().diagnose(name, busy)

    def found(self, busy: timedelta = HOUR) -> dict[str, Finding]:
        """The findings by code, the server's own left out."""
        return {one.code: one for one in self.diagnose(busy=busy).findings if one.code not in OF_THE_SERVER}

    def only(self, code: str, busy: timedelta = HOUR) -> Finding:
        """The one finding that there is."""
        found = self.found(busy)
        assert set(found) == {code}, found
        return found[code]

    def fix(self) -> dict[str, str]:
        """Mends all, and says what was done."""
        mended = list(self.store.administration().mend(None))
        assert [one.error for one in mended if one.error] == []
        return {one.finding.code: one.done or "" for one in mended}

    def cure(self, finding: Finding) -> None:
        """Follows a cure of SQL."""
        for one in finding.cure.split(";\n"):
            self.admin.execute(one)

    def fill(self, messages: int = 20) -> None:
        store = self.store.in_namespace(self.schema)
        for number in range(messages):
            store.write_message(None, f"order-{number % 3}", "Placed", {"n": number})


@pytest.fixture(params=SCHEMAS, ids=["plain", "hostile"])
def clinic(request: pytest.FixtureRequest, empty_dsn: str, admin: psycopg.Connection) -> Iterator[Clinic]:
    """A healthy database; with a namespace of a plain name, and with one of a hostile name."""
    made = Clinic(empty_dsn, admin, request.param)
    made.store.migrate()
    made.store.create_namespace(request.param, request.param)
    made.fill()
    yield made
    for one in made.store.list_namespaces():
        made.store.delete_namespace(one.name)
    made.store.close()


def test_a_healthy_database_has_no_findings(clinic: Clinic) -> None:
    """Where nothing is wrong nothing is found, and everything could be looked at."""
    assert clinic.found(busy=NOW) == {}
    assert clinic.diagnose().unseen == ()
    assert clinic.fix() == {}


def test_examining_is_read_only(clinic: Clinic) -> None:
    """Examining works where nothing may be changed."""
    dsn = conninfo.make_conninfo(clinic.dsn, options="-c default_transaction_read_only=on")
    with PostgresStore(dsn) as store:
        diagnosis = store.administration().diagnose(None, HOUR)
    assert diagnosis.unseen == ()
    assert {one.code for one in diagnosis.findings} - OF_THE_SERVER == {"default-transaction-read-only"}


def test_the_shipped_shape_is_that_of_a_fresh_namespace(clinic: Clinic) -> None:
    """What a fresh namespace and the registry are made of is exactly what sql/doctor says first of each part."""
    for scope, schema in (("namespace", clinic.schema), ("registry", "evtool")):
        clinic.admin.execute("SET search_path = pg_catalog, pg_temp")
        found = {key: part.definition for key, part in shapes.read(clinic.admin, schema).items()}
        assert found == {key: texts[0] for key, texts in shapes.expected(scope).items() if texts[0]}


def test_an_adopted_store_is_healthy(empty_dsn: str) -> None:
    """A store of Message DB's that was adopted has no findings, and its index by bytes is missed when it is gone."""
    with message_db(empty_dsn) as session:
        adopt(empty_dsn)
        clinic = Clinic(empty_dsn, session, "message_store")
        assert clinic.found() == {}
        clinic.run("DROP INDEX {ns}.messages_stream_bytes")
        assert "messages_stream_bytes" in clinic.only("missing-index").what
        assert set(clinic.fix()) == {"missing-index"}
        assert clinic.found() == {}
        clinic.store.delete_namespace("message_store")
        clinic.store.close()


@pytest.mark.parametrize("by_hand", [True, False], ids=["cure", "fix"])
def test_a_sequence_that_is_behind(clinic: Clinic, by_hand: bool) -> None:
    """A sequence behind the greatest position is found, and moved up by its cure or --fix, so that writes succeed."""
    clinic.run("ALTER SEQUENCE {ns}.messages_global_position_seq RESTART 3")
    found = clinic.only("sequence-behind")
    assert found.namespace == clinic.schema
    assert (found.severity, found.fixable) == (Severity.PROBLEM, True)
    if by_hand:
        clinic.cure(found)
    else:
        assert clinic.fix() == {"sequence-behind": "the sequence is at 20"}
    assert clinic.found() == {}
    clinic.fill(1)
    assert clinic.store.in_namespace(clinic.schema).last_position() == 21


def test_deleted_messages_leave_holes(clinic: Clinic) -> None:
    """A hole that no import explains is a warning with the stream's name."""
    clinic.run("DELETE FROM {ns}.messages WHERE stream_name = 'order-1' AND position IN (0, 2, 3)")
    found = clinic.only("stream-holes")
    assert found.severity == Severity.WARNING
    assert "1 streams have holes in their positions, 3 messages in all" in found.what
    assert '"order-1"' in found.what


def test_a_sparse_import_is_told_apart(clinic: Clinic, tmp_path: Path) -> None:
    """Holes that an import left are a note; a message deleted besides is still a warning, with that stream alone."""
    file = tmp_path / "sparse.ndjson"
    line = {"stream": "cart-9", "type": "T", "data": {}, "meta": None, "time": "2025-07-15T10:00:00.000000Z"}
    lines = [{"id": str(uuid.uuid4()), **line, "pos": position, "gpos": 100 + position} for position in (3, 4, 9)]
    file.write_text("".join(json.dumps(one) + "\n" for one in lines))
    Cli(clinic.dsn, clinic.schema)("import", "-i", file).ok()
    found = clinic.only("sparse-import")
    assert found.severity == Severity.NOTE
    assert "1 streams have holes in their positions, 7 messages in all" in found.what
    assert not Diagnosis((found,)).wrong
    clinic.run("DELETE FROM {ns}.messages WHERE stream_name = 'order-2' AND position = 1")
    found_now = clinic.found()
    assert set(found_now) == {"sparse-import", "stream-holes"}
    assert '"order-2"' in found_now["stream-holes"].what


CHANGES = {
    "changed": "CREATE OR REPLACE FUNCTION {ns}.id(stream_name varchar) RETURNS varchar LANGUAGE sql IMMUTABLE RETURN 'x'",
    "dropped": "DROP FUNCTION {ns}.list_streams",
    "view": "CREATE OR REPLACE VIEW {ns}.type_summary AS"
    " SELECT type, 1::bigint AS message_count, 1::numeric AS percent FROM {ns}.messages LIMIT 0",
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_function_changed_by_hand(clinic: Clinic, change: str) -> None:
    """A function or view that was changed or dropped by hand is found, and replaced."""
    clinic.run(CHANGES[change])
    assert clinic.only("functions-changed").fixable
    assert set(clinic.fix()) == {"functions-changed"}
    assert clinic.found() == {}


def test_a_row_of_functions_that_is_missing(clinic: Clinic) -> None:
    """A namespace whose functions are on no record gets them anew."""
    clinic.admin.execute("DELETE FROM evtool.behaviours WHERE schema_name = %s", (clinic.schema,))
    assert clinic.only("functions-missing").severity == Severity.PROBLEM
    clinic.fix()
    assert clinic.found() == {}


def test_functions_of_another_version(clinic: Clinic) -> None:
    """Functions that another version installed are found and replaced; those of a newer one are left alone."""
    update = "UPDATE evtool.behaviours SET checksum = 'x', evtool_version = %s WHERE schema_name = %s"
    clinic.admin.execute(update, ("999.0", clinic.schema))
    assert not clinic.only("too-new").fixable
    assert clinic.fix() == {}
    clinic.admin.execute(update, ("0.0.1", clinic.schema))
    assert clinic.only("functions-outdated").severity == Severity.WARNING
    clinic.fix()
    assert clinic.found() == {}


INDEXES = ["messages_id", "messages_stream", "messages_category", "messages_time", "imports_fingerprint"]


@pytest.mark.parametrize("by_hand", [True, False], ids=["cure", "fix"])
def test_missing_indexes(clinic: Clinic, by_hand: bool) -> None:
    """Each index that is missing is found, and built as it was."""
    for index in INDEXES:
        clinic.run("DROP INDEX {ns}.{index}", index=index)
    clinic.run("ALTER TABLE {ns}.messages DROP CONSTRAINT messages_pkey")
    missing = [one for one in clinic.diagnose().findings if one.code == "missing-index"]
    assert len(missing) == len(INDEXES) + 1
    if by_hand:
        for one in missing:
            clinic.cure(one)
    else:
        clinic.fix()
    assert clinic.found() == {}


def test_an_invalid_index(clinic: Clinic) -> None:
    """What a failed concurrent build left is found: an index of ours is rebuilt, a left-over is dropped."""
    clinic.run("DROP INDEX {ns}.messages_id")
    clinic.run("UPDATE {ns}.messages SET id = (SELECT min(id::text)::uuid FROM {ns}.messages) WHERE position = 0")
    with pytest.raises(psycopg.errors.UniqueViolation):
        clinic.run("CREATE UNIQUE INDEX CONCURRENTLY messages_id ON {ns}.messages (id)")
    assert clinic.only("invalid-index").severity == Severity.PROBLEM
    # it can't be rebuilt yet, and that is told; PostgreSQL leaves one more
    failed = list(clinic.store.administration().mend(None))
    assert [one.done for one in failed] == [None]
    assert "messages_id" in (failed[0].error or "")
    clinic.run("UPDATE {ns}.messages SET id = gen_random_uuid() WHERE position = 0")
    assert [one.code for one in clinic.diagnose().findings if one.code not in OF_THE_SERVER] == ["invalid-index"] * 2
    clinic.fix()
    assert clinic.found() == {}


def test_an_index_of_another_definition(clinic: Clinic) -> None:
    """An index with our name and another definition is found, and mended by its cure only."""
    clinic.run("DROP INDEX {ns}.messages_time")
    clinic.run("CREATE INDEX messages_time ON {ns}.messages (time)")
    found = clinic.only("index-drift")
    assert not found.fixable
    clinic.cure(found)
    assert clinic.found() == {}


DRIFTS = {
    "column-drift": (
        "ALTER TABLE {ns}.messages ALTER type DROP NOT NULL",
        "ALTER TABLE {ns}.messages ALTER type SET NOT NULL",
    ),
    "sequence-drift": (
        "ALTER SEQUENCE {ns}.messages_global_position_seq CACHE 10",
        "ALTER SEQUENCE {ns}.messages_global_position_seq CACHE 1",
    ),
    "table-drift": ("ALTER TABLE {ns}.messages SET UNLOGGED", "ALTER TABLE {ns}.messages SET LOGGED"),
    "foreign-column": ("ALTER TABLE {ns}.messages ADD note text", "ALTER TABLE {ns}.messages DROP note"),
    "foreign-index": ("CREATE INDEX mine ON {ns}.messages (type)", "DROP INDEX {ns}.mine"),
    "foreign-table": ("CREATE TABLE {ns}.mine ()", "DROP TABLE {ns}.mine"),
    "foreign-constraint": (
        "ALTER TABLE {ns}.messages ADD CONSTRAINT mine CHECK (type <> '')",
        "ALTER TABLE {ns}.messages DROP CONSTRAINT mine",
    ),
    "foreign-rule": (
        "CREATE RULE mine AS ON INSERT TO {ns}.messages DO INSTEAD NOTHING",
        "DROP RULE mine ON {ns}.messages",
    ),
    "foreign-trigger": (
        "CREATE TRIGGER mine BEFORE UPDATE ON {ns}.messages EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        "DROP TRIGGER mine ON {ns}.messages",
    ),
}


def test_a_sequence_that_ends_early(clinic: Clinic) -> None:
    """A sequence that has fewer positions to give than a bigint has is found."""
    clinic.run("ALTER SEQUENCE {ns}.messages_global_position_seq MAXVALUE 1000000")
    assert "from 1 to 1000000" in clinic.only("sequence-drift").what
    clinic.run("ALTER SEQUENCE {ns}.messages_global_position_seq NO MAXVALUE")
    assert clinic.found() == {}


@pytest.mark.parametrize("by_hand", [True, False], ids=["cure", "fix"])
@pytest.mark.parametrize("part", ["FUNCTION {ns}.write_message", "VIEW {ns}.stream_summary"])
def test_an_owner_who_may_not(clinic: Clinic, part: str, by_hand: bool) -> None:
    """What runs with its owner's rights, and whose owner has none on the table, is given to the table's."""
    role = f"it's {uuid.uuid4().hex}"
    clinic.run("CREATE ROLE {role}", role=role)
    clinic.run(f"ALTER {part} OWNER TO {{role}}", role=role)
    found = clinic.only("owner-drift")
    assert found.fixable
    if by_hand:
        clinic.cure(found)
    else:
        clinic.fix()
    assert clinic.found() == {}
    clinic.run("DROP ROLE {role}", role=role)


WIDE = {
    "can log in": "ALTER ROLE {writer} LOGIN",
    "is privileged": "ALTER ROLE {writer} CREATEROLE",
    "is a writer": "GRANT {writer} TO {reader}",
}


@pytest.mark.parametrize("what", WIDE)
def test_a_group_that_can_do_more_than_a_group(clinic: Clinic, what: str) -> None:
    """A group that logs in, has a privilege of its own, or reads and writes is found, and the DBA's to change."""
    clinic.run(WIDE[what], writer=_role(clinic, "writer"), reader=_role(clinic, "reader"))
    found = clinic.only("wide-role")
    assert what in found.what
    assert not found.fixable
    clinic.cure(found)
    assert clinic.found() == {}


@pytest.mark.parametrize("function", ["fingerprint(text)", "role_name(text, text)"])
def test_a_function_of_the_registry_that_is_missing(clinic: Clinic, function: str) -> None:
    """One without which nothing can be told of the others is a problem, and not just something that wasn't looked at."""
    clinic.run(f"DROP FUNCTION evtool.{function} CASCADE")
    codes = {one.code: one for one in clinic.diagnose().findings}
    assert codes["functions-missing"].severity == Severity.PROBLEM
    assert codes["functions-missing"].namespace is None
    clinic.fix()
    assert clinic.found() == {}


@pytest.mark.parametrize("code", DRIFTS)
def test_a_structure_changed_by_hand(clinic: Clinic, code: str) -> None:
    """What was changed or added by hand is found by its name, and gone when it is changed back."""
    change, back = DRIFTS[code]
    clinic.run(change)
    found = clinic.found()
    # the privileges of a table of somebody's are evtool's to give, since it is in the namespace
    assert set(found) - {"missing-grant"} == {code}
    assert not found[code].fixable
    clinic.run(back)
    assert clinic.found() == {}


def test_a_column_that_is_missing(clinic: Clinic) -> None:
    """A column that was dropped is found, and nothing of it is mended by itself."""
    clinic.run("ALTER TABLE {ns}.imports DROP COLUMN skipped")
    assert "imports.skipped" in clinic.only("column-drift").what
    assert clinic.fix() == {}


GRANTS = {
    "public-grant": "GRANT SELECT ON {ns}.messages TO PUBLIC",
    "wide-grant": "GRANT INSERT ON {ns}.messages TO {writer}",
    "missing-grant": "REVOKE EXECUTE ON FUNCTION {ns}.write_messages FROM {writer}",
}


@pytest.mark.parametrize("by_hand", [True, False], ids=["cure", "fix"])
@pytest.mark.parametrize("code", GRANTS)
def test_grants_that_differ(clinic: Clinic, code: str, by_hand: bool) -> None:
    """A privilege of everybody's, one too many of a group and one that is missing are found, and given as they should be."""
    clinic.run(GRANTS[code], writer=_role(clinic, "writer"))
    found = clinic.only(code)
    assert found.severity == Severity.PROBLEM
    if by_hand:
        clinic.cure(found)
    else:
        assert set(clinic.fix()) == {code}
    assert clinic.found() == {}


def test_a_role_that_writes_around_the_functions(clinic: Clinic) -> None:
    """Direct writes of a role, by table, column or sequence, are found with the REVOKE, which --fix leaves to the DBA."""
    role = f"it's {uuid.uuid4().hex}"
    clinic.run("CREATE ROLE {role}", role=role)
    clinic.run("GRANT INSERT, SELECT ON {ns}.messages TO {role}", role=role)
    clinic.run("GRANT UPDATE ON {ns}.messages_global_position_seq TO {role}", role=role)
    clinic.run("GRANT UPDATE (source) ON {ns}.imports TO {role}", role=role)
    those = [one for one in clinic.diagnose().findings if one.code == "direct-write"]
    assert len(those) == 3
    assert clinic.fix() == {}
    for one in those:
        clinic.cure(one)
    assert clinic.found() == {}
    clinic.run("DROP OWNED BY {role}", role=role)
    clinic.run("DROP ROLE {role}", role=role)


def test_a_group_that_is_missing(clinic: Clinic) -> None:
    """A namespace without its group roles is found, and gets them."""
    clinic.run("DROP OWNED BY {role}", role=_role(clinic, "reader"))
    clinic.run("DROP ROLE {role}", role=_role(clinic, "reader"))
    assert clinic.only("missing-role").fixable
    clinic.fix()
    assert clinic.found() == {}


def _role(clinic: Clinic, kind: str) -> str:
    row = clinic.admin.execute("SELECT evtool.role_name(%s, %s)", (clinic.schema, kind)).fetchone()
    assert row is not None
    return str(row[0])


def test_what_the_registry_lacks(clinic: Clinic) -> None:
    """A namespace's schema without a row, and a row of functions without a namespace, are found and mended."""
    clinic.admin.execute("DELETE FROM evtool.namespaces WHERE schema_name = %s", (clinic.schema,))
    found = clinic.found()
    assert set(found) == {"orphan-schema", "orphan-row"}
    assert found["orphan-row"].fixable
    adopt(clinic.dsn, clinic.schema)
    assert clinic.found() == {}
    clinic.admin.execute("INSERT INTO evtool.behaviours VALUES ('gone; %s', '', '', '0.1.0')")
    assert clinic.only("orphan-row").severity == Severity.NOTE
    clinic.fix()
    assert clinic.found() == {}


def test_a_schema_that_is_gone(clinic: Clinic) -> None:
    """A namespace whose schema was dropped is a problem, and the others are examined."""
    clinic.run("DROP SCHEMA {ns} CASCADE")
    clinic.admin.execute("GRANT SELECT ON message_store.messages TO PUBLIC")
    found = clinic.found()
    assert set(found) == {"schema-gone", "public-grant"}
    assert not found["schema-gone"].fixable
    clinic.fix()
    assert set(clinic.found()) == {"schema-gone"}


def test_a_structure_that_is_behind(clinic: Clinic) -> None:
    """A namespace of an older structure is told to be migrated, and not changed by --fix."""
    clinic.run(
        "DROP TABLE {ns}.imports; DROP INDEX {ns}.messages_time; UPDATE {ns}.evtool_version SET version_num = '0001'"
    )
    clinic.run("ALTER TABLE {ns}.messages RESET (autovacuum_vacuum_insert_scale_factor)")
    assert "0002" in clinic.only("structure-behind").what
    assert clinic.fix() == {}
    clinic.store.migrate()
    assert clinic.found() == {}


def test_a_plan_that_goes_past_its_index(clinic: Clinic) -> None:
    """A read whose index is gone is told besides the index, and both are well when it is built again."""
    for index, read in (("messages_category", "a category"), ("messages_stream", "a stream")):
        clinic.run("DROP INDEX {ns}.{index}", index=index)
        found = clinic.found()
        assert set(found) == {"missing-index", "plan-without-index"}
        assert index in found["plan-without-index"].what
        assert read in found["plan-without-index"].what
        clinic.fix()
        assert clinic.found() == {}


def test_planner_settings(clinic: Clinic) -> None:
    """Where the planner is told not to use indexes, the settings are told, with what takes them back."""
    name = clinic.admin.info.dbname
    for setting in ("enable_indexscan", "enable_bitmapscan"):
        clinic.run("ALTER DATABASE {db} SET {setting} = off", db=name, setting=setting)
    # PostgreSQL 15 goes past the indexes then, 18 prefers them to a sort nevertheless
    found_now = clinic.found()
    assert set(found_now) - {"plan-without-index"} == {"planner-settings"}
    found = found_now["planner-settings"]
    assert found.what.startswith("enable_bitmapscan, enable_indexscan: ")
    for cure in found.cure.split("; ")[::2]:
        clinic.admin.execute(cure)
    assert clinic.found() == {}


def test_settings_that_keep_clients_out(clinic: Clinic) -> None:
    """Another isolation level, and a condition that is allowed, are told with the statement that takes them back."""
    name = clinic.admin.info.dbname
    clinic.run("ALTER DATABASE {db} SET default_transaction_isolation = 'serializable'", db=name)
    clinic.run("ALTER DATABASE {db} SET message_store.sql_condition = 'on'", db=name)
    found = clinic.found()
    assert {code: one.severity for code, one in found.items()} == {
        "isolation": Severity.WARNING,
        "message-store.sql-condition": Severity.NOTE,
    }
    for one in found.values():
        clinic.admin.execute(one.cure.split(";")[0])
    assert clinic.found() == {}


def test_a_table_that_vacuum_neglects(clinic: Clinic) -> None:
    """A table without autovacuum, unvacuumed, with dead rows and with another scale factor is found, and vacuumed."""
    clinic.run("ALTER TABLE {ns}.messages SET (autovacuum_enabled = off, autovacuum_vacuum_insert_scale_factor = 0.3)")
    clinic.run(
        "INSERT INTO {ns}.messages (stream_name, position, type, data)"
        " SELECT 'many-1', n, 'T', to_jsonb(repeat('x', 300)) FROM generate_series(0, 29999) AS n"
    )
    clinic.run("DELETE FROM {ns}.messages WHERE stream_name = 'many-1' AND position > 14999")
    clinic.admin.execute("SELECT pg_stat_force_next_flush()")
    assert set(clinic.found()) == {"autovacuum-off", "insert-scale-factor", "not-vacuumed", "bloat"}
    assert "VACUUM (ANALYZE)" in clinic.fix()["bloat"]
    assert clinic.found() == {}


def test_busy_transactions(clinic: Clinic) -> None:
    """A writer that holds up gap-safe reads is told with its pid and its namespace, and another one as open."""
    with psycopg.connect(clinic.dsn) as busy:
        busy.execute("SELECT 1")
        assert clinic.only("long-transaction", NOW).severity == Severity.NOTE
        assert clinic.found(HOUR) == {}
        busy.execute(sql.SQL("LOCK TABLE {}.messages IN ROW EXCLUSIVE MODE").format(sql.Identifier(clinic.schema)))
        found = clinic.only("busy-writer", NOW)
        assert str(busy.info.backend_pid) in found.what
        assert clinic.schema in found.what
        clinic.cure(found)
        with pytest.raises(psycopg.OperationalError):
            busy.execute("SELECT 1")
    assert clinic.found(NOW) == {}


def test_one_namespace_alone(clinic: Clinic) -> None:
    """With a name only that namespace is examined and mended; a name that isn't there is an error."""
    clinic.admin.execute("GRANT SELECT ON message_store.messages TO PUBLIC")
    clinic.run("GRANT SELECT ON {ns}.messages TO PUBLIC")
    administration = clinic.store.administration()
    names = {one.namespace for one in administration.diagnose(clinic.schema, HOUR).findings if one.namespace}
    assert names == {clinic.schema}
    assert len(list(administration.mend(clinic.schema))) == 1
    assert clinic.only("public-grant").namespace == "message_store"
    with pytest.raises(NamespaceNotFound):
        clinic.diagnose("nobody's")


def test_who_may_not_see_is_told(clinic: Clinic, as_role: Callable[[str, str], str]) -> None:
    """A reader is told what he may not look at, sees the rest, and mends nothing."""
    clinic.run("DELETE FROM {ns}.messages WHERE stream_name = 'order-1' AND position = 0")
    role = f"reader_{uuid.uuid4().hex}"
    clinic.run("CREATE ROLE {role} LOGIN", role=role)
    clinic.store.administration().grant(clinic.schema, role, "read")
    with PostgresStore(as_role(clinic.dsn, role)) as store:
        diagnosis = store.administration().diagnose(clinic.schema, HOUR)
        assert list(store.administration().mend(clinic.schema)) == []
    assert "stream-holes" in {one.code for one in diagnosis.findings}
    told = "\n".join(diagnosis.unseen)
    assert "which functions are installed: permission denied" in told
    assert "privileges: permission denied" in told
    assert "GRANT pg_monitor TO" in told
    clinic.run("DROP ROLE {role}", role=role)


def test_the_command(clinic: Clinic) -> None:
    """The command exits with 4 where something is wrong; --fix says what it did; JSON has the same fields."""
    cli = Cli(clinic.dsn)
    clinic.run("GRANT SELECT ON {ns}.messages TO PUBLIC")
    done = cli("doctor", "-n", clinic.schema)
    assert done.code == 4
    assert "problem  public-grant" in done.out
    assert "cure: SELECT evtool.grant_namespace(" in done.out
    assert "--fix" in done.err
    told = json.loads(cli("doctor", "--json", "--fix").out)
    assert [one["finding"]["code"] for one in told["mended"]] == ["public-grant"]
    assert {one["code"] for one in told["findings"]} <= OF_THE_SERVER
    assert told["unseen"] == []


@pytest.mark.parametrize("kind", ["sqlite", "lmdb"])
def test_stores_without_a_doctor_say_so(kind: str, tmp_path: Path) -> None:
    """A store of files refuses by name."""
    done = Cli(f"{kind}://{tmp_path}")("doctor")
    assert done.code == 2
    assert NotAble.code in done.err
    assert "doctor" in done.err


@pytest.fixture(scope="module")
def careless() -> Iterator[str]:
    """A server that would lose messages."""
    parameters = {
        "fsync": "off",
        "full_page_writes": "off",
        "synchronous_commit": "off",
        "autovacuum": "off",
        "track_counts": "off",
        "wal_level": "minimal",
        "max_wal_senders": "0",
        "max_prepared_transactions": "1",
        "max_locks_per_transaction": "10",
    }
    with ExitStack() as stack:
        server = stack.enter_context(embedded.temporary(parameters=parameters, max_connections=5))
        with PostgresStore(server.dsn) as store:
            store.migrate()
            for number in range(6):
                store.create_namespace(f"n{number}")
        yield server.dsn


def test_a_careless_server(careless: str) -> None:
    """Each setting that loses messages, or makes a backup fail, is told with its severity, and the exit code is 4."""
    with PostgresStore(careless) as store:
        found = {one.code: one.severity for one in store.administration().diagnose(None, HOUR).findings}
    assert found == {
        "fsync": Severity.PROBLEM,
        "full-page-writes": Severity.PROBLEM,
        "synchronous-commit": Severity.WARNING,
        "autovacuum": Severity.WARNING,
        "track-counts": Severity.WARNING,
        "wal-level": Severity.NOTE,
        "max-locks": Severity.WARNING,
    }
    assert Cli(careless)("doctor").code == 4


def test_a_prepared_transaction(careless: str) -> None:
    """A prepared transaction that holds up gap-safe reads is told by its name."""
    with psycopg.connect(careless) as session:
        session.execute("LOCK TABLE n1.messages IN ROW EXCLUSIVE MODE")
        session.execute("PREPARE TRANSACTION 'it''s left'")
    with PostgresStore(careless) as store:
        (found,) = (one for one in store.administration().diagnose(None, NOW).findings if one.code == "busy-writer")
    assert '"it\'s left" writes to n1' in found.what
    with psycopg.connect(careless, autocommit=True) as session:
        session.execute(found.cure.split(";")[0])


def test_a_sound_server_and_database_have_no_findings(server: DatabaseServer) -> None:
    """With PostgreSQL's own defaults there is nothing to tell, and the command says so with exit code 0."""
    assert server.version
    parameters = {"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on", "wal_level": "replica"}
    with embedded.temporary(parameters=parameters) as sound:
        with PostgresStore(sound.dsn) as store:
            store.migrate()
        done = Cli(sound.dsn)("doctor").ok()
    assert done.out == "Nothing is wrong.\n"
