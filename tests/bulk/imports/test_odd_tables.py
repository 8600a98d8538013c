"""Tables that nobody made with imports in mind: names that mean something here, and types made of types."""

from __future__ import annotations

import json

import pytest

from evtool.bulk.importing import described
from evtool.errors import InvalidArgument, InvalidResource
from tests.bulk.imports.conftest import Shop

NAMES = (
    "total", "accepted", "inserted", "updated", "rejected", "errors", "raw", "line", "field", "code", "message", "number",
    "_low", "_high", "_new", "s", "t", "v", "w", "p", "k", "e", "record", "place", "value", "order", 'a"b', "%s", "{}",
)  # fmt: skip


@pytest.mark.parametrize("upsert", [False, True])
def test_a_column_may_have_any_name(shop: Shop, upsert: bool) -> None:
    """No name of a column clashes with what the import calls its own; values and refusals are those of any table."""
    quoted = ['"{}"'.format(name.replace('"', '""')) for name in NAMES]
    shop.table('code integer PRIMARY KEY, "s" integer', name="parents")
    shop.run("INSERT INTO parents VALUES (1), (2)")
    columns = [f"{name} integer" for name in quoted]
    described = shop.table(
        f"id integer PRIMARY KEY, {', '.join(columns)}, UNIQUE (total), CHECK (errors <> 7), FOREIGN KEY (v) REFERENCES parents"
    )
    good = {name: number for number, name in enumerate(NAMES, 1)} | {"v": 1}
    records: list[dict[str, object]] = [
        {"id": 1, **good},
        {"id": 2, **good, "total": 100, "errors": 7, "s": "x"},
        {"id": 3, **good, "total": 101, "v": 3},
        {"id": 4, **good},
    ]
    content = "".join(json.dumps(record) + "\n" for record in records)
    imported = shop.load(described, content.encode(), "odd.ndjson", upsert=upsert)
    assert imported.codes == {2: ["invalid_s", "invalid_errors"], 3: ["v_not_found"], 4: ["duplicate_total"]}
    assert [one["value"] for one in imported.rejects[0]["errors"]] == ["x", "7"]
    assert shop.rows(f"SELECT {', '.join(quoted)} FROM things") == [tuple(good.values())]


def test_nothing_is_cut_to_fit(shop: Shop) -> None:
    """A value that is longer than its type allows is refused, be the type a domain of a domain, bits, or an array of them."""
    shop.run("CREATE DOMAIN short AS varchar(3); CREATE DOMAIN shorter AS short CHECK (value <> 'bad')")
    described = shop.table(
        "id integer PRIMARY KEY, a shorter, b bit(3), c bit varying(3), d bit(2)[], e char(3)[], f varchar(3)[], g char(3)"
    )
    good = {"a": "abc", "b": "101", "c": "101", "d": ["10", "01"], "e": ["abc"], "f": ["abc"], "g": "abc"}
    bad = {"a": "abcd", "b": "1011", "c": "1011", "d": ["101"], "e": ["abcd"], "f": ["abcd"], "g": "abcd"}
    records = [good, *({name: value} for name, value in bad.items()), {"a": "bad"}]
    content = "".join(json.dumps({"id": number, **record}) + "\n" for number, record in enumerate(records, 1))
    imported = shop.load(described, content.encode(), "long.ndjson")
    assert imported.codes == {
        2: ["value_too_long"], 3: ["refused_22026"], 4: ["value_too_long"], 5: ["refused_22026"],
        6: ["value_too_long"], 7: ["value_too_long"], 8: ["value_too_long"], 9: ["violates_shorter_check"],
    }  # fmt: skip
    assert shop.rows("SELECT a, b::text, c::text, d::text, e::text, f::text, g FROM things") == [
        ("abc", "101", "101", "{10,01}", "{abc}", "{abc}", "abc")
    ]


def test_names_that_are_evtool_s_own(shop: Shop) -> None:
    """A column that is called as one of the import's own columns is told of, before any record."""
    with pytest.raises(InvalidResource, match="_evtool_n"):
        shop.load(shop.table("_evtool_n integer PRIMARY KEY"), b"_evtool_n\n1\n")


@pytest.mark.parametrize("name", ['"x', "x.", "t; drop table x", "a..b", "1"])
def test_what_is_no_name_of_a_table(shop: Shop, name: str) -> None:
    """A name that SQL wouldn't take is refused as such."""
    with pytest.raises(InvalidResource, match="is no name of a table"):
        described(shop.dsn, name, schema=shop.schema)


def test_columns_are_named_once(shop: Shop) -> None:
    """For a file without a header each field has a column of its own."""
    with pytest.raises(InvalidArgument, match="twice"):
        shop.load(shop.table("id integer PRIMARY KEY"), b"1,2\n", columns=("id", "id"))
