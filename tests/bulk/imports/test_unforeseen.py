"""What no rule foresaw: the record that is to blame is found, and its batch is not lost."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from psycopg import conninfo

from evtool.errors import InvalidResource, PermissionDenied
from tests.bulk.imports.conftest import Shop, resource
from tests.cli.running import Cli

MANY = 50


def lines(*changed: tuple[int, str]) -> bytes:
    """A CSV of records 1 to 50, of which some have another value."""
    values = {number: str(number) for number in range(1, MANY + 1)} | dict(changed)
    return ("id,value\n" + "".join(f"{number},{value}\n" for number, value in values.items())).encode()


@pytest.mark.parametrize("batch", [1, 7, 1000])
def test_a_trigger_that_raises_costs_only_its_record(shop: Shop, batch: int) -> None:
    """The report has the SQLSTATE and what the trigger said; all others are in."""
    described = shop.table("id integer PRIMARY KEY, value integer")
    shop.run(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.value % 1000 = 0 THEN"
        " RAISE EXCEPTION 'no round numbers' USING ERRCODE = 'P4242'; END IF; RETURN NEW; END $$"
    )
    shop.run("CREATE TRIGGER t BEFORE INSERT ON things FOR EACH ROW EXECUTE FUNCTION refuse()")
    imported = shop.load(described, lines((13, "1000"), (14, "3000"), (50, "2000")), batch=batch)
    assert imported.codes == {14: ["refused_P4242"], 15: ["refused_P4242"], 51: ["refused_P4242"]}
    assert imported.rejects[0]["errors"][0]["message"] == "PostgreSQL refused the record (P4242): no round numbers"
    assert imported.rejects[0]["raw"] == "13,1000"
    assert imported.report.inserted == MANY - 3


@pytest.mark.parametrize("batch", [7, 1000])
def test_a_trigger_that_keeps_a_record_out_is_noticed(shop: Shop, batch: int) -> None:
    """A record that silently isn't inserted is not reported as accepted."""
    described = shop.table("id integer PRIMARY KEY, value integer")
    shop.run(
        "CREATE FUNCTION drop_it() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RETURN CASE WHEN NEW.value < 1000 THEN NEW END; END $$"
    )
    shop.run("CREATE TRIGGER t BEFORE INSERT ON things FOR EACH ROW EXECUTE FUNCTION drop_it()")
    assert shop.load(described, lines((7, "1000")), batch=batch).codes == {8: ["refused_09000"]}
    assert shop.rows("SELECT count(*) FROM things") == [(MANY - 1,)]


def test_a_trigger_finds_what_the_role_s_programs_find(shop: Shop) -> None:
    """Triggers, defaults and CHECKs that name tables without a schema work as they do for any other client of the role."""
    shop.run(
        "CREATE TABLE numbers (number integer); INSERT INTO numbers VALUES (7);"
        " CREATE FUNCTION number() RETURNS integer LANGUAGE plpgsql AS 'BEGIN RETURN (SELECT max(number) FROM numbers); END';"
        " CREATE FUNCTION count_it() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " INSERT INTO numbers VALUES (NEW.value + 100); RETURN NEW; END $$"
    )
    described = shop.table(f"id integer PRIMARY KEY, value integer, more integer DEFAULT {shop.schema}.number()")
    shop.run("CREATE TRIGGER t BEFORE INSERT ON things FOR EACH ROW EXECUTE FUNCTION count_it()")
    theirs = replace(shop, dsn=conninfo.make_conninfo(shop.dsn, options=f"-c search_path={shop.schema}"))
    assert theirs.load(described, b"id,value\n1,1\n2,x\n").codes == {3: ["invalid_value"]}
    assert shop.rows("SELECT * FROM things") == [(1, 1, 7)]
    assert shop.values("SELECT number FROM numbers ORDER BY 1") == [7, 101]


@pytest.mark.parametrize("batch", [1, 1000])
def test_a_policy_of_the_table_refuses_its_record(shop: Shop, batch: int) -> None:
    """With row-level security a record that no policy lets in is one reject, and one whose key is hidden a duplicate."""
    described = shop.table("id integer PRIMARY KEY, owner text")
    role = f"{shop.schema}_tenant"
    shop.run(
        f"CREATE ROLE {role} LOGIN PASSWORD 'x'; INSERT INTO things VALUES (5, 'you'); ALTER TABLE things ENABLE ROW LEVEL SECURITY;"
        f" CREATE POLICY p ON things USING (owner = 'me'); GRANT USAGE ON SCHEMA {shop.schema} TO {role};"
        f" GRANT ALL ON things TO {role}; GRANT ALL ON ALL TABLES IN SCHEMA evtool_bulk TO {role}"
    )
    tenant = replace(shop, dsn=conninfo.make_conninfo(shop.dsn, user=role, password="x"))
    content = b"id,owner\n1,me\n2,you\n5,me\n6,me\n6,me\n"
    assert tenant.load(described, content, batch=batch).codes == {
        3: ["refused_42501"], 4: ["duplicate_id"], 6: ["duplicate_id"]
    }  # fmt: skip
    imported = tenant.load(described, content, batch=batch, upsert=True)
    assert (imported.report.updated, imported.codes) == (3, {3: ["refused_42501"], 4: ["refused_42501"]})
    assert shop.rows("SELECT * FROM things ORDER BY id") == [(1, "me"), (5, "you"), (6, "me")]


