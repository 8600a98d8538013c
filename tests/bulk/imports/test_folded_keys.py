"""Unique indexes over lower(): keys that the catalog tells of, where a column is compared in that way only."""

from __future__ import annotations

import dataclasses

import pytest

from evtool.bulk.catalog import from_catalog
from tests.bulk.imports.conftest import Shop


@pytest.mark.parametrize("type_", ["text", "varchar(40)"])
@pytest.mark.parametrize(
    "key", ["id integer PRIMARY KEY", "id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY", "id integer"]
)
def test_an_index_over_lower_is_a_key(shop: Shop, type_: str, key: str) -> None:
    """What the catalog says of it is known before, as of a resource that folds case: all faults of a record are told."""
    shop.run(f"CREATE TABLE folded ({key}, \"E-mail\" {type_} NOT NULL, kind text CHECK (kind <> 'bad'))")
    shop.run('CREATE UNIQUE INDEX ON folded (lower("E-mail"))')
    described = from_catalog(shop.connection, "folded", schema=shop.schema)
    rows = ["Ann@x,good", "ANN@x,bad", "bob@x,good", "BOB@x,good"]
    ids = "GENERATED" not in key
    header = ["id,E-mail,kind" if ids else "E-mail,kind"]
    content = "\n".join(header + [f"{n},{row}" if ids else row for n, row in enumerate(rows)])
    imported = shop.load(described, content.encode(), "file.csv")
    assert imported.codes == {3: ["invalid_kind", "duplicate_E-mail"], 5: ["duplicate_E-mail"]}
    content = '"E-mail",kind\nANN@X,better\ncid@x,good\n'
    if ids:
        content = '"id","E-mail",kind\n10,ANN@X,better\n11,cid@x,good\n'
        described = dataclasses.replace(described, natural_key=("E-mail",))
    imported = shop.load(described, content.encode(), "file.csv", upsert=True)
    assert (imported.report.inserted, imported.report.updated) == (1, 1)
    assert shop.rows('SELECT "E-mail", kind FROM folded ORDER BY 1') == [
        ("Ann@x", "better"), ("bob@x", "good"), ("cid@x", "good"),
    ]  # fmt: skip


def test_a_column_that_keys_compare_in_two_ways(shop: Shop) -> None:
    """One of them is known before; the other has its say when a record is inserted."""
    described = shop.table("id integer PRIMARY KEY, slug text UNIQUE")
    shop.run("CREATE UNIQUE INDEX folded ON things (lower(slug))")
    described = from_catalog(shop.connection, "things", schema=shop.schema)
    imported = shop.load(described, b"id,slug\n1,a\n2,A\n3,a\n4,b\n", "file.csv")
    assert imported.codes == {3: ["violates_folded"], 4: ["duplicate_slug"]}
    assert shop.values("SELECT id FROM things ORDER BY id") == [1, 4]


def test_an_index_over_lower_of_no_text_has_its_own_say(shop: Shop) -> None:
    """It is not taken for a key that folds case: other types have no lower()."""
    shop.run("CREATE TABLE odd (id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, a integer, j jsonb)")
    shop.run("CREATE UNIQUE INDEX odd_a ON odd (lower(a::text))")
    shop.run("CREATE UNIQUE INDEX odd_j ON odd (lower(j::text))")
    described = from_catalog(shop.connection, "odd", schema=shop.schema)
    imported = shop.load(described, b'a,j\n1,"{}"\n1,\n2,"{ }"\n3,\n', "file.csv")
    assert imported.codes == {3: ["violates_odd_a"], 4: ["violates_odd_j"]}


def test_keys_of_characters_are_compared_without_spaces_at_their_end(shop: Shop) -> None:
    """Also where an index folds their case: an upsert finds the record that it is to replace."""
    shop.run("CREATE TABLE coded (a integer UNIQUE, c char(3) NOT NULL, v integer)")
    shop.run("CREATE UNIQUE INDEX ON coded (lower(c))")
    described = from_catalog(shop.connection, "coded", schema=shop.schema)
    described = dataclasses.replace(
        described, natural_key=("c",), unique=tuple(one for one in described.unique if one.columns != ("c",))
    )
    shop.load(described, b"a,c,v\n2,b,3\n", "file.csv")
    imported = shop.load(described, b'a,c,v\n1,b ,1\n1,b ,2\n2,"B  ",3\n', "file.csv", upsert=True)
    assert imported.codes == {}
    assert shop.rows("SELECT a, trim(c), v FROM coded") == [(2, "b", 3)]
