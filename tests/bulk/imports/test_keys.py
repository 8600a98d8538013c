"""Who gets a key: the first valid holder over the whole file and the table, whatever the size of the batch."""

from __future__ import annotations

import csv
import io
import itertools
import json

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from evtool.bulk.catalog import from_catalog
from evtool.bulk.framing import Format
from evtool.bulk.importing import ImportOptions, import_files
from evtool.bulk.opening import Source
from evtool.bulk.seen import Seen
from evtool.errors import InvalidResource
from tests.bulk.imports.conftest import Shop, resource
from tests.thoroughness import examples

HEADER = "id,slug,kind\n"

_tables = itertools.count(1)


def things(shop: Shop) -> tuple[str, object]:
    """A table with two keys, the second of which folds case, and a rule."""
    name = f"things_{next(_tables)}"
    shop.run(f"CREATE TABLE {name} (id integer PRIMARY KEY, slug text NOT NULL, kind text)")
    shop.run(f"CREATE UNIQUE INDEX ON {name} (lower(slug))")
    described = resource(
        shop.schema,
        name=name,
        key=["id"],
        natural_key=["slug"],
        columns=[
            {"name": "id", "type": "integer", "required": True},
            {"name": "slug", "type": "text", "required": True, "fold_case": True},
            {"name": "kind", "type": "text"},
        ],
        rules=[{"code": "bad_kind", "field": "kind", "expression": "kind <> 'bad'"}],
    )
    return name, described


def expected(rows: list[tuple[str, str, str]], ids: set[str], slugs: set[str]) -> dict[int, list[str]]:
    """What a record is refused for, when records are looked at one after the other."""
    found = {}
    for line, (id_, slug, kind) in enumerate(rows, 2):
        codes = ["invalid_id"] * (id_ == "x") + ["bad_kind"] * (kind == "bad")
        codes += ["duplicate_id"] * (id_ in ids) + ["duplicate_slug"] * (slug.lower() in slugs)
        if codes:
            found[line] = codes
        else:
            ids.add(id_)
            slugs.add(slug.lower())
    return found


records = st.lists(
    st.tuples(
        st.sampled_from(["1", "2", "3", "4", "5", "6", "x"]),
        st.sampled_from(["a", "A", "b", "B", "c", "d", "e"]),
        st.sampled_from(["good", "good", "good", "bad"]),
    ),
    max_size=12,
)


@settings(deadline=None, max_examples=examples(60), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=records, there=records, batch=st.integers(1, 13), new=st.sampled_from([None, True, False]))
def test_records_are_judged_as_if_one_came_after_the_other(
    shop: Shop, rows: list[tuple[str, str, str]], there: list[tuple[str, str, str]], batch: int, new: bool | None
) -> None:
    """Only what is accepted claims its keys; the verdicts are those of a reader of one line at a time.

    That holds, too, where the client takes every key for new to the file, or none.
    """
    name, described = things(shop)
    ids: set[str] = set()
    slugs: set[str] = set()
    for content in (there, rows):
        text = HEADER + "".join(",".join(row) + "\n" for row in content)
        wanted = expected(content, ids, slugs)
        with pytest.MonkeyPatch.context() as patch:
            if new is not None:
                patch.setattr(Seen, "is_new", lambda *_: new)
            imported = shop.load(described, text.encode(), batch=batch)  # type: ignore[arg-type]
        assert {line: sorted(codes) for line, codes in imported.codes.items()} == {
            line: sorted(codes) for line, codes in wanted.items()
        }
    assert {str(one) for one in shop.values(f"SELECT id FROM {name}")} == ids
    assert {one.lower() for one in shop.values(f"SELECT slug FROM {name}")} == slugs
    shop.run(f"DROP TABLE {name}")


