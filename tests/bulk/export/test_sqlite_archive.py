"""Ordinary SQLite files as people have them: odd tables, odd texts, other programs at work."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from evtool.bulk.exporting import export_file
from evtool.bulk.resource import shipped
from evtool.bulk.selecting import BulkSelection, plan
from evtool.bulk.sources import Request
from evtool.bulk.sources.sqlite import SQLiteSource
from evtool.bulk.writers import Format
from evtool.errors import InvalidArgument, InvalidDsn, StoreError, StoreUnreachable

Export = Callable[..., bytes]

_POSTS = """
    CREATE TABLE posts (
        uri TEXT PRIMARY KEY, cid TEXT NOT NULL, did TEXT NOT NULL, text TEXT, created_at TIMESTAMP NOT NULL,
        indexed_at TIMESTAMP, has_media BOOLEAN DEFAULT 0, like_count INTEGER DEFAULT 0, repost_count INTEGER DEFAULT 0,
        reply_count INTEGER DEFAULT 0, quote_count INTEGER DEFAULT 0, is_reply BOOLEAN DEFAULT 0, reply_parent TEXT,
        embed_type TEXT, embed_data TEXT, labels TEXT, archived_at TIMESTAMP)
"""


def _ids(content: bytes) -> list[int]:
    return [json.loads(line)["id"] for line in content.splitlines()]


def test_posts_come_newest_first_and_then_by_uri(archive: sqlite3.Connection, export_archive: Export) -> None:
    """The archive of posts: created_at descending, uri ascending, embed_data and labels as stored, '' being no JSON."""
    archive.execute(_POSTS)
    embed = '{"b": 1, "a": [1.0, "\\u00e9"]}'
    for uri, created, data in (
        ("u2", "2025-01-01T00:00:00Z", embed),
        ("u1", "2025-01-01T00:00:00Z", ""),
        ("u0", "2024-06-01T12:00:00.5Z", None),
    ):
        archive.execute(
            "INSERT INTO posts (uri, cid, did, text, created_at, embed_data, labels) VALUES (?, 'c', 'd', 'hé', ?, ?, '[]')",
            (uri, created, data),
        )
    lines = export_archive(shipped("posts")).decode().splitlines()
    assert [json.loads(line)["uri"] for line in lines] == ["u1", "u2", "u0"]
    assert f'"embed_data":{embed},"labels":[],"archived_at":null' in lines[1]
    assert [json.loads(line)["embed_data"] for line in lines] == [None, json.loads(embed), None]
    assert json.loads(lines[2])["created_at"] == "2024-06-01T12:00:00.500000Z"
    assert json.loads(lines[0])["has_media"] is False


def test_pages_follow_an_index_and_nothing_is_skipped(archive: sqlite3.Connection, tmp_path: Path) -> None:
    """With an index for the order, each page is found by its key: no OFFSET, no sorting; each record comes once."""
    archive.execute("CREATE TABLE t (id TEXT PRIMARY KEY, n INTEGER NOT NULL, m INTEGER NOT NULL)")
    rows = [(f"{number:04}", number // 10 % 7, number % 3) for number in range(1000)]
    archive.executemany("INSERT INTO t VALUES (?, ?, ?)", rows)
    archive.execute("CREATE INDEX t_order ON t (n DESC, m, id)")
    with SQLiteSource(f"sqlite://{tmp_path / 'an archive.db'}") as source:
        planned = plan(source.table(Request("t")), BulkSelection(order_by=("n desc", "m")))
        asked: list[str] = []
        source._connection.set_trace_callback(asked.append)
        blocks = list(source.blocks(planned, Format.CSV, 100))
        source._connection.set_trace_callback(None)
        got = [line.split(",")[0] for block in blocks for line in block.text.decode().splitlines()]
        pages = [query for query in asked if "LIMIT 100" in query]
        assert len(pages) == 11
        assert not any("OFFSET" in query.upper() for query in asked)
        for query in pages:
            steps = [step[3] for step in archive.execute(f"EXPLAIN QUERY PLAN {query}")]
            assert len(steps) == 1
            assert "t_order" in steps[0]
        # the later pages begin in the middle of the index
        assert all("SEARCH" in archive.execute(f"EXPLAIN QUERY PLAN {query}").fetchone()[3] for query in pages[1:])
    assert got == [row[0] for row in sorted(rows, key=lambda row: (-row[1], row[2], row[0]))]


@pytest.mark.parametrize(
    "definition",
    [
        "CREATE TABLE t (id INTEGER PRIMARY KEY, k)",
        "CREATE TABLE t (id INTEGER, k TEXT PRIMARY KEY)",
        "CREATE TABLE t (id INTEGER, k TEXT PRIMARY KEY) WITHOUT ROWID",
        "CREATE TABLE t (id INTEGER, k TEXT COLLATE NOCASE PRIMARY KEY)",
        "CREATE TABLE t (id INTEGER, k)",
        "CREATE TABLE t (id INTEGER, k TEXT, rowid TEXT, oid TEXT)",
        "CREATE TABLE s (id INTEGER, k TEXT); CREATE VIEW t AS SELECT * FROM s",
    ],
)
@pytest.mark.parametrize("batch", [1, 3, 1000])
def test_tables_of_any_kind_come_whole(
    archive: sqlite3.Connection, export_archive: Export, definition: str, batch: int
) -> None:
    """With a key, without, without rowids, with a collation, a view: each record once, whatever the batch."""
    archive.executescript(definition)
    target = "s" if "VIEW" in definition else "t"
    for number in range(1, 51):
        # the letters come twice, in both cases, where that is no clash
        key = chr(ord("a") + number % 26) + str(number)
        archive.execute(f"INSERT INTO {target} (id, k) VALUES (?, ?)", (number, key if number % 2 else key.upper()))
    content = export_archive("t", batch=batch)
    assert sorted(_ids(content)) == list(range(1, 51))
    assert export_archive("t", batch=50) == content


def test_nulls_in_a_key_are_not_lost(archive: sqlite3.Connection, export_archive: Export) -> None:
    """SQLite lets a primary key hold null, and more than one: they come first, in the order of their rows."""
    archive.execute("CREATE TABLE t (k TEXT PRIMARY KEY, id INTEGER)")
    archive.executemany("INSERT INTO t VALUES (?, ?)", [("b", 1), (None, 2), (None, 3), ("a", 4), (None, 5)])
    for batch in (1, 2, 100):
        assert _ids(export_archive("t", batch=batch)) == [2, 3, 5, 4, 1]


def test_blobs_in_a_key_are_not_lost(archive: sqlite3.Connection, export_archive: Export) -> None:
    r"""A key may be a BLOB or the text that one is written as: each record comes once, a BLOB behind all texts."""
    archive.execute("CREATE TABLE t (k TEXT PRIMARY KEY NOT NULL, id INTEGER)")
    archive.executemany("INSERT INTO t VALUES (?, ?)", [(b"b", 5), ("\\x62", 1), (b"a", 4), ("a", 2), ("é", 3)])
    for batch in (1, 2, 100):
        content = export_archive("t", batch=batch)
        assert _ids(content) == [1, 2, 3, 4, 5]
        assert [json.loads(line)["k"] for line in content.splitlines()] == ["\\x62", "a", "é", "\\x61", "\\x62"]


@pytest.mark.parametrize("form", ["csv", "ndjson"])
@pytest.mark.parametrize("type_", ["TEXT", "TIMESTAMP", "JSON", "BOOLEAN", "INTEGER"])
def test_text_that_is_no_utf_8_is_refused_in_any_column(
    archive: sqlite3.Connection, export_archive: Export, form: str, type_: str
) -> None:
    """Also where a column holds no text as a rule, and for CSV, which takes JSON as it comes."""
    archive.execute(f"CREATE TABLE t (id INTEGER PRIMARY KEY, s {type_})")
    archive.executemany("INSERT INTO t (s) VALUES (CAST(? AS TEXT))", [(b"[]",), (b'["\xff"]',)])
    with pytest.raises(StoreError, match="not UTF-8"):
        export_archive("t", form)


def test_moments_of_many_spellings_become_one(archive: sqlite3.Connection, export_archive: Export) -> None:
    """What other programs write for a moment is the moment; what is none stays as it is stored."""
    spelt = {
        "2025-07-15T10:00:00Z": "2025-07-15T10:00:00.000000Z",
        "2025-07-15 10:00:00": "2025-07-15T10:00:00.000000Z",
        "2025-07-15 10:00:00+00:00": "2025-07-15T10:00:00.000000Z",
        "2025-07-15 12:30:00.123456789 +0230 UTC": "2025-07-15T10:00:00.123456Z",
        "2025-07-15 10:00:00 +0000 UTC": "2025-07-15T10:00:00.000000Z",
        "2025-07-15T10:00:00.1-05:00": "2025-07-15T15:00:00.100000Z",
        "2025-07-15T10:00Z": "2025-07-15T10:00:00.000000Z",
        "2025-07-15": "2025-07-15",
        "soon": "soon",
        "": "",
    }
    archive.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, m DATETIME)")
    archive.executemany("INSERT INTO t (m) VALUES (?)", [(text,) for text in spelt])
    archive.execute("INSERT INTO t (m) VALUES (1752573600)")
    for batch in (1, 1000):
        got = [json.loads(line)["m"] for line in export_archive("t", batch=batch).splitlines()]
        assert got == [*spelt.values(), "1752573600"]


def test_a_column_of_one_spelling_is_as_one_of_many(archive: sqlite3.Connection, export_archive: Export) -> None:
    """Alike texts, which are made moments at one go, come out as each would alone, also where a month is the 13th."""
    texts = ["2025-07-15T10:00:00.12Z", "2025-13-45T99:99:99.99Z", "2025-07-15T10:00:00.00Z"]
    archive.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, m TIMESTAMP)")
    archive.executemany("INSERT INTO t (m) VALUES (?)", [(text,) for text in texts])
    together = [json.loads(line)["m"] for line in export_archive("t").splitlines()]
    alone = []
    for number in range(len(texts)):
        alone += [json.loads(line)["m"] for line in export_archive("t", where=[f"id={number + 1}"]).splitlines()]
    assert together == alone


def test_what_is_stored_against_its_type_is_written_as_it_is(
    archive: sqlite3.Connection, export_archive: Export
) -> None:
    """SQLite binds no value to a type: a text in a column of numbers is a string, a BLOB is PostgreSQL's hex."""
    archive.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER, t TEXT, b BOOLEAN, x)")
    archive.execute("INSERT INTO t VALUES (1, 'ten', x'00ff', 'TRUE', 1.5)")
    archive.execute("INSERT INTO t VALUES (2, 1e300, 12, 7, 'é')")
    first, second = (json.loads(line) for line in export_archive("t").splitlines())
    assert first == {"id": 1, "n": "ten", "t": "\\x00ff", "b": True, "x": 1.5}
    assert second == {"id": 2, "n": 1e300, "t": "12", "b": 7, "x": "é"}
    assert export_archive("t", "csv") == "id,n,t,b,x\r\n1,ten,\\x00ff,true,1.5\r\n2,1e+300,12,7,é\r\n".encode()


