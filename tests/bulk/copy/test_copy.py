"""Tables copied between two databases: in order, in one snapshot, all or nothing, and with a verdict."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from psycopg import conninfo

from evtool.bulk.copying import copy_tables
from evtool.bulk.selecting import Condition
from evtool.errors import EvtoolError, InvalidArgument, InvalidDsn, StoreError, WriteConflict
from tests.cli.running import Cli, assert_one_line

_TABLES = """
    CREATE TABLE customers (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, email text UNIQUE, boss int REFERENCES customers);
    CREATE TABLE orders (
        id serial PRIMARY KEY, customer_id int NOT NULL REFERENCES customers, total numeric(10,2) CHECK (total >= 0),
        doubled numeric GENERATED ALWAYS AS (total * 2) STORED);
    CREATE TABLE lines (order_id int REFERENCES orders, no int, text text, PRIMARY KEY (order_id, no));
"""
_ROWS = """
    INSERT INTO customers (id, email, boss) OVERRIDING SYSTEM VALUE VALUES (7, 'a@x', 9), (8, E'b\\t\\\\N\\n"@x', NULL), (9, NULL, 9);
    INSERT INTO orders (id, customer_id, total) VALUES (10, 7, 1.50), (11, 8, NULL), (20, 9, 0);
    INSERT INTO lines VALUES (10, 1, 'x'), (10, 2, ''), (20, 1, NULL);
"""
_ALL = ("lines", "orders", "customers")


@dataclass(frozen=True)
class Two:
    """Two databases: their DSNs, and a connection in autocommit to each."""

    source_dsn: str
    target_dsn: str
    source: psycopg.Connection
    target: psycopg.Connection

    def rows(self, connection: psycopg.Connection, table: str) -> list[str]:
        """All rows of a table, as text, in order."""
        return [row[0] for row in connection.execute(f"SELECT t::text FROM {table} AS t ORDER BY 1").fetchall()]

    def counts(self) -> list[int]:
        """How many rows the target's tables have."""
        return [len(self.rows(self.target, table)) for table in _ALL]

    def copy(self, *tables: str, where: tuple[str, ...] = ()) -> dict[str, int]:
        """Copies, and returns how many records of each table."""
        conditions = [Condition.parse(one) for one in where]
        return dict(copy_tables(self.source_dsn, self.target_dsn, tables, conditions).copied)


@pytest.fixture
def two(make_database: Callable[..., str]) -> Iterator[Two]:
    """Two databases without tables."""
    with ExitStack() as stack:
        dsns = make_database(), make_database()
        source, target = (stack.enter_context(psycopg.connect(dsn, autocommit=True)) for dsn in dsns)
        yield Two(*dsns, source, target)


@pytest.fixture
def shop(two: Two) -> Two:
    """The same tables in both; the source has rows."""
    two.source.execute(_TABLES + _ROWS)
    two.target.execute(_TABLES)
    return two


def test_everything_comes_over_parents_first(shop: Two) -> None:
    """Whatever order the tables are named in; a reference to the own table, nulls, odd text, and computed columns."""
    assert list(shop.copy(*_ALL).items()) == [("public.customers", 3), ("public.orders", 3), ("public.lines", 3)]
    for table in _ALL:
        assert shop.rows(shop.target, table) == shop.rows(shop.source, table)


def test_the_next_own_number_is_above_what_came(shop: Two) -> None:
    """Sequences of serial and identity columns move up, and never down."""
    shop.target.execute("SELECT setval('orders_id_seq', 1000)")
    shop.copy(*_ALL)
    assert shop.target.execute("INSERT INTO customers (email) VALUES ('new') RETURNING id").fetchone() == (10,)
    assert shop.target.execute("INSERT INTO orders (customer_id) VALUES (7) RETURNING id").fetchone() == (1001,)


def test_a_condition_keeps_records_of_one_table_behind(shop: Two) -> None:
    """Each condition names its table, with the schema or without."""
    where = ("customers.id=9", "public.orders.customer_id=9", "lines.order_id>=20")
    assert shop.copy(*_ALL, where=where) == {"public.customers": 1, "public.orders": 1, "public.lines": 1}
    assert shop.rows(shop.target, "orders") == ["(20,9,0.00,0.00)"]