def test_a_key_that_the_file_has_not_had_may_be_in_the_table(shop: Shop) -> None:
    """In another spelling, or of a batch in the middle of the file: told where it is, and who comes after gets in."""
    resource = shop.table("id uuid PRIMARY KEY, n numeric UNIQUE")
    shop.run("INSERT INTO things VALUES ('0b1e6d3c-7f1a-4a57-9d35-9f6f0c2b1a05', 500.0)")
    ids = [f"0B1E6D3C-7F1A-4A57-9D35-9F6F0C2B1A{number:02}" for number in range(12)]
    rows = [f"{id_},{number}" for number, id_ in enumerate(ids)]
    rows[8:8] = ["0b1e6d3c-7f1a-4a57-9d35-9f6f0c2b1a99,500", "0b1e6d3c-7f1a-4a57-9d35-9f6f0c2b1a98,7.00"]
    imported = shop.load(resource, "\n".join(["id,n", *rows]).encode(), "file.csv", batch=3)
    assert imported.codes == {7: ["duplicate_id"], 10: ["duplicate_n"], 11: ["duplicate_n"]}
    assert shop.values("SELECT count(*) FROM things") == [12]


def test_email_is_compared_without_case(shop: Shop) -> None:
    """Two spellings of an address are one user; the first keeps its spelling."""
    content = b"email,name,role,active\nAnn@Example.org,A,admin,true\nann@example.ORG,B,admin,true\n"
    assert shop.load("users", content).codes == {3: ["duplicate_email"]}
    assert shop.values("SELECT email FROM users") == ["Ann@Example.org"]


@pytest.mark.parametrize("batch", [1, 2, 3, 100])
def test_upsert_replaces_one_after_the_other(shop: Shop, batch: int) -> None:
    """A record replaces the one with its natural key, be it in the table or earlier in the file; its id stays."""
    name, described = things(shop)
    shop.load(described, (HEADER + "1,a,old\n2,b,old\n").encode())  # type: ignore[arg-type]
    content = HEADER + "9,A,new\n3,c,new\n4,c,newer\n2,d,new\nx,e,new\n8,B,newer\n"
    imported = shop.load(described, content.encode(), upsert=True, batch=batch)  # type: ignore[arg-type]
    assert imported.codes == {5: ["duplicate_id"], 6: ["invalid_id"]}
    assert (imported.report.inserted, imported.report.updated) == (1, 3)
    assert shop.rows(f"SELECT id, slug, kind FROM {name} ORDER BY id") == [
        (1, "a", "new"), (2, "b", "newer"), (3, "c", "newer")
    ]  # fmt: skip


@pytest.mark.parametrize("batch", [1, 2, 3, 100])
def test_upsert_with_the_id_of_another_record(shop: Shop, batch: int) -> None:
    """A record with the id of one whose natural key differs is refused, be that one in the table or in the same batch."""
    name, described = things(shop)
    shop.load(described, (HEADER + "1,a,old\n").encode())  # type: ignore[arg-type]
    content = HEADER + "7,b,new\n1,b,no\n7,a,no\n7,B,newer\n8,a,new\n"
    imported = shop.load(described, content.encode(), upsert=True, batch=batch)  # type: ignore[arg-type]
    assert imported.codes == {3: ["duplicate_id"], 4: ["duplicate_id"]}
    assert shop.rows(f"SELECT id, slug, kind FROM {name} ORDER BY id") == [(1, "a", "new"), (7, "b", "newer")]