@pytest.mark.parametrize("stored", ["{", "nope", "{'a':1}", "[1,]", '"\n"', "1,2", "NaN", b"{}"])
def test_what_is_not_json_is_named_and_csv_takes_it(
    archive: sqlite3.Connection, export_archive: Export, tmp_path: Path, stored: str | bytes
) -> None:
    """No file of JSON is broken by one value: the record is named by its number, and CSV has the text as it is."""
    archive.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, j JSON)")
    archive.executemany("INSERT INTO t (j) VALUES (?)", [("{}",), (None,), ("[]",), (stored,), ("{}",)])
    for form in ("ndjson", "json"):
        with pytest.raises(StoreError, match='"j" of record 4,'):
            export_archive("t", form)
    assert not (tmp_path / "exported").exists()
    assert export_archive("t", "csv").startswith(b"id,j\r\n1,{}\r\n2,\r\n3,[]\r\n4,")


def test_text_that_is_no_utf_8_is_an_error_without_the_text(
    archive: sqlite3.Connection, export_archive: Export, tmp_path: Path
) -> None:
    """Bytes that are not UTF-8 are refused in one sentence that doesn't show them."""
    archive.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, s TEXT)")
    archive.execute("INSERT INTO t VALUES (1, CAST(x'736563726574ff' AS TEXT))")
    with pytest.raises(StoreError, match="not UTF-8") as caught:
        export_archive("t")
    assert "secret" not in caught.value.message
    assert export_archive("t", columns=("id",)) == b'{"id":1}\n'