@pytest.mark.parametrize(
    ("prepare", "tables", "where", "parts"),
    [
        ("INSERT INTO customers (email) VALUES ('a@x')", _ALL, (), ("public.customers", "customers_email_key")),
        ("", ("lines", "orders"), (), ("public.orders", "orders_customer_id_fkey", "public.customers")),
        ("", _ALL, ("orders.id=11",), ("public.lines", "lines_order_id_fkey", "public.orders")),
        ("ALTER TABLE orders ADD CHECK (total > 1)", _ALL, (), ("public.orders", "orders_total_check1")),
        ("ALTER TABLE lines ALTER text SET NOT NULL", _ALL, (), ("public.lines", "text")),
    ],
)
def test_a_clash_is_named_and_nothing_is_copied(
    shop: Two, prepare: str, tables: tuple[str, ...], where: tuple[str, ...], parts: tuple[str, ...]
) -> None:
    """A key that is taken, a parent that is missing, a constraint: table and constraint, no data, and no row is left."""
    if prepare:
        shop.target.execute(prepare)
    before = shop.counts()
    with pytest.raises(WriteConflict) as caught:
        shop.copy(*tables, where=where)
    for part in (*parts, "nothing was copied"):
        assert part in caught.value.message
    assert "@x" not in caught.value.message
    assert shop.counts() == before


def test_a_circle_that_can_not_wait_is_refused_and_one_that_can_is_copied(two: Two) -> None:
    """References in a circle need a deferrable constraint; the error shows the circle, and how to make one."""
    tables = """
        CREATE TABLE a (id int PRIMARY KEY, b_id int); CREATE TABLE b (id int PRIMARY KEY, a_id int NOT NULL REFERENCES a);
        ALTER TABLE a ADD CONSTRAINT a_b FOREIGN KEY (b_id) REFERENCES b
    """
    two.source.execute(tables + "; INSERT INTO a VALUES (1, NULL); INSERT INTO b VALUES (2, 1); UPDATE a SET b_id = 2")
    two.target.execute(tables)
    with pytest.raises(InvalidArgument, match=r"public\.a.*public\.b|public\.b.*public\.a") as caught:
        two.copy("a", "b")
    assert "DEFERRABLE" in (caught.value.hint or "")
    two.target.execute("ALTER TABLE a ALTER CONSTRAINT a_b DEFERRABLE")
    assert two.copy("a", "b") == {"public.a": 1, "public.b": 1}
    two.target.execute("TRUNCATE a, b")
    two.source.execute("ALTER TABLE a DROP CONSTRAINT a_b; UPDATE a SET b_id = 77")
    with pytest.raises(WriteConflict, match="a_b"):
        two.copy("a", "b")
    assert two.rows(two.target, "b") == []


@pytest.mark.parametrize(
    ("prepare", "part"),
    [
        ("DROP TABLE lines", "no table public.lines"),
        ("ALTER TABLE lines RENAME text TO words", 'no column "text"'),
        ("ALTER TABLE lines ALTER no TYPE bigint", "integer in the source and bigint in the target"),
        ("DROP TABLE lines; CREATE VIEW lines AS SELECT 1 AS order_id, 2 AS no, 'x'::text AS text", "no table"),
    ],
)
def test_a_target_that_differs_is_refused(shop: Two, prepare: str, part: str) -> None:
    """A missing table or column, or another type, is said before anything is sent."""
    shop.target.execute(prepare)
    with pytest.raises(InvalidArgument, match=part):
        shop.copy(*_ALL)
    assert shop.rows(shop.target, "customers") == []


@pytest.mark.parametrize(
    ("tables", "where"),
    [
        ((), ()),
        (("nosuch",), ()),
        (("orders",), ("customers.id=1",)),
        (("orders",), ("id=1",)),
        (("orders",), ("orders.x=1",)),
    ],
)
def test_what_can_not_be_meant_is_refused(shop: Two, tables: tuple[str, ...], where: tuple[str, ...]) -> None:
    """No table, an unknown one, and a condition on a table that isn't copied."""
    with pytest.raises(InvalidArgument):
        shop.copy(*tables, where=where)


def test_all_tables_are_of_one_moment(shop: Two) -> None:
    """An order that is committed while customers are copied is not half in the target."""
    seen: list[str] = []

    def write(table: str, _: int) -> None:
        if not seen:
            shop.source.execute("INSERT INTO orders (id, customer_id) VALUES (99, 7); INSERT INTO lines VALUES (99, 1)")
        seen.append(table)

    copy_tables(shop.source_dsn, shop.target_dsn, _ALL, progress=write)
    assert seen[0] == "public.customers"
    assert shop.counts() == [3, 3, 3]


def test_a_trigger_that_drops_records_is_found_out(shop: Two) -> None:
    """A copy that is not whole is no copy."""
    shop.target.execute("""
        CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
        CREATE TRIGGER no BEFORE INSERT ON orders FOR EACH ROW WHEN (NEW.id = 11) EXECUTE FUNCTION no()
    """)
    with pytest.raises(StoreError, match=r"of 3 records sent to public\.orders the target kept 2"):
        shop.copy("customers", "orders")
    assert shop.rows(shop.target, "customers") == []


