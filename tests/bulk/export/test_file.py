"""The file of an export and its manifest: whole or absent, described, and not begun where there is no space."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from evtool.compression import Compression
from evtool.errors import FileError, PermissionDenied
from tests.cli.running import SECONDS, Cli, assert_one_line
from tests.transfer.test_compression import DECOMPRESS

Export = Callable[..., bytes]

_MANY = 300_000


@pytest.fixture
def many(tables: psycopg.Connection) -> psycopg.Connection:
    """A table so large that no buffer on the way takes it at once."""
    tables.execute(
        f"CREATE TABLE many AS SELECT n AS id, repeat('x', 100) AS text FROM generate_series(1, {_MANY}) AS n"
    )
    tables.execute("ALTER TABLE many ADD PRIMARY KEY (id)")
    return tables


def test_a_manifest_says_what_the_file_holds(
    bulk_cli: Cli, tables: psycopg.Connection, schema: str, tmp_path: Path
) -> None:
    """Count, columns, order, filters, snapshot and the checksum of the bytes on disk, for a file of each compression."""
    tables.execute("CREATE TABLE t (id int PRIMARY KEY, name text, at timestamptz)")
    tables.execute(
        "INSERT INTO t SELECT n, 'n' || n % 3, '2025-01-01'::timestamptz + n * interval '1 day' FROM generate_series(1, 100) n"
    )
    contents = []
    for name, compression, also in (
        ("out.csv", "none", []),
        ("out.csv.gz", "gzip", []),
        ("out.csv.zst", "zstd", []),
        ("zipped", "gzip", ["--gzip", "--format", "csv"]),
        ("packed", "zstd", ["--zstd", "--format", "csv"]),
    ):
        path = tmp_path / name
        options = [
            *also,
            "--table",
            "t",
            "--schema",
            schema,
            "--where",
            "name=n1",
            "--since",
            "2025-01-10",
            "--time-field",
            "at",
        ]
        bulk_cli("bulk", "export", *options, "--order-by", "at desc", "--columns", "at,id", "-o", path).ok()
        manifest = json.loads((tmp_path / f"{name}.manifest.json").read_text())
        raw = path.read_bytes()
        contents.append(DECOMPRESS[compression](raw) if compression in DECOMPRESS else raw)
        assert manifest["sha256"] == hashlib.sha256(raw).hexdigest()
        assert manifest["bytes"] == len(raw)
        assert manifest["count"] == contents[-1].count(b"\n") - 1 == 31
        assert manifest["table"] == f"{schema}.t"
        assert manifest["format"] == "csv"
        assert manifest["compression"] == compression
        assert [one["name"] for one in manifest["columns"]] == ["at", "id"]
        assert manifest["order"] == ["at DESC", "id ASC"]
        assert manifest["filters"] == {"where": ["name=n1"], "time_field": "at", "since": "2025-01-10T00:00:00.000000Z"}
        assert manifest["snapshot"]["source"] == "postgresql"
        assert manifest["snapshot"]["id"]
    assert contents == contents[:1] * 5


def test_one_compression_is_enough(bulk_cli: Cli, tmp_path: Path) -> None:
    """Two of them are an error of use, and nothing is written."""
    result = bulk_cli("bulk", "export", "users", "--gzip", "--zstd", "-o", tmp_path / "out")
    assert result.code == 2
    assert b"not both" in result.stderr
    assert not list(tmp_path.iterdir())


def test_stdout_takes_an_export_without_a_manifest(
    bulk_cli: Cli, tables: psycopg.Connection, schema: str, tmp_path: Path
) -> None:
    """Data goes to stdout, talk to stderr; who reads only the head ends it quietly."""
    tables.execute("CREATE TABLE t AS SELECT 1 AS id")
    done = bulk_cli("bulk", "export", "--table", f"{schema}.t").ok()
    assert done.stdout == b'{"id":1}\n'
    assert done.err.startswith("Done. 1 record exported")
    events = bulk_cli("bulk", "export", "--table", f"{schema}.t", "--progress", "json").ok().err.splitlines()
    assert json.loads(events[-1])["exported"] == 1


@pytest.mark.parametrize(
    ("options", "code", "part"),
    [
        (["--table", "nosuch"], 2, "no table"),
        (["nosuch"], 2, "no resource"),
        (["--table", "t", "--columns", "a,b"], 2, "no field"),
        (["--table", "t", "--where", "id=x"], 2, "integer"),
        (["--table", "t", "-o", "/nonexistent/x"], 1, "can't write"),
    ],
)
def test_errors_are_one_line(
    bulk_cli: Cli, tables: psycopg.Connection, schema: str, options: list[str], code: int, part: str
) -> None:
    """What is asked wrongly is one line with the next step, and no traceback."""
    tables.execute("CREATE TABLE t AS SELECT 1 AS id")
    assert_one_line(bulk_cli("bulk", "export", "--schema", schema, *options), code, part)


def _stopped(cli: Cli, schema: str, target: Path) -> subprocess.Popen[bytes]:
    """An export to a file that is on its way, and held there by a signal."""
    process = cli.start("bulk", "export", "--table", "many", "--schema", schema, "-o", target, "--progress", "json")
    assert process.stderr is not None
    process.stderr.readline()
    process.send_signal(signal.SIGSTOP)
    return process


def test_a_killed_export_leaves_no_file_of_the_name(
    bulk_cli: Cli, many: psycopg.Connection, schema: str, tmp_path: Path
) -> None:
    """Kill -9 in the middle: the file isn't there, or is the older one; the next export with the same command works."""
    target = tmp_path / "many.ndjson"
    for before in (None, b"older\n"):
        if before is not None:
            target.write_bytes(before)
        process = _stopped(bulk_cli, schema, target)
        process.kill()
        process.communicate(timeout=SECONDS)
        assert process.returncode == -signal.SIGKILL
        assert (target.read_bytes() if target.exists() else None) == before
        assert not (tmp_path / "many.ndjson.manifest.json").exists()
    bulk_cli("bulk", "export", "--table", "many", "--schema", schema, "-o", target).ok()
    assert target.read_bytes().count(b"\n") == _MANY