@pytest.mark.thorough(but=["*-7"])
@pytest.mark.parametrize("batch", [1, 7, 1000])
@pytest.mark.parametrize(
    ("definition", "code"),
    [
        ("id integer PRIMARY KEY, value integer CHECK (value < 1000)", "invalid_value"),
        ("id integer PRIMARY KEY, value integer, CONSTRAINT small CHECK (value < id + 1000)", "violates_small"),
        ("id integer PRIMARY KEY, value integer CHECK (10 / (value - 1050) < 100)", "refused_22012"),
        ("id integer PRIMARY KEY, value integer, EXCLUDE USING btree ((value % 1049) WITH =)", "violates_things_expr_excl"),
        ("id integer PRIMARY KEY, value smallint", "invalid_value"),
        ("id integer PRIMARY KEY, value numeric(3,0)", "invalid_value"),
        ("id integer PRIMARY KEY, value varchar(3)", "value_too_long"),
        ("id integer PRIMARY KEY, value char(3)", "value_too_long"),
        ("id integer PRIMARY KEY, value integer, UNIQUE (value) DEFERRABLE INITIALLY DEFERRED", None),
    ],
)  # fmt: skip
def test_constraints_that_a_table_has(shop: Shop, definition: str, code: str | None, batch: int) -> None:
    """Every constraint of the catalog refuses its record, under the code that fits, and no other."""
    described = shop.table(definition)
    big = "70000" if "smallint" in definition else "1050"
    imported = shop.load(described, lines((30, big)), batch=batch)
    assert imported.codes == ({31: [code]} if code else {})


@pytest.mark.parametrize("batch", [3, 1000])
def test_indexes_over_a_part_or_an_expression(shop: Shop, batch: int) -> None:
    """A key that can't be foreseen is found by the server: the first holder has it."""
    described = shop.table("id integer PRIMARY KEY, value text")
    shop.run("CREATE UNIQUE INDEX once ON things (lower(value)) WHERE value <> 'any'")
    content = lines((3, "x"), (5, "X"), (7, "any"), (8, "any"), (49, "x"))
    assert shop.load(described, content, batch=batch).codes == {6: ["violates_once"], 50: ["violates_once"]}


def test_a_domain_has_its_say(shop: Shop) -> None:
    """A domain's check refuses what its base type takes."""
    shop.run(f"CREATE DOMAIN {shop.schema}.even AS integer CHECK (VALUE % 2 = 0)")
    described = shop.table(f"id integer PRIMARY KEY, value {shop.schema}.even")
    imported = shop.load(described, b"id,value\n1,2\n2,3\n3,x\n4,\n")
    assert imported.codes == {3: ["violates_even_check"], 4: ["invalid_value"]}


def test_types_without_a_grammar_of_their_own(shop: Shop) -> None:
    """Enums, intervals, addresses, bytes, times and ranges are read by PostgreSQL, without its leniencies at the edges."""
    shop.run(f"CREATE TYPE {shop.schema}.mood AS ENUM ('sad', 'ok')")
    described = shop.table(
        f"id integer PRIMARY KEY, m {shop.schema}.mood, i interval, a inet, b bytea, t time, r int4range, f float8, n integer[]"
    )
    good = 'id,m,i,a,b,t,r,f,n\n1,ok,1 day 02:00:00,10.0.0.1,\\xff00,23:59:59.5,"[1,5)",1.5e300,"[1,2]"\n'
    bad = '2,happy,1 dayz,10.0.0,ff,now,"[5,1)",1e400,"[1,""x""]"\n3, ok, 1 day,10.0.0.1 ,\\xf,24:00,,NaN,"{1,2}"\n'
    imported = shop.load(described, (good + bad).encode())
    every = [f"invalid_{name}" for name in "miabtrfn"]
    assert imported.codes == {3: every, 4: [one for one in every if one != "invalid_r"]}
    assert shop.rows("SELECT m::text, i::text, a::text, b, t::text, r::text, f, n FROM things") == [
        ("ok", "1 day 02:00:00", "10.0.0.1/32", b"\xff\0", "23:59:59.5", "[1,5)", 1.5e300, [1, 2])
    ]