def test_types_of_the_users_own_and_odd_names(two: Two) -> None:
    """Arrays of an enum, a composite, a domain, JSON as spelt, bytes, ranges; names that need quotes."""
    tables = """
        CREATE SCHEMA "My.Schema";
        CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE TYPE pair AS (a int, b text); CREATE DOMAIN small AS int CHECK (value < 9);
        CREATE TABLE "My.Schema"."Odd table" (
            "Id%" uuid PRIMARY KEY, moods mood[], p pair, s small, j json, b bytea, r tstzrange, f float8, "by" "char")
    """
    two.target.execute("CREATE TYPE first_number_is_another AS ENUM ('x'); " + tables)
    two.source.execute(tables)
    two.source.execute("""
        INSERT INTO "My.Schema"."Odd table" VALUES (gen_random_uuid(), '{ok,sad,NULL}', '(1,"a,\\"")', 3, '{ "a":1.0, "a":2 }',
            '\\x00ff0a', '[2025-01-01 00:00:00.000001+00,)', 0.1::float8 + 0.2, 'x'), (gen_random_uuid(), NULL, NULL, NULL, NULL, '', 'empty',
            'NaN', NULL)
    """)
    name = '"My.Schema"."Odd table"'
    assert two.copy(name) == {"My.Schema.Odd table": 2}
    assert two.rows(two.target, name) == two.rows(two.source, name)


def test_settings_of_either_side_change_nothing(shop: Two) -> None:
    """DateStyle and the like differ between the databases, and what arrives is what was there."""
    table = "CREATE TABLE t (id int PRIMARY KEY, at timestamptz, d date, f float8, i interval, b bytea)"
    shop.target.execute(table)
    shop.source.execute(table)
    shop.source.execute(
        "INSERT INTO t VALUES (1, '2025-03-02 01:02:03.000004+05', '2025-03-02', 1e23, '-1 mon +2 days 03:04:05', '\\x5c')"
    )
    odd = "-c datestyle=SQL,DMY -c timezone=Asia/Kolkata -c intervalstyle=sql_standard -c extra_float_digits=-3 -c bytea_output=escape"
    copy_tables(conninfo.make_conninfo(shop.source_dsn, options=odd), shop.target_dsn, ["t"])
    copied = shop.rows(shop.target, "t")
    shop.target.execute("TRUNCATE t")
    copy_tables(shop.source_dsn, conninfo.make_conninfo(shop.target_dsn, options=odd), ["t"])
    assert copied == shop.rows(shop.target, "t") == shop.rows(shop.source, "t")


def test_the_same_table_of_the_same_database_clashes(shop: Two) -> None:
    """It neither hangs nor doubles anything."""
    with pytest.raises(WriteConflict):
        copy_tables(shop.source_dsn, shop.source_dsn, ["customers"])
    assert len(shop.rows(shop.source, "customers")) == 3


def test_other_stores_are_refused(shop: Two, tmp_path: Path) -> None:
    """A copy goes from server to server."""
    for source, target in ((f"sqlite://{tmp_path}/x", shop.target_dsn), (shop.source_dsn, f"lmdb://{tmp_path}/x")):
        with pytest.raises(InvalidDsn):
            copy_tables(source, target, ["orders"])


def test_the_command_says_what_it_did(shop: Two) -> None:
    """Counts a table, exit code 4 for a clash, JSON events, and one line for an error."""
    cli = Cli(shop.target_dsn)
    command = ["bulk", "copy", "orders", "customers", "--from", shop.source_dsn]
    assert "6 records copied" in cli(*command).ok().err
    assert_one_line(cli(*command), 4, "CONFLICT", "nothing was copied", "public.customers")
    shop.target.execute("TRUNCATE customers CASCADE")
    events = [json.loads(line) for line in cli(*command, "--progress", "json").ok().err.splitlines()]
    assert events[-1]["copied"] == 6
    assert events[-1]["done"] is True


def test_a_source_that_goes_away_leaves_nothing(shop: Two) -> None:
    """The source's session is ended in the middle: an error, and the target is as before."""

    def end(_table: str, _: int) -> None:
        shop.source.execute(
            "SELECT pg_terminate_backend(pid, 30000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name = 'evtool'"
        )

    with pytest.raises(EvtoolError) as caught:
        copy_tables(shop.source_dsn, shop.target_dsn, _ALL, progress=end)
    assert caught.value.code == "STORE_UNREACHABLE"
    assert shop.counts() == [0, 0, 0]


@pytest.mark.parametrize(
    ("there", "here"),
    [
        ("numeric(10,4)", "numeric(10,1)"),
        ("numeric(10,4)", "numeric(11,6)"),
        ("numeric", "numeric(30,10)"),
        ("numeric(4,-2)", "numeric(4,0)"),
        ("timestamp(6)", "timestamp(0)"),
        ("timestamptz", "timestamptz(3)"),
        ("varchar(10)", "varchar(3)"),
        ("text", "varchar(3)"),
        ("char(3)", "char(4)"),
        ("varchar(5)[]", "varchar(3)[]"),
    ],
)
def test_a_column_that_would_change_values_is_refused(two: Two, there: str, here: str) -> None:
    """Nothing is rounded, cut or padded on the way, be it only where a value would need it."""
    two.source.execute(f"CREATE TABLE things (v {there}); INSERT INTO things VALUES (NULL)")
    two.target.execute(f"CREATE TABLE things (v {here})")
    with pytest.raises(InvalidArgument, match=r"in the source and .* in the target"):
        two.copy("things")