def test_a_server_that_ends_the_session_leaves_no_file(
    bulk_cli: Cli, many: psycopg.Connection, schema: str, tmp_path: Path
) -> None:
    """The connection is ended in the middle: one line, the exit code of an unreachable store, and nothing on disk."""
    target = tmp_path / "many.ndjson"
    process = _stopped(bulk_cli, schema, target)
    ended = many.execute(
        "SELECT pg_terminate_backend(pid, 30000) FROM pg_stat_activity"
        " WHERE datname = current_database() AND query LIKE 'SELECT coalesce%%' || %s || '%%' AND pid <> pg_backend_pid()",
        (schema,),
    ).fetchall()
    assert ended == [(True,)]
    process.send_signal(signal.SIGCONT)
    _, error = process.communicate(timeout=SECONDS)
    last = error.decode().splitlines()[-1]
    assert json.loads(last)["error"] == "STORE_UNREACHABLE"
    assert process.returncode == 3
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_leaves_no_file(bulk_cli: Cli, many: psycopg.Connection, schema: str, tmp_path: Path) -> None:
    """An interrupt is obeyed at once and leaves nothing."""
    process = _stopped(bulk_cli, schema, tmp_path / "many.ndjson")
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGCONT)
    process.communicate(timeout=SECONDS)
    assert process.returncode == 130
    assert list(tmp_path.iterdir()) == []


def test_too_little_space_is_found_before_the_work(
    bulk_cli: Cli, tables: psycopg.Connection, schema: str, tmp_path: Path
) -> None:
    """A table that the planner expects to be larger than the disk is refused at once, and stdout is not asked."""
    tables.execute("CREATE TABLE small (id bigint PRIMARY KEY)")
    tables.execute("INSERT INTO small SELECT generate_series(1, 1000)")
    tables.execute("ANALYZE small")
    # a cross join of it is expected to have as many rows as the product says
    tables.execute("CREATE VIEW product AS SELECT a.id FROM small a, small b, small c, small d, small e")
    start = time.monotonic()
    done = bulk_cli("bulk", "export", "--table", "product", "--schema", schema, "-o", tmp_path / "out")
    assert_one_line(done, 1, "free space", "--no-space-check")
    assert time.monotonic() - start < SECONDS / 2
    assert list(tmp_path.iterdir()) == []