def test_computed_columns_and_identities(shop: Shop) -> None:
    """What the database computes is passed over; an identity takes the file's number, or the next one."""
    described = shop.table(
        "id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, a integer, b integer GENERATED ALWAYS AS (a * 2) STORED"
    )
    assert shop.load(described, b"id,a,b\n7,1,999\n").codes == {}
    assert shop.load(described, b"a\n5\n").codes == {}
    assert shop.rows("SELECT id, a, b FROM things ORDER BY a") == [(7, 1, 2), (8, 5, 10)]


def test_hostile_names(shop: Shop) -> None:
    """Names with quotes, spaces, percent signs and braces are names."""
    name = 'od"d {table} %s'
    quoted = name.replace('"', '""')
    shop.run(
        f'CREATE TABLE {shop.schema}."{quoted}" ("k{{0}}" integer PRIMARY KEY, "a""b $$ %(x)s" text CHECK ("a""b $$ %(x)s" <> \'$$\'))'
    )
    from evtool.bulk.importing import described

    found = described(shop.dsn, f'"{quoted}"', schema=shop.schema)
    content = b'k{0},"a""b $$ %(x)s"\n1,fine\n2,$$\n1,again\n'
    assert shop.load(found, content).codes == {3: ['invalid_a"b $$ %(x)s'], 4: ["duplicate_k{0}"]}


def test_a_rule_that_is_no_sql_is_refused_before_any_record(shop: Shop) -> None:
    """A resource that doesn't work says so at once, and names what the server said."""
    shop.run("CREATE TABLE things (id integer PRIMARY KEY)")
    broken = resource(
        shop.schema, name="things", key=["id"], columns=[{"name": "id", "type": "integer"}],
        rules=[{"code": "c", "field": "id", "expression": "nosuch(id) > 0"}],
    )  # fmt: skip
    with pytest.raises(InvalidResource, match="nosuch"):
        shop.load(broken, b"id\n1\n")


def test_a_role_without_the_right_is_told_so(shop: Shop) -> None:
    """Who may not insert is refused as a whole, not record by record."""
    described = shop.table("id integer PRIMARY KEY")
    shop.run("CREATE ROLE bulk_reader LOGIN PASSWORD 'x'")
    shop.run(
        f"GRANT USAGE ON SCHEMA {shop.schema} TO bulk_reader; GRANT SELECT ON ALL TABLES IN SCHEMA {shop.schema} TO bulk_reader"
    )
    shop.run("GRANT ALL ON ALL TABLES IN SCHEMA evtool_bulk TO bulk_reader")
    reader = replace(shop, dsn=conninfo.make_conninfo(shop.dsn, user="bulk_reader", password="x"))
    with pytest.raises(PermissionDenied):
        reader.load(described, b"id\n1\n")
    shop.run(f"GRANT INSERT ON ALL TABLES IN SCHEMA {shop.schema} TO bulk_reader")
    assert reader.load(described, b"id\n1\n1\n").codes == {3: ["duplicate_id"]}
    shop.run("DROP OWNED BY bulk_reader; DROP ROLE bulk_reader")


@pytest.mark.parametrize(
    ("type_", "good", "bad"),
    [
        ("numeric(4,2)", ["99.99", "-99.994", "1e1", "0"], ["100", "-100.00", "99.995", "1e2", "123456789"]),
        ("numeric(3)", ["999", "-999.4"], ["1000", "999.5"]),
        ("numeric(2,-3)", ["99499"], ["99500"]),
        ("numeric(2,4)", ["0.0099"], ["0.01", "1"]),
        ("numeric", ["123456789012345678901234567890.5"], []),
    ],
)
def test_a_number_too_large_for_its_column_is_foreseen(shop: Shop, type_: str, good: list[str], bad: list[str]) -> None:
    """What PostgreSQL would refuse as an overflow is a fault of its field, beside others of the record."""
    shop.table(f"id integer PRIMARY KEY, n {type_}, q integer CHECK (q > 0)")
    rows = [f"{number},{value},{0 if value in bad else 1}" for number, value in enumerate([*good, *bad])]
    done = Cli(shop.dsn)(
        "bulk", "import", "--table", f"{shop.schema}.things", "-", "--format", "csv", "--report", "json",
        "--reject-file", shop.folder / "refused.ndjson", stdin="\n".join(["id,n,q", *rows]).encode(),
    )  # fmt: skip
    report = json.loads(done.out)
    assert report["inserted"] == len(good)
    assert report["by_code"] == ({"invalid_n": len(bad), "invalid_q": len(bad)} if bad else {})
    values = [
        error["value"]
        for line in (shop.folder / "refused.ndjson").read_text().splitlines()
        for error in json.loads(line)["errors"]
        if error["code"] == "invalid_n"
    ]
    assert values == bad