@pytest.mark.parametrize("batch", [1, 2, 100])
def test_upsert_into_partitions(shop: Shop, batch: int) -> None:
    """A table in partitions is one: what replaces and what is new are told apart, and what has no partition is refused."""
    shop.run(
        "CREATE TABLE things (id integer, kind text, value integer, PRIMARY KEY (id, kind)) PARTITION BY LIST (kind);"
        " CREATE TABLE things_a PARTITION OF things FOR VALUES IN ('a');"
        " CREATE TABLE things_b PARTITION OF things FOR VALUES IN ('b')"
    )
    described = from_catalog(shop.connection, "things", schema=shop.schema)
    content = b"id,kind,value\n1,a,1\n1,b,2\n1,a,3\n2,z,4\n"
    imported = shop.load(described, content, batch=batch)
    assert imported.codes == {4: ["duplicate_id_kind"], 5: ["refused_23514"]}
    content = b"id,kind,value\n1,a,10\n9,b,20\n9,b,21\n1,a,11\n1,b,x\n2,z,4\n7,a,7\n"
    imported = shop.load(described, content, upsert=True, batch=batch)
    assert imported.codes == {6: ["invalid_value"], 7: ["refused_23514"]}
    assert (imported.report.inserted, imported.report.updated) == (2, 3)
    assert shop.rows("SELECT * FROM things ORDER BY id, kind") == [(1, "a", 11), (1, "b", 2), (7, "a", 7), (9, "b", 21)]


@pytest.mark.parametrize("batch", [1, 2, 100])
def test_upsert_leaves_alone_what_a_record_leaves_out(shop: Shop, batch: int) -> None:
    """A key that a record of JSON doesn't have stays as it is in the table; null replaces; what is new gets the default."""
    described = shop.table("id integer PRIMARY KEY, a text, b text DEFAULT 'default', c integer NOT NULL DEFAULT 7")
    shop.run("INSERT INTO things VALUES (1, 'a', 'b', 1), (2, 'a', 'b', 2)")
    records = [
        '{"id":1}',
        '{"id":2,"a":null}',
        '{"id":2,"b":"B"}',
        '{"id":3,"a":"A"}',
        '{"id":3,"c":null}',
        '{"id":2,"a":"A"}',
    ]
    imported = shop.load(described, "\n".join(records).encode(), "f.ndjson", upsert=True, batch=batch)
    assert (imported.report.inserted, imported.report.updated, imported.codes) == (1, 5, {})
    assert shop.rows("SELECT * FROM things ORDER BY id") == [
        (1, "a", "b", 1), (2, "A", "B", 2), (3, "A", "default", 7)
    ]  # fmt: skip


@pytest.mark.parametrize("batch", [1, 2, 100])
def test_upsert_sees_a_key_that_an_earlier_record_gave_up(shop: Shop, batch: int) -> None:
    """A record may take what another held until an earlier record replaced that one, whatever the size of the batch."""
    described = shop.table("id integer PRIMARY KEY, a integer UNIQUE, b integer UNIQUE")
    shop.run("INSERT INTO things VALUES (1, 1, 1), (2, 2, 2)")
    content = b"id,a,b\n1,2,1\n2,3,2\n1,2,1\n3,3,5\n4,,1\n1,,\n5,,1\n"
    imported = shop.load(described, content, upsert=True, batch=batch)
    assert imported.codes == {2: ["duplicate_a"], 5: ["duplicate_a"], 6: ["duplicate_b"]}
    assert shop.rows("SELECT * FROM things ORDER BY id") == [(1, None, None), (2, 3, 2), (5, None, 1)]


@pytest.mark.parametrize("batch", [1, 2, 100])
def test_upsert_replaces_nothing_by_a_number_that_nobody_gave(shop: Shop, batch: int) -> None:
    """A key that comes from a sequence may be there already: that is a duplicate, or the next number, never a replacement."""
    described = shop.table("id serial PRIMARY KEY, value text")
    content = b"id,value\n1,a\n2,b\n,c\n,d\n,e\n1,f\n"
    imported = shop.load(described, content, upsert=True, batch=batch)
    assert all(codes == ["duplicate_id"] for codes in imported.codes.values())
    there = dict(shop.rows("SELECT value, id FROM things"))
    assert (there["f"], there["b"], "a" in there) == (1, 2, False)
    assert len(there) == 5 - imported.report.rejected


numbers = st.sampled_from(["", "1", "2", "3"])
wide = st.tuples(
    st.sampled_from(["1", "2", "3", "4", "x"]),
    numbers,
    st.sampled_from(["", "u", "v"]),
    st.sampled_from(["", "1", "2", "9"]),
    numbers,
)