def test_a_text_may_hold_nul(archive: sqlite3.Connection, export_archive: Export) -> None:
    """NUL, which PostgreSQL can't store and SQLite can, is escaped in JSON and itself in CSV."""
    archive.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, s TEXT)")
    archive.executemany("INSERT INTO t (s) VALUES (?)", [("a\0b",), ("c",), ('"\0,',)])
    assert [json.loads(line)["s"] for line in export_archive("t").splitlines()] == ["a\0b", "c", '"\0,']
    assert export_archive("t", "csv") == b'id,s\r\n1,a\0b\r\n2,c\r\n3,"""\0,"\r\n'


def test_an_export_sees_one_moment_of_the_file(archive: sqlite3.Connection, tmp_path: Path) -> None:
    """What another program commits meanwhile is not in the file, and the database is not changed."""
    archive.execute("PRAGMA journal_mode = WAL")
    archive.execute("CREATE TABLE t (id INTEGER PRIMARY KEY)")
    archive.executemany("INSERT INTO t VALUES (?)", [(number,) for number in range(1000)])
    with SQLiteSource(f"sqlite://{tmp_path / 'an archive.db'}") as source:
        planned = plan(source.table(Request("t")), BulkSelection())
        blocks = source.blocks(planned, Format.NDJSON, 10)
        count = next(blocks).count
        archive.execute("DELETE FROM t WHERE id > 500")
        archive.execute("INSERT INTO t VALUES (5000)")
        assert count + sum(block.count for block in blocks) == 1000
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            source._connection.execute("DELETE FROM t")


