"""Records that go straight into their table: the outcome is the one of looking at each of them in turn."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import sql

from evtool.bulk.importing import import_files
from evtool.bulk.loading import Loader
from evtool.bulk.resource import Resource, Rule, find
from evtool.bulk.rows import Rows
from evtool.bulk.statements import Statements
from evtool.errors import InvalidResource
from tests.bulk.imports.conftest import Shop, resource
from tests.thoroughness import examples

COLUMNS: list[dict[str, Any]] = [
    {"name": "id", "type": "integer", "not_null": True, "default": "5"},
    {"name": "slug", "type": "text", "required": True, "fold_case": True, "length": 12},
    {"name": "n", "type": "bigint"},
    {"name": "note", "type": "text"},
]
TABLE = (
    "CREATE TABLE things (id integer PRIMARY KEY DEFAULT 5, slug text NOT NULL, n bigint CHECK (n <> 13), note text);"
    "CREATE UNIQUE INDEX ON things (lower(slug))"
)
RULE = {"code": "bad_n", "field": "n", "expression": "n > 0", "plain": "[1-9][0-9]*"}

# Keys of which one has other letters than another and is equal to it, or gets its value from a default.
IDS = ["1", "2", "3", "4", "5", "6", "7", "8", "9", "", "x", "05"]
SLUGS = [
    "a",
    "A",
    "ak",
    "a\u212a",
    "k",
    "\u212a",
    "\u0130",
    "i",
    "é",
    "É",
    "b",
    "c",
    "d",
    "e",
    "f",
    "g",
    "",
    "thirteen-long",
    "\tb",
]
NUMBERS = ["1", "2", "", "0", "-1", "13", "9223372036854775807", "9223372036854775808", "01"]
NOTES = ["", "plain", "a\\nb", "\\N", '"quoted"', "a\nb", " "]


@pytest.fixture
def things(shop: Shop) -> Resource:
    """A table with two keys, one of which has a default and one of which folds case; a rule, and a constraint besides."""
    shop.run(TABLE)
    return resource(shop.schema, name="things", key=["id"], natural_key=["slug"], columns=COLUMNS, rules=[RULE])


@pytest.fixture
def gone(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many records have gone straight into their table, of each batch that was tried; 0 where it was taken back."""
    counts: list[int] = []
    load = Loader._load_straight

    def counted(self: Loader, rows: Rows) -> bool:
        done = load(self, rows)
        counts.append(rows.count if done else 0)
        return done

    monkeypatch.setattr(Loader, "_load_straight", counted)
    return counts


def _file(rows: list[tuple[str, ...]]) -> bytes:
    quoted = [",".join('"{}"'.format(field.replace('"', '""')) if field else "" for field in row) for row in rows]
    return ("id,slug,n,note\n" + "".join(f"{line}\n" for line in quoted)).encode()


def _outcome(shop: Shop, things: Resource, content: bytes, batch: int) -> tuple[Any, ...]:
    shop.run("TRUNCATE things")
    shop.run("INSERT INTO things VALUES (9, 'nine', 9, 'there before')")
    imported = shop.load(things, content, "file.csv", batch=batch, restart=True)
    return shop.rows("SELECT * FROM things ORDER BY id"), imported.rejects