@settings(deadline=None, max_examples=examples(25), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(wide, min_size=2, max_size=12),
    there=st.lists(wide, max_size=3),
    batch=st.integers(2, 13),
    upsert=st.booleans(),
)
def test_no_verdict_hangs_on_the_batch(
    shop: Shop, rows: list[tuple[str, ...]], there: list[tuple[str, ...]], batch: int, upsert: bool
) -> None:
    """With three keys, a CHECK and parents in the same table each record is told the same as in a batch of its own."""
    header = "id,a,b,c,parent\n"
    found = []
    for size in (1, batch):
        name = f"things_{next(_tables)}"
        described = shop.table(
            "id integer PRIMARY KEY, a integer UNIQUE, b text, c integer CHECK (c <> 9),"
            f" parent integer REFERENCES {name}, UNIQUE (b, c)",
            name,
        )
        shop.load(described, (header + "".join(",".join(row) + "\n" for row in there)).encode(), batch=1)
        content = header + "".join(",".join(row) + "\n" for row in rows)
        imported = shop.load(described, content.encode(), batch=size, upsert=upsert)
        codes = {line: sorted(codes) for line, codes in imported.codes.items()}
        counts = (imported.report.inserted, imported.report.updated)
        found.append((codes, counts, shop.rows(f"SELECT * FROM {name} ORDER BY id")))
        shop.run(f"DROP TABLE {name}")
    assert found[0] == found[1]


@pytest.mark.parametrize("batch", [1, 100])
def test_upsert_by_a_padded_key(shop: Shop, batch: int) -> None:
    """Keys of type char are compared without the spaces at their ends, parents of the same table and other keys too."""
    described = shop.table("id char(3) PRIMARY KEY, code char(2) UNIQUE, parent char(3) REFERENCES things")
    content = b"id,code,parent\na,x,\nb,y,a\n"
    assert shop.load(described, content, batch=batch).codes == {}
    content = b'id,code,parent\n"a ",z,b\n"b  ",z,\nc,"x ",d\nd,x,"c "\n'
    imported = shop.load(described, content, batch=batch, upsert=True)
    assert imported.codes == {3: ["duplicate_code"], 4: ["parent_not_found"], 5: ["parent_not_found"]}
    assert shop.rows("SELECT * FROM things ORDER BY id") == [("a  ", "z ", "b  "), ("b  ", "y ", "a  ")]


def test_upsert_by_a_key_that_can_wait_is_refused(shop: Shop) -> None:
    """PostgreSQL can't go by a deferrable key; that is said before any record."""
    described = shop.table("id integer PRIMARY KEY DEFERRABLE, value text")
    with pytest.raises(InvalidResource, match="deferrable"):
        shop.load(described, b"id,value\n1,a\n", upsert=True)
    assert shop.load(described, b"id,value\n1,a\n1,b\n").codes == {3: ["duplicate_id"]}


def test_a_key_of_several_columns(shop: Shop) -> None:
    """All columns of a key together are what no two records share; a missing one clashes with nothing."""
    described = shop.table("a integer, b text, c date, PRIMARY KEY (a, b), UNIQUE (b, c)")
    content = b"a,b,c\n1,x,2024-01-01\n1,y,2024-01-01\n1,x,2024-01-02\n2,x,2024-01-01\n3,x,\n4,x,\n"
    assert shop.load(described, content).codes == {4: ["duplicate_a_b"], 5: ["duplicate_b_c"]}


def test_a_table_without_any_key(shop: Shop) -> None:
    """Equal records are all kept where nothing forbids them."""
    described = shop.table("a integer, b text")
    assert shop.load(described, b"a,b\n1,x\n1,x\nz,y\n").codes == {4: ["invalid_a"]}
    assert shop.rows("SELECT a, b FROM things") == [(1, "x"), (1, "x")]