@pytest.mark.parametrize("kind", ["archive", "server"])
def test_a_column_alone_tells_null_from_empty(
    archive: sqlite3.Connection, tables: psycopg.Connection, export: Export, export_archive: Export, kind: str
) -> None:
    r"""A CSV of one column: nothing for null, quotes for an empty text, and for the mark that ended files once."""
    rows = [(None,), ("",), ("\\.",), ("a\\.",), ("a,b",)]
    for database, mark in ((archive, "?"), (tables, "%s")):
        database.execute("CREATE TABLE alone (s TEXT)")
        for row in rows:
            database.execute(f"INSERT INTO alone VALUES ({mark})", row)
    content = (export_archive if kind == "archive" else export)("alone", "csv", order_by=("s",))
    assert content == b's\r\n\r\n""\r\n"\\."\r\n"a,b"\r\na\\.\r\n'


def test_names_are_names_and_not_sql(archive: sqlite3.Connection, export_archive: Export) -> None:
    """Quotes, blanks and key words in the names of tables and columns are just that."""
    archive.execute('CREATE TABLE "select "" from" ("order by" INTEGER PRIMARY KEY, "a,""b" TEXT)')
    archive.execute("""INSERT INTO "select "" from" VALUES (1, 'x')""")
    assert export_archive('select " from', "csv") == b'order by,"a,""b"\r\n1,x\r\n'
    assert json.loads(export_archive('select " from')) == {"order by": 1, 'a,"b': "x"}
    with pytest.raises(InvalidArgument, match="no table"):
        export_archive("sqlite_master; DROP TABLE x")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("nosuch.db", StoreUnreachable),
        ("", InvalidDsn),
        ("text", StoreError),
    ],
)
def test_what_is_no_database_is_said(tmp_path: Path, name: str, kind: type[Exception]) -> None:
    """A file that isn't there, a folder, and a file of another kind each have their error, and none is made."""
    (tmp_path / "text").write_text("not a database, and long enough to have a header of one" * 10)
    with pytest.raises(kind):
        SQLiteSource(f"sqlite://{tmp_path}/{name}")
    assert [path.name for path in tmp_path.iterdir()] == ["text"]


def test_records_larger_than_a_block(archive: sqlite3.Connection, export_archive: Export) -> None:
    """A text of several megabytes comes whole, between small ones."""
    archive.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, s TEXT)")
    large = 'é"\n' * 1_000_000
    archive.executemany("INSERT INTO t (s) VALUES (?)", [("a",), (large,), ("b",)])
    assert [json.loads(line)["s"] for line in export_archive("t").splitlines()] == ["a", large, "b"]


def test_since_looks_at_the_time_of_the_resource(archive: sqlite3.Connection, export_archive: Export) -> None:
    """The bound finds its way through an index, with both spellings that Go programs use."""
    archive.execute(_POSTS)
    archive.execute("CREATE INDEX posts_created_at ON posts (created_at)")
    for number, created in enumerate(
        ("2025-07-14 23:59:59+00:00", "2025-07-15 00:00:00+00:00", "2025-07-15T01:00:00Z")
    ):
        archive.execute(
            "INSERT INTO posts (uri, cid, did, created_at) VALUES (?, 'c', 'd', ?)", (f"u{number}", created)
        )
    content = export_archive(shipped("posts"), since=datetime(2025, 7, 15, tzinfo=UTC))
    assert sorted(json.loads(line)["uri"] for line in content.splitlines()) == ["u1", "u2"]


def test_an_export_does_not_take_the_place_of_its_database(archive: sqlite3.Connection, tmp_path: Path) -> None:
    """Under no name, nor does its manifest: the database is as it was. Four slashes begin an absolute path, too."""
    archive.execute("CREATE TABLE things (id INTEGER PRIMARY KEY)")
    path = tmp_path / "an archive.db"
    (tmp_path / "linked.json").symlink_to(path)
    (tmp_path / "x.json.manifest.json").symlink_to(path)
    for name in ("an archive.db", "linked.json", "x.json"):
        with pytest.raises(InvalidArgument, match="is the database that is exported"):
            export_file(f"sqlite:///{path}", "things", tmp_path / name)
    assert archive.execute("SELECT count(*) FROM things").fetchone() == (0,)
    assert path.read_bytes().startswith(b"SQLite format 3")
    summary = export_file(f"sqlite:////{str(path).lstrip('/')}", "things", tmp_path / "out.json", format=Format.JSON)
    assert summary.exported == 0
    with pytest.raises(InvalidArgument, match="no format"):
        export_file(f"sqlite:///{path}", "things", tmp_path / "out.json", format="json")  # type: ignore[arg-type]
