"""Parents: they must be there, and stay there until their children are; other sessions are always about."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import psycopg
import pytest

from evtool.bulk import ordering
from evtool.bulk.importing import ImportOptions, import_files
from evtool.bulk.opening import Source
from evtool.bulk.resource import find
from tests.bulk.imports.conftest import Imported, Shop

SECONDS = 30


def children(shop: Shop) -> object:
    shop.run("CREATE TABLE parents (id integer PRIMARY KEY)")
    shop.run("INSERT INTO parents SELECT generate_series(1, 100)")
    return shop.table("id integer PRIMARY KEY, parent integer NOT NULL REFERENCES parents", "children")


CONTENT = ("id,parent\n" + "".join(f"{number},{number}\n" for number in range(1, 101))).encode()


def wait_until_blocked(shop: Shop, by: int) -> None:
    """Until a session of the database waits for another one."""
    deadline = time.monotonic() + SECONDS
    query = f"SELECT count(*) FROM pg_stat_activity WHERE {by} = ANY (pg_blocking_pids(pid))"
    while shop.values(query) == [0]:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def in_background(
    shop: Shop, resource: object, content: bytes, **options: int
) -> tuple[threading.Thread, list[Imported]]:
    found: list[Imported] = []
    thread = threading.Thread(target=lambda: found.append(shop.load(resource, content, **options)))  # type: ignore[arg-type]
    thread.start()
    return thread, found


@pytest.mark.parametrize("batch", [7, 1000])
def test_a_parent_that_is_deleted_meanwhile_costs_its_children_only(shop: Shop, batch: int) -> None:
    """While the import waits for a session that deletes parents, it learns of it, and refuses just their children."""
    described = children(shop)
    with psycopg.connect(shop.dsn) as other:
        other.execute(f"DELETE FROM {shop.schema}.parents WHERE id IN (5, 50)")
        thread, found = in_background(shop, described, CONTENT, batch=batch)
        wait_until_blocked(shop, other.info.backend_pid)
        other.commit()
    thread.join(SECONDS)
    assert found[0].codes == {6: ["parent_not_found"], 51: ["parent_not_found"]}
    assert shop.rows("SELECT count(*) FROM children") == [(98,)]


def test_a_delete_that_is_taken_back_costs_nothing(shop: Shop) -> None:
    """The other session rolls back: all children are in."""
    described = children(shop)
    with psycopg.connect(shop.dsn) as other:
        other.execute(f"DELETE FROM {shop.schema}.parents")
        thread, found = in_background(shop, described, CONTENT)
        wait_until_blocked(shop, other.info.backend_pid)
        other.rollback()
    thread.join(SECONDS)
    assert found[0].codes == {}


# Where ON CONFLICT tells who was kept out, and where keys are looked at before.
KEYS = ["id integer PRIMARY KEY, slug text UNIQUE", "id integer UNIQUE, slug text UNIQUE"]


@pytest.mark.parametrize("definition", KEYS, ids=["a primary key", "none"])
@pytest.mark.parametrize("batch", [7, 1000])
def test_a_key_that_another_session_inserts_meanwhile_is_a_duplicate(shop: Shop, batch: int, definition: str) -> None:
    """The import waits for who is about to insert the same keys, and then refuses those records, and no others."""
    described = shop.table(definition)
    content = ("id,slug\n" + "".join(f"{number},s{number}\n" for number in range(1, 101))).encode()
    with psycopg.connect(shop.dsn) as other:
        other.execute(f"INSERT INTO {shop.schema}.things VALUES (7, 'x'), (1000, 's60')")
        thread, found = in_background(shop, described, content, batch=batch)
        wait_until_blocked(shop, other.info.backend_pid)
        other.commit()
    thread.join(SECONDS)
    assert found[0].codes == {8: ["duplicate_id"], 61: ["duplicate_slug"]}


@pytest.mark.parametrize("definition", KEYS, ids=["a primary key", "none"])
def test_two_imports_of_the_same_records_share_them(shop: Shop, definition: str) -> None:
    """Of two imports at once each record is in once; whoever comes second says so."""
    described = shop.table(definition)
    rows = [f"{number},s{number}\n" for number in range(1, 1001)]
    files = []
    for name, content in (("a.csv", rows), ("b.csv", rows[::-1])):
        path = shop.folder / name
        path.write_text("id,slug\n" + "".join(content))
        files.append(path)
    reports = []

    def run(path: Path) -> None:
        reports.extend(import_files(shop.dsn, [Source(described, (str(path),))], ImportOptions(batch=10)))

    threads = [threading.Thread(target=run, args=(path,)) for path in files]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    assert sum(one.inserted for one in reports) == 1000
    assert all(not one.failed_batches for one in reports)
    assert sum(one.rejected for one in reports) == 1000
    assert shop.rows("SELECT count(*), count(DISTINCT slug) FROM things") == [(1000, 1000)]


@pytest.mark.parametrize("batch", [1, 2, 100])
def test_a_table_that_refers_to_itself(shop: Shop, batch: int) -> None:
    """A parent in the table, or earlier in the file, will do; one that is nowhere costs its children."""
    described = shop.table("id integer PRIMARY KEY, parent integer REFERENCES things")
    content = b"id,parent\n1,\n2,1\n3,3\n4,2\n5,99\n6,5\n"
    assert shop.load(described, content, batch=batch).codes == {6: ["parent_not_found"], 7: ["parent_not_found"]}


@pytest.mark.parametrize("upsert", [False, True])
@pytest.mark.parametrize("batch", [1, 2, 100])
@pytest.mark.parametrize("when", ["", " DEFERRABLE INITIALLY DEFERRED"])
def test_a_parent_that_comes_later_is_none(shop: Shop, when: str, batch: int, upsert: bool) -> None:
    """A record that refers to a later one of its own file is refused in any batch; imported again, it is not."""
    described = shop.table(f"id integer PRIMARY KEY, parent integer REFERENCES things{when}")
    content = b"id,parent\n1,2\n2,\n3,3\n4,x\n5,4\n6,2\n7,8\n8,7\n"
    imported = shop.load(described, content, batch=batch, upsert=upsert)
    late = {
        2: ["parent_not_found"],
        5: ["invalid_parent"],
        6: ["parent_not_found"],
        8: ["parent_not_found"],
        9: ["parent_not_found"],
    }
    assert imported.codes == late
    told = [error["message"] for one in imported.rejects for error in one["errors"] if one["line"] in (2, 6)]
    assert told == ["parent: there is no such record in things, nor earlier in the file"] * 2
    assert shop.load(described, b"id,parent\n1,2\n", batch=batch, upsert=upsert).codes == {}


def test_a_reference_of_several_columns(shop: Shop) -> None:
    """All columns of a foreign key together are looked for; where one is missing, nothing is."""
    shop.run("CREATE TABLE parents (a integer, b text, PRIMARY KEY (a, b))")
    shop.run("INSERT INTO parents VALUES (1, 'x')")
    described = shop.table(
        "id integer PRIMARY KEY, a integer, b text, FOREIGN KEY (a, b) REFERENCES parents", "children"
    )
    imported = shop.load(described, b"id,a,b\n1,1,x\n2,1,y\n3,1,\n4,,y\n")
    assert imported.codes == {3: ["a_b_not_found"]}


def test_several_resources_go_in_the_order_of_their_references(shop: Shop) -> None:
    """Comments, articles and users in one call: users come first, whatever was named first."""
    user, article = "0b1e6d3c-7f1a-4a57-9d35-9f6f0c2b1a11", "0b1e6d3c-7f1a-4a57-9d35-9f6f0c2b1a12"
    contents = {
        "comments": f"id,article_id,user_id,body\ncm_1,{article},{user},text\n",
        "articles": f"id,slug,title,body,author_id,status\n{article},a-b,T,B,{user},draft\n",
        "users": f"id,email,name,role,active\n{user},a@x.org,A,admin,true\n",
    }
    sources = []
    for name, content in contents.items():
        (shop.folder / f"{name}.csv").write_text(content)
        sources.append(Source(find(name).in_schema(shop.schema), (str(shop.folder / f"{name}.csv"),)))
    reports = import_files(shop.dsn, sources, ImportOptions(atomic=True))
    assert [(one.resource, one.inserted) for one in reports] == [("users", 1), ("articles", 1), ("comments", 1)]


def test_resources_in_a_circle_stay_as_they_were_named() -> None:
    """No order suits a circle; the given one is kept."""
    from evtool.bulk.resource import Column, Reference, Resource

    def one(name: str, other: str) -> Resource:
        columns = (Column("id", "integer"), Column("other", "integer"))
        return Resource(name, name, columns, "s", references=(Reference(("other",), other, ("id",), "not_found"),))

    circle = [one("b", "a"), one("a", "b")]
    assert ordering.ordered(circle, lambda resource: resource) == circle
