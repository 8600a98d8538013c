"""Who gets a key where the table has no primary key, always makes it itself, or looks at keys only in the end."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evtool.errors import InvalidResource
from tests.bulk.imports.conftest import Shop
from tests.thoroughness import examples

COLUMNS = "a integer UNIQUE, b text UNIQUE, kind text CHECK (kind <> 'bad')"
TABLES = {
    "no primary key": COLUMNS,
    "a key that is always made": f"id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, {COLUMNS}",
    "deferrable keys": "a integer PRIMARY KEY DEFERRABLE, b text UNIQUE DEFERRABLE INITIALLY DEFERRED,"
    " kind text CHECK (kind <> 'bad')",
}

_tables = itertools.count(1)

Row = tuple[str, str, str]
rows = st.lists(
    st.tuples(
        st.sampled_from(["1", "2", "3", "4", "5", "x"]),
        st.sampled_from(["", "p", "q", "r", "s", "t"]),
        st.sampled_from(["good", "good", "good", "bad"]),
    ),
    max_size=14,
)


def expected(content: list[Row], taken: list[set[str]]) -> dict[int, list[str]]:
    """What records are refused for, when they are looked at one after the other."""
    found = {}
    for line, (a, b, kind) in enumerate(content, 2):
        codes = ["invalid_a"] * (a == "x") + ["invalid_kind"] * (kind == "bad")
        codes += ["duplicate_a"] * (a in taken[0]) + ["duplicate_b"] * (b in taken[1])
        if codes:
            found[line] = sorted(codes)
        else:
            taken[0].add(a)
            # nothing is no key
            taken[1].update([b] if b else [])
    return found


@pytest.mark.thorough(but=["a key that*"])
@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES.keys())
@settings(deadline=None, max_examples=examples(60), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=rows, there=rows, batch=st.integers(1, 15))
def test_records_are_judged_as_if_one_came_after_the_other(
    shop: Shop, table: str, content: list[Row], there: list[Row], batch: int
) -> None:
    """The first valid holder of a key wins, and whoever is refused is told of all faults, for any size of batch."""
    name = f"claimed_{next(_tables)}"
    resource = shop.table(table, name)
    taken: list[set[str]] = [set(), set()]
    for part in (there, content):
        text = "a,b,kind\n" + "".join(",".join(row) + "\n" for row in part)
        wanted = expected(part, taken)
        imported = shop.load(resource, text.encode(), "file.csv", batch=batch)
        assert {line: sorted(codes) for line, codes in imported.codes.items()} == wanted
        assert not [error for one in imported.rejects for error in one["errors"] if "refused" in error["message"]]
    assert {str(one) for one in shop.values(f"SELECT a FROM {name}")} == taken[0]
    assert set(shop.values(f"SELECT b FROM {name} WHERE b IS NOT NULL")) == taken[1]
    shop.run(f"DROP TABLE {name}")


def test_refusals_free_the_keys_of_those_behind(shop: Shop) -> None:
    """A chain in which each record loses one key to the record before it, and would have held the other."""
    resource = shop.table("a integer UNIQUE, b integer UNIQUE")
    # 0 holds a0 and b0; 1 wants a0, so 2 gets b1, so 3 is refused, and so on
    content = "a,b\n" + "".join(f"{number // 2},{(number + 1) // 2}\n" for number in range(40))
    imported = shop.load(resource, content.encode(), "file.csv")
    held: list[tuple[int, int]] = []
    for number in range(40):
        a, b = number // 2, (number + 1) // 2
        if all(a != one and b != other for one, other in held):
            held.append((a, b))
    assert shop.rows("SELECT a, b FROM things ORDER BY a") == held
    assert imported.report.rejected == 40 - len(held) > 0


KEYS = "id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY"


@pytest.mark.parametrize(
    "definition",
    [f"{KEYS}, email text UNIQUE NOT NULL, n integer", "email text UNIQUE NOT NULL, n integer",
     "id serial PRIMARY KEY, email text UNIQUE NOT NULL, n integer"],
    ids=["always made", "no primary key", "made by default"],
)  # fmt: skip
@pytest.mark.parametrize("batch", [1, 2, 100])
def test_an_upsert_goes_by_the_key_that_the_file_has(shop: Shop, definition: str, batch: int) -> None:
    """Where the file leaves the primary key to the database, another that is unique tells which record is meant."""
    resource = shop.table(definition)
    shop.load(resource, b"email,n\na@x,1\nb@x,2\n", "file.csv")
    before = shop.rows("SELECT to_jsonb(things) - 'n' FROM things ORDER BY email")
    imported = shop.load(resource, b"email,n\nb@x,3\nc@x,4\nc@x,5\n", "file.csv", upsert=True, batch=batch)
    assert (imported.report.inserted, imported.report.updated, imported.report.rejected) == (1, 2, 0)
    assert shop.rows("SELECT email, n FROM things ORDER BY email") == [("a@x", 1), ("b@x", 3), ("c@x", 5)]
    assert shop.rows("SELECT to_jsonb(things) - 'n' FROM things WHERE email < 'c' ORDER BY email") == before


@pytest.mark.parametrize(
    ("definition", "told"),
    [
        (f"{KEYS}, email text UNIQUE, n integer", "lacks id, the key of .*things, .* any other"),
        (f"{KEYS}, email text UNIQUE NOT NULL, n integer UNIQUE NOT NULL", r"can't go by \(email\) or \(n\)"),
        ("email text, n integer", "has no primary key"),
    ],
    ids=["may be null", "two of them", "none"],
)
def test_an_upsert_without_a_key_is_refused(shop: Shop, definition: str, told: str) -> None:
    """Which record is meant is not guessed: the error names what is missing, and what there is to choose from."""
    resource = shop.table(definition)
    with pytest.raises(InvalidResource, match=told) as caught:
        shop.load(resource, b"email,n\nb@x,3\n", "file.csv", upsert=True)
    assert "natural_key" in (caught.value.hint or "")
    assert shop.values("SELECT count(*) FROM things") == [0]


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES.keys())
def test_a_batch_goes_in_by_one_statement(shop: Shop, table: str) -> None:
    """However many of its keys others have: no range is tried, and taken back, for the sake of a key."""
    resource = shop.table(table)
    shop.run("CREATE SEQUENCE statements")
    shop.run(
        "CREATE FUNCTION count_it() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN PERFORM nextval('{shop.schema}.statements'); RETURN NULL; END $$"
    )
    shop.run("CREATE TRIGGER counted BEFORE INSERT ON things EXECUTE FUNCTION count_it()")
    rows = [f"{number % 30},{number % 40 or ''},good" for number in range(200)]
    for batch in (rows[:100], rows):
        imported = shop.load(resource, "\n".join(["a,b,kind", *batch]).encode(), "file.csv", batch=1000)
        assert imported.report.rejected
    # one for each file, and one for each that found out whether the resource fits the table
    assert shop.values("SELECT last_value FROM statements") == [4]