def test_a_large_archive_is_counted_before_the_work(
    archive: sqlite3.Connection, export_archive: Export, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of SQLite the records are counted and some are measured; what is a little more than the free space is refused."""
    archive.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, s TEXT)")
    archive.execute("BEGIN")
    archive.executemany("INSERT INTO t (s) VALUES (?)", [("x" * 100,)] * 1000)
    archive.execute("COMMIT")
    size = len(export_archive("t"))
    real = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: real._replace(free=size * 8 // 10))
    with pytest.raises(FileError, match="free space"):
        export_archive("t")
    assert len(export_archive("t", check_space=False)) == size
    # a tenth of it is enough for a compressed one
    export_archive("t", compression=Compression.GZIP)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: real._replace(free=size * 12 // 10))
    assert len(export_archive("t")) == size


def test_row_level_security_hides_nothing_silently(
    make_database: Callable[..., str], tables: psycopg.Connection, bulk_dsn: str, schema: str, export: Export
) -> None:
    """A role that would see a part of the table gets an error, and not a file that looks complete."""
    tables.execute("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1), (2)")
    tables.execute("ALTER TABLE t ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON t USING (id = 1)")
    role = f"bulk_reader_{os.getpid()}"
    tables.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'x'").format(sql.Identifier(role)))
    try:
        tables.execute(sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(sql.Identifier(schema), sql.Identifier(role)))
        dsn = psycopg.conninfo.make_conninfo(bulk_dsn, user=role, password="x")
        with pytest.raises(PermissionDenied):
            export("t", dsn=dsn)
        tables.execute(sql.SQL("GRANT SELECT ON t TO {}").format(sql.Identifier(role)))
        with pytest.raises(PermissionDenied, match="row-level security"):
            export("t", dsn=dsn)
    finally:
        tables.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(role)))
        tables.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


# A process's peak begins with what its parent had when it was forked, so the parent has to be a small one.
_MEASURE = """
import os, sys
pid = os.fork()
if not pid:
    os.execv(sys.argv[1], sys.argv[1:])
_, status, usage = os.wait4(pid, 0)
print(usage.ru_maxrss)
sys.exit(os.waitstatus_to_exitcode(status))
"""


def _peak(cli: Cli, *arguments: str | Path) -> int:
    done = subprocess.run(
        [sys.executable, "-S", "-c", _MEASURE, *cli.command(*arguments)],
        env=cli.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.thorough
def test_memory_stays_constant(bulk_cli: Cli, many: psycopg.Connection, schema: str, tmp_path: Path) -> None:
    """300,000 records of either database take less than 100 MB, and hardly more than 30,000 do."""
    archive = sqlite3.connect(tmp_path / "a.db")
    archive.execute("CREATE TABLE many (id INTEGER PRIMARY KEY, text TEXT)")
    archive.executemany("INSERT INTO many (text) VALUES (?)", (("x" * 100,) for _ in range(_MANY)))
    archive.commit()
    archive.close()
    for dsn in (bulk_cli.dsn or "", f"sqlite://{tmp_path / 'a.db'}"):
        for form in ("json", "csv"):
            peaks = []
            for count in (_MANY // 10, _MANY):
                options = ["--table", "many", "--where", f"id<={count}", "--format", form, "-o", tmp_path / "out"]
                # without an index that gives the order the server, or SQLite on disk, sorts
                peaks.append(_peak(bulk_cli, "bulk", "export", *options, "--dsn", dsn, "--schema", schema))
            assert peaks[1] < 100 << 10, (dsn, form, peaks)
            assert peaks[1] - peaks[0] < 8 << 10, (dsn, form, peaks)


TABLES = {
    "a table": "CREATE TABLE documents (id integer PRIMARY KEY, document json)",
    "behind many small ones": "CREATE TABLE documents (id integer PRIMARY KEY, document json);"
    " INSERT INTO documents SELECT -n, '{}' FROM generate_series(1, 50000) AS n",
    "in a partition": "CREATE TABLE documents (id integer PRIMARY KEY, document json) PARTITION BY RANGE (id);"
    " CREATE TABLE part PARTITION OF documents DEFAULT",
    "in an heir": "CREATE TABLE parent (id integer, document json);"
    " INSERT INTO parent SELECT -n, '{}' FROM generate_series(1, 1000) AS n; CREATE TABLE documents () INHERITS (parent)",
}


@pytest.mark.thorough(but=["in an heir-False"])
@pytest.mark.parametrize("analyzed", [False, True])
@pytest.mark.parametrize("where", TABLES)
def test_documents_are_not_held_together(
    bulk_cli: Cli, tables: psycopg.Connection, schema: str, tmp_path: Path, where: str, analyzed: bool
) -> None:
    """Forty documents of 3 MB each pass through less than 100 MB, wherever they lie and whatever the server knows."""
    for statement in TABLES[where].split(";"):
        tables.execute(statement.encode())
    for table in ("documents", "part") if where == "in a partition" else ("documents",):
        tables.execute(f"ALTER TABLE {table} ALTER document SET STORAGE EXTERNAL".encode())
    tables.execute(
        "INSERT INTO documents SELECT n, json_build_object('a', repeat(md5(n::text), 100000)) FROM generate_series(1, 40) AS n"
    )
    if analyzed:
        tables.execute("ANALYZE")
    target = tmp_path / "out.ndjson"
    whole = "parent" if where == "in an heir" else "documents"
    peak = _peak(bulk_cli, "bulk", "export", "--table", whole, "--schema", schema, "-o", target)
    assert peak < 100 << 10
    assert target.stat().st_size > 40 * 3_200_000