@pytest.mark.thorough(but=["?"])
@pytest.mark.parametrize("seed", range(60))
def test_the_outcome_is_that_of_records_in_turn(
    shop: Shop, things: Resource, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """The first valid holder of a key has it, in whatever spelling; each report is the same, whatever the batch."""
    chance = random.Random(seed)
    # most of them are right, or none would go straight
    rows = [
        (
            chance.choice(IDS) if chance.random() < 0.2 else str(chance.randrange(10, 60)),
            chance.choice(SLUGS) if chance.random() < 0.3 else f"s{chance.randrange(60)}",
            chance.choice(NUMBERS) if chance.random() < 0.2 else "7",
            chance.choice(NOTES),
        )
        for _ in range(40)
    ]
    found = [_outcome(shop, things, _file(rows), batch) for batch in (7, 40)]
    monkeypatch.setattr(Statements, "straight", None)
    found.append(_outcome(shop, things, _file(rows), 1))
    assert found[0] == found[2]
    assert found[1] == found[2]


def test_records_that_are_right_go_straight(shop: Shop, things: Resource, gone: list[int]) -> None:
    """All but those that the server has to look at; and none behind one that may have anybody's key."""
    rows = [(str(number), f"s{number}", "1", "") for number in range(10, 30)]
    rows[3] = ("", "s-3", "1", "gets its id from a default")
    rows[12] = ("22", "s22", "-1", "breaks the rule")
    rows[17] = ("27", "é", "1", "may be another in lower case")
    imported = shop.load(things, _file(rows), "file.csv", batch=10)
    assert gone == [3, 6]
    assert imported.codes == {14: ["bad_n"]}
    assert shop.values("SELECT count(*) FROM things") == [19]


def test_what_is_there_already_ends_it(shop: Shop, things: Resource, gone: list[int]) -> None:
    """One batch is done twice, and from then on the server looks at all."""
    shop.run("INSERT INTO things SELECT n, 's' || n, 1 FROM generate_series(15, 40) AS n")
    rows = [(str(number), f"s{number}", "1", "") for number in range(10, 30)]
    imported = shop.load(things, _file(rows), "file.csv", batch=4)
    assert gone == [4, 0]
    assert imported.codes == {line: ["duplicate_id", "duplicate_slug"] for line in range(7, 22)}


@pytest.mark.parametrize("options", [{"atomic": True}, {"dry_run": True}])
def test_in_one_transaction_it_is_the_same(
    shop: Shop, things: Resource, gone: list[int], options: dict[str, bool]
) -> None:
    """A batch that is taken back takes no other with it, and what a batch refused is told once."""
    shop.run("INSERT INTO things VALUES (17, 'there', 1)")
    rows = [(str(number), f"s{number}", "1", "") for number in range(10, 30)]
    rows[1] = ("x", "s11", "1", "")
    imported = shop.load(things, _file(rows), "file.csv", batch=5, **options)
    assert gone == [4, 0]
    assert imported.codes == {3: ["invalid_id"], 9: ["duplicate_id"]}
    assert shop.values("SELECT count(*) FROM things") == [1 if "dry_run" in options else 19]


def test_json_goes_straight_where_nothing_is_left_out(shop: Shop, things: Resource, gone: list[int]) -> None:
    """A key that is absent has the default; one of the wrong kind is refused."""
    content = (
        b'{"id":1,"slug":"a","n":1,"note":null}\n{"id":2,"slug":"b","n":1}\n'
        b'{"id":3,"slug":"c","n":"1","note":"x"}\n{"id":4,"slug":"d","n":1,"note":"tab\\t"}\n'
    )
    imported = shop.load(things, content, "file.ndjson")
    assert gone == [1]
    assert imported.codes == {3: ["invalid_n"]}
    assert shop.rows("SELECT id, n, note FROM things ORDER BY id") == [(1, 1, None), (2, 1, None), (4, 1, "tab\t")]


ORDERED = {
    "a trigger": "CREATE TRIGGER t BEFORE INSERT ON things FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    "a further key": "CREATE UNIQUE INDEX ON things (n)",
    "a partial key": "CREATE UNIQUE INDEX ON things (n) WHERE n > 5",
    "an exclusion": "ALTER TABLE things ADD EXCLUDE USING btree (n WITH =)",
    "a parent": "ALTER TABLE things ADD FOREIGN KEY (n) REFERENCES things (id)",
    "row security": "ALTER TABLE things ENABLE ROW LEVEL SECURITY",
    "a further column with a default": "ALTER TABLE things ADD place bigserial",
    "a further identity": "ALTER TABLE things ADD place bigint GENERATED ALWAYS AS IDENTITY",
    "a generated column": "ALTER TABLE things ADD twice bigint GENERATED ALWAYS AS (n * 2) STORED",
    "a domain": "CREATE DOMAIN few AS text CHECK (length(value) < 9); ALTER TABLE things ALTER note TYPE few",
    "a constraint that calls a function": "CREATE FUNCTION f(bigint) RETURNS boolean RETURN true;"
    " ALTER TABLE things ADD CHECK (f(n))",
}


@pytest.mark.parametrize("what", ORDERED)
def test_a_table_to_which_the_order_matters_gets_all_in_turn(
    shop: Shop, things: Resource, gone: list[int], what: str
) -> None:
    """Whatever may find for one record what it finds for another is told of them in their order."""
    if what == "a parent":
        # of the same number, for it must be unique
        shop.run("ALTER TABLE things ALTER n TYPE integer")
    shop.run(ORDERED[what])
    shop.load(things, _file([("1", "a", "1", "")]), "file.csv")
    assert gone == []


DESCRIBED = {
    "a rule that says nothing of plain texts": {"rules": [{**RULE, "plain": None}]},
    "a key of numbers that are equal in many spellings": {"types": "numeric"},
    "a reference": {"references": [{"column": "n", "table": "users", "target": "id"}]},
}


@pytest.mark.parametrize("what", DESCRIBED)
def test_a_resource_of_which_not_all_is_known_goes_in_turn(shop: Shop, gone: list[int], what: str) -> None:
    """What only the server can say, or say in which order, it says."""
    case = DESCRIBED[what]
    type_ = case.get("types", "integer")
    shop.run(
        TABLE.replace("id integer", f"id {type_}")
        .replace("n bigint", "n uuid" if "references" in case else "n bigint")
        .replace("CHECK (n <> 13)", "")
    )
    columns = [
        {**COLUMNS[0], "type": type_},
        COLUMNS[1],
        {**COLUMNS[2], "type": "uuid" if "references" in case else "bigint"},
        COLUMNS[3],
    ]
    rules = [{key: value for key, value in rule.items() if value is not None} for rule in case.get("rules", [])]
    described = resource(
        shop.schema,
        name="things",
        key=["id"],
        natural_key=["slug"],
        columns=columns,
        rules=rules,
        references=case.get("references", []),
    )
    shop.load(described, _file([("1", "a", "", "")]), "file.csv")
    assert gone == []


def test_a_column_that_the_file_lacks_gets_the_resources_default(shop: Shop, things: Resource, gone: list[int]) -> None:
    """Which need not be the table's, so nothing goes straight; a column without a default is null either way."""
    shop.load(things, b"slug,n,note\na,1,x\n", "file.csv")
    assert gone == []
    shop.load(things, b"id,slug,n\n7,b,2\n", "other.csv")
    assert gone == [1]
    assert shop.rows("SELECT id, slug, n FROM things ORDER BY id") == [(5, "a", 1), (7, "b", 2)]


def test_a_key_that_another_session_takes_meanwhile_is_told(shop: Shop, things: Resource, gone: list[int]) -> None:
    """The batch waits for the other; when that has it, the batch is judged anew, and only one record is refused."""
    rows = [(str(number), f"s{number}", "1", "") for number in range(10, 30)]
    with psycopg.connect(shop.dsn) as other:
        other.execute(sql.SQL("INSERT INTO {} VALUES (15, 'other', 1)").format(sql.Identifier(shop.schema, "things")))
        found: list[Any] = []
        thread = threading.Thread(target=lambda: found.append(shop.load(things, _file(rows), "file.csv")))
        thread.start()
        while not shop.values(
            f"SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'COPY \"{shop.schema}\"%'"
        ):
            assert thread.is_alive()
        other.commit()
        thread.join()
    assert found[0].codes == {7: ["duplicate_id"]}
    assert gone == [0]


PLAIN = {
    "of which a part may be in another column": ("text ~ '^[^@ ]+@[^@ ]+$'", "[^@ ]+@[^@ ]+", ["foo,x@y"], ["a@b,"]),
    "that null would match": ("coalesce(text, '') <> ''", ".+", [",x", '"",z'], ["a,"]),
    "that counts characters": ("length(text) >= 3", ".{3,}", ["é1,", "é,ab"], ["éa1,"]),
    "that has a flag": ("text ~* '^a+$'", "(?i)a+", ["b,"], ["aA,"]),
    "that refers back": ("left(text, 1) = right(text, 1)", r"(.)\1", ["ab,aa"], ["aa,ab"]),
}


@pytest.mark.parametrize("what", PLAIN)
def test_what_is_plain_is_matched_by_the_field_alone(shop: Shop, gone: list[int], what: str) -> None:
    """The expression is held against the whole text of its own field, which is there, and against nothing else."""
    expression, plain, bad, good = PLAIN[what]
    shop.run("CREATE TABLE things (id integer PRIMARY KEY, text text, other text)")
    columns = [{"name": "id", "type": "integer", "required": True}, {"name": "text", "type": "text"}]
    described = resource(
        shop.schema,
        name="things",
        key=["id"],
        columns=[*columns, {"name": "other", "type": "text"}],
        rules=[
            {"code": "bad", "field": "text", "expression": expression, "plain": plain},
            {"code": "never", "field": "other", "expression": "true", "plain": "(.?)(.?).*"},
        ],
    )
    rows = [f"{number},{row}" for number, row in enumerate([*bad, *good])]
    imported = shop.load(described, "\n".join(["id,text,other", *rows]).encode(), "file.csv")
    assert imported.codes == {line: ["bad"] for line in range(2, 2 + len(bad))}
    # an empty field of the other column is null, and matches nothing
    assert sum(gone) == sum(not row.endswith(",") for row in good)


def test_a_rule_over_a_field_that_the_file_lacks_is_looked_at(shop: Shop, gone: list[int]) -> None:
    """Then nothing of the file goes straight."""
    shop.run("CREATE TABLE things (id integer PRIMARY KEY, text text)")
    described = resource(
        shop.schema,
        name="things",
        key=["id"],
        columns=[{"name": "id", "type": "integer", "required": True}, {"name": "text", "type": "text"}],
        rules=[{"code": "bad", "field": "text", "expression": "text IS NOT NULL", "plain": ".*"}],
    )
    assert shop.load(described, b"id\n1\n", "file.csv").codes == {2: ["bad"]}
    assert gone == []


def test_a_constraint_of_a_catalogs_table_is_looked_at_first(shop: Shop, gone: list[int]) -> None:
    """A number is judged as the table will have it, rounded, whatever stands beside it in the file."""
    things = shop.table("id integer PRIMARY KEY, n numeric(5,1) CHECK (n <= 10), note text")
    content = b'id,n,note\n1,10.06,x\n2,10.06,"a\tb"\n3,10.04,x\n4,10.04,"a\tb"\n'
    assert shop.load(things, content, "file.csv").codes == {2: ["invalid_n"], 3: ["invalid_n"]}
    assert gone == []


def test_a_letter_that_is_another_in_lower_case_overtakes_nobody(shop: Shop, things: Resource) -> None:
    """The first record has the key, be it that it is looked at and the second need not be."""
    content = 'id,slug,n,note\n1,ak,1,"a\tb"\n2,a\u212a,1,x\n'.encode()
    assert shop.load(things, content, "file.csv").codes == {3: ["duplicate_slug"]}


def test_a_key_that_the_table_cuts_goes_in_turn(shop: Shop, gone: list[int]) -> None:
    """PostgreSQL cuts blanks off what is too long, and then it is another's key."""
    shop.run("CREATE TABLE things (id integer PRIMARY KEY, slug varchar(3) UNIQUE, note text)")
    described = resource(
        shop.schema,
        name="things",
        key=["id"],
        natural_key=["slug"],
        columns=[
            {"name": "id", "type": "integer", "required": True},
            {"name": "slug", "type": "text", "required": True},
            {"name": "note", "type": "text"},
        ],
    )
    content = b'id,slug,note\n1,"abc  ","a\tb"\n2,abc,x\n'
    assert shop.load(described, content, "file.csv").codes == {3: ["duplicate_slug"]}
    assert gone == []


def _plain_rules() -> Iterator[tuple[str, Rule]]:
    for name in ("users", "articles", "comments", "posts"):
        for rule in find(name).rules:
            if rule.plain is not None:
                yield name, rule


@pytest.mark.parametrize(("name", "rule"), list(_plain_rules()), ids=lambda one: getattr(one, "code", one))
@settings(deadline=None, max_examples=examples(150), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_what_is_called_plain_satisfies_its_rule(shop: Shop, name: str, rule: Rule, data: st.DataObject) -> None:
    """The server agrees, for any text that the expression matches as a whole."""
    assert rule.plain is not None
    # what a text is looked at for ahead is no part of what makes it
    text = data.draw(
        st.from_regex(rule.plain.removeprefix("(?!.{255})"), fullmatch=True).filter(lambda one: len(one) < 255)
    )
    query = sql.SQL("SELECT {} FROM (SELECT {}::text AS {}) AS one").format(
        sql.SQL(rule.expression),  # type: ignore[arg-type]
        sql.Literal(text),
        sql.Identifier(rule.field),
    )
    assert shop.connection.execute(query).fetchone() == (True,)


def test_the_address_of_a_user_has_a_length(shop: Shop, gone: list[int]) -> None:
    """One that is too long is refused, and nothing of it is taken for plain."""
    local = "a" * 250
    rows = [f"{n:08x}-0000-4000-8000-000000000000,{address},N,admin,true,2024-01-01T00:00:00Z,2024-01-01T00:00:00Z"
            for n, address in enumerate((f"{local}@b.cc", f"{local[:200]}@b.cc", "a@b.cc"))]  # fmt: skip
    content = "id,email,name,role,active,created_at,updated_at\n" + "\n".join(rows) + "\n"
    assert shop.load("users", content.encode(), "file.csv").codes == {2: ["invalid_email_format"]}
    assert gone == [2]


def test_plain_is_a_regular_expression(tmp_path: Path) -> None:
    """What isn't one is told where it stands."""
    file = tmp_path / "things.toml"
    file.write_text(
        'name = "things"\n[[columns]]\nname = "a"\ntype = "text"\n'
        '[[rules]]\ncode = "c"\nfield = "a"\nexpression = "true"\nplain = "["\n'
    )
    with pytest.raises(InvalidResource, match="no regular expression"):
        find(str(file))


def test_an_import_that_wins_nothing_still_reports(shop: Shop, things: Resource) -> None:
    """All records of a file may go straight: then the server has looked at none, and the counts are right."""
    (report,) = import_files(shop.dsn, [_source(shop, things)])
    assert (report.total, report.inserted, report.rejected, report.errors) == (3, 3, 0, 0)


def _source(shop: Shop, things: Resource) -> Any:
    from evtool.bulk.opening import Source

    path = shop.folder / "right.csv"
    path.write_bytes(_file([(str(n), f"s{n}", "1", "") for n in range(3)]))
    return Source(things, (str(path),))