def test_a_key_needs_its_index(shop: Shop) -> None:
    """A resource whose natural key no index holds is refused: two sessions could both insert it."""
    shop.run("CREATE TABLE things (id integer PRIMARY KEY, slug text)")
    described = resource(
        shop.schema, name="things", key=["id"], natural_key=["slug"],
        columns=[{"name": "id", "type": "integer"}, {"name": "slug", "type": "text"}],
    )  # fmt: skip
    with pytest.raises(InvalidResource, match="no unique index"):
        shop.load(described, b"id,slug\n")


texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)


@settings(deadline=None, max_examples=examples(40), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.tuples(texts, texts), max_size=20),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    ending=st.sampled_from(["\n", "\r\n"]),
)
def test_what_python_writes_as_csv_arrives(shop: Shop, rows: list[tuple[str, str]], quoting: int, ending: str) -> None:
    """Any texts that Python's csv module writes are in the table; what it leaves unquoted and empty is missing."""
    name = f"things_{next(_tables)}"
    shop.run(f"CREATE TABLE {name} (n integer, a text, b text)")
    if quoting == csv.QUOTE_MINIMAL and ending == "\n":
        # Python leaves a carriage return unquoted then, and reads it as the end of a line itself
        rows = [(a.replace("\r", ""), b.replace("\r", "")) for a, b in rows]
    stream = io.StringIO()
    writer = csv.writer(stream, quoting=quoting, lineterminator=ending)  # type: ignore[arg-type]
    writer.writerow(["n", "a", "b"])
    for number, row in enumerate(rows):
        writer.writerow([number, *row])
    path = shop.folder / "python.csv"
    path.write_bytes(stream.getvalue().encode())
    (report,) = import_files(
        shop.dsn,
        [Source(from_catalog(shop.connection, name, schema=shop.schema), (str(path),))],
        ImportOptions(batch=7),
    )
    assert report.rejected == 0
    empty = "" if quoting == csv.QUOTE_ALL else None
    wanted = [(number, *(one or empty for one in row)) for number, row in enumerate(rows)]
    assert shop.rows(f"SELECT n, a, b FROM {name} ORDER BY n") == wanted
    shop.run(f"DROP TABLE {name}")


upserts = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["", "1", "2", "x"])), max_size=10)


@settings(deadline=None, max_examples=examples(60), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(there=upserts, rows=upserts, batch=st.integers(2, 11), typed=st.booleans())
@example(there=[], rows=[("b", "x"), ("b", "y"), ("a", "1"), ("b", "1"), ("a", "2")], batch=11, typed=False)
def test_upserts_are_done_as_if_one_came_after_the_other(
    shop: Shop, there: list[tuple[str, str]], rows: list[tuple[str, str]], batch: int, typed: bool
) -> None:
    """A record may have freed a key that a later one wants, or have taken one that an earlier one had, in any batch."""
    name = f"upserted_{next(_tables)}"
    resource = shop.table("k text PRIMARY KEY, u text UNIQUE", name)
    held: dict[str, str] = {}
    for content in (there, rows):
        refused = []
        for line, (key, unique) in enumerate(content, 1 if typed else 2):
            if unique and any(one == unique and other != key for other, one in held.items()):
                refused.append(line)
            else:
                held[key] = unique
        if typed:
            text = "".join(json.dumps({"k": key, "u": unique or None}) + "\n" for key, unique in content)
        else:
            text = "k,u\n" + "".join(f"{key},{unique}\n" for key, unique in content)
        file = "file.ndjson" if typed else "file.csv"
        imported = shop.load(
            resource, text.encode(), file, upsert=True, batch=batch, format=Format.NDJSON if typed else Format.CSV
        )
        assert list(imported.codes) == refused
        assert dict(shop.rows(f"SELECT k, COALESCE(u, '') FROM {name}")) == held
    shop.run(f"DROP TABLE {name}")