@pytest.mark.parametrize(
    ("there", "here"),
    [
        ("numeric(10,4)", "numeric"),
        ("numeric(10,4)", "numeric(12,5)"),
        ("numeric(3,-1)", "numeric(5,1)"),
        ("timestamp(3)", "timestamp(6)"),
        ("time(0) with time zone", "time(3) with time zone"),
        ("varchar(3)", "varchar(10)"),
        ("varchar(3)", "varchar"),
    ],
)
def test_a_column_that_holds_more_takes_all(two: Two, there: str, here: str) -> None:
    """A wider column of the same type keeps every value as it is."""
    value = {"n": "120.5", "t": "2024-01-01 10:00:00.123+00", "v": "abc"}[there[0]]
    value = "10:00:00+02" if there.startswith("time(") else value
    two.source.execute(f"CREATE TABLE things (v {there}); INSERT INTO things VALUES ('{value}')")
    two.target.execute(f"CREATE TABLE things (v {here})")
    assert two.copy("things") == {"public.things": 1}
    asked = "SELECT v::text FROM things"
    (before, after) = (str(one.execute(asked).fetchone()[0]) for one in (two.source, two.target))  # type: ignore[index]
    assert before == after or float(before) == float(after)


def test_a_tables_heirs_keep_their_records(two: Two) -> None:
    """What inherits from a table is another table: copied where it is named, and to where it is."""
    tables = "CREATE TABLE base (id int); CREATE TABLE heir () INHERITS (base);"
    two.source.execute(tables + "INSERT INTO base VALUES (1); INSERT INTO heir VALUES (2)")
    two.target.execute(tables)
    assert two.copy("base") == {"public.base": 1}
    assert two.rows(two.target, "base") == ["(1)"]
    assert two.copy("heir") == {"public.heir": 1}
    assert two.rows(two.target, "base") == ["(1)", "(2)"]
    assert two.target.execute("SELECT id FROM ONLY base").fetchall() == [(1,)]


def test_sequences_that_fall_go_on_below(two: Two) -> None:
    """A sequence is moved in its own direction."""
    table = "CREATE TABLE things (id int GENERATED BY DEFAULT AS IDENTITY (INCREMENT BY -1) PRIMARY KEY);"
    two.source.execute(table + "INSERT INTO things VALUES (-1), (-7)")
    two.target.execute(table)
    two.copy("things")
    assert two.target.execute("INSERT INTO things DEFAULT VALUES RETURNING id").fetchall() == [(-8,)]


def test_times_of_the_targets_triggers_are_its_own(two: Two) -> None:
    """In which zone a CHECK or a trigger of the target looks at a moment is the target's; the moment is the same."""
    two.source.execute("CREATE TABLE things (at timestamptz); INSERT INTO things VALUES ('2024-01-01T00:30:00Z')")
    two.target.execute("CREATE TABLE things (at timestamptz CHECK (extract(hour FROM at) = 9))")
    dsn = conninfo.make_conninfo(two.target_dsn, options="-c timezone=Asia/Tokyo")
    assert dict(copy_tables(two.source_dsn, dsn, ["things"]).copied) == {"public.things": 1}
    assert two.target.execute("SELECT at = '2024-01-01T00:30:00Z' FROM things").fetchall() == [(True,)]


@pytest.mark.parametrize("made", ["DOMAIN made AS numeric({})", "TYPE made AS (a numeric({}), b text)"])
@pytest.mark.parametrize("column", ["made", "made[]"])
def test_a_type_of_the_same_name_that_holds_less_is_refused(two: Two, made: str, column: str) -> None:
    """What a domain is made of, and a composite type's fields, are looked at as a column's own type is."""
    two.source.execute(f"CREATE {made.format('6,2')}; CREATE TABLE things (v {column})")
    two.target.execute(f"CREATE {made.format('4,1')}; CREATE TABLE things (v {column})")
    with pytest.raises(InvalidArgument, match=r"numeric\(6,2\).* in the source and .*numeric\(4,1\).* in the target"):
        two.copy("things")
    two.target.execute(f"DROP TABLE things; DROP {made.split(maxsplit=1)[0]} made")
    two.target.execute(f"CREATE {made.format('6,2')}; CREATE TABLE things (v {column})")
    assert two.copy("things") == {"public.things": 0}
