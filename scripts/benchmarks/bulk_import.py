"""`evtool bulk import` against a bare COPY of the good records into the same table, and how much memory it takes."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
from benchmarks.measuring import Row, compared, in_turn, say, seconds
from psycopg import sql

import evtool
from evtool.bulk import installing
from evtool.bulk.importing import import_files
from evtool.bulk.opening import Source
from evtool.bulk.resource import find
from evtool.stores.postgres.connection import Connector

_ROOT = Path(evtool.__file__).resolve().parent.parent
_PEAK = Path(__file__).with_name("peak.py")
_MEMORY_LIMIT = 100e6
_SCHEMA = "benchmark_import"
_ARTICLES = 1000

# What the seeds asked for, in records a second.
_ASKED = 5000


def measure(dsn: str, count: int, rounds: int) -> Iterator[Row]:
    """The rows of the group bulk-import.

    Args:
        dsn: of the database to work in.
        count: how many users; there are ten times as many comments.
        rounds: how often both sides run.
    """
    with tempfile.TemporaryDirectory() as folder, Connector(dsn).open() as connection:
        connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(_SCHEMA)))
        installing.install(connection)
        installing.make_tables(connection, _SCHEMA)
        connection.execute(sql.SQL("SET search_path = {}").format(sql.Identifier(_SCHEMA)))
        users, comments = Path(folder) / "users.csv", Path(folder) / "comments.csv"
        good = _users(users, count)
        yield _compared(dsn, connection, "users", users, good, count, rounds, 0.3, f"{count:,} users, 3 % bad")
        _fill(connection)
        good = _comments(connection, comments, count * 10)
        what = f"{count * 10:,} comments with foreign keys"
        yield _compared(dsn, connection, "comments", comments, good, count * 10, max(1, rounds // 2), 0.2, what)
        yield _memory(dsn, connection, comments)
        connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(_SCHEMA)))


def _compared(
    dsn: str,
    connection: psycopg.Connection,
    name: str,
    path: Path,
    good: bytes,
    count: int,
    rounds: int,
    target: float,
    what: str,
) -> Row:
    source = [Source(find(name).in_schema(_SCHEMA), (str(path),))]

    def bare() -> None:
        with connection.cursor() as cursor, cursor.copy(f"COPY {name} FROM STDIN (FORMAT csv)") as copy:
            for start in range(0, len(good), 1 << 16):
                copy.write(good[start : start + (1 << 16)])

    def ours() -> None:
        (report,) = import_files(dsn, source)
        assert report.total == count
        assert report.inserted == good.count(b"\n")

    def prepare() -> None:
        connection.execute(f"TRUNCATE {name} CASCADE" if name == "comments" else "TRUNCATE users CASCADE")
        connection.execute("CHECKPOINT")

    samples = in_turn(_timed(ours), _timed(bare), rounds, prepare)
    best = min(seconds for seconds, _ in samples)
    note = f"{count / best:,.0f} records a second at best; the seeds ask for {_ASKED:,}"
    return compared(f"bulk import of {what}", "s", samples, side="bare COPY", target=target, note=note)


def _timed(work: Callable[[], None]) -> Callable[[], float]:
    return lambda: seconds(work)


def _users(path: Path, count: int) -> bytes:
    """Writes the users; returns the good ones as CSV."""
    chance = random.Random(1)
    good, rows = [], []
    for number in range(count):
        row = [
            str(uuid.UUID(int=chance.getrandbits(128), version=4)),
            f"user{number}@example.org",
            f"User {number}",
            chance.choice(["admin", "author", "reader"]),
            "true",
            "2024-03-04T05:06:07Z",
            "2024-03-05T05:06:07Z",
        ]
        match number % 100:
            case 0:
                row[1] = "nobody"
            case 1:
                row[3] = "boss"
            case 2 if number > 100:
                row[1] = f"user{number - 10}@example.org"
            case _:
                good.append(",".join(row))
        rows.append(",".join(row))
    path.write_text("id,email,name,role,active,created_at,updated_at\n" + "\n".join(rows) + "\n")
    return ("\n".join(good) + "\n").encode()


def _fill(connection: psycopg.Connection) -> None:
    """Parents for the comments: the users that are there, and articles of theirs."""
    connection.execute(
        "TRUNCATE users CASCADE; INSERT INTO users (email, name, role, active)"
        " SELECT n || '@example.org', 'N', 'reader', true FROM generate_series(1, 10000) AS n"
    )
    connection.execute(
        "INSERT INTO articles (slug, title, body, author_id, status) SELECT 'a-' || n, 'T', 'B',"
        f" (SELECT id FROM users LIMIT 1), 'draft' FROM generate_series(1, {_ARTICLES}) AS n"
    )


def _comments(connection: psycopg.Connection, path: Path, count: int) -> bytes:
    """Writes the comments, a percent of them without a parent; returns the good ones as CSV."""
    chance = random.Random(2)
    users = [str(row[0]) for row in connection.execute("SELECT id FROM users")]
    articles = [str(row[0]) for row in connection.execute("SELECT id FROM articles")]
    good = bytearray()
    with path.open("wb") as file:
        file.write(b"id,article_id,user_id,body,created_at\n")
        for number in range(count):
            user = str(uuid.UUID(int=number)) if number % 100 == 0 else chance.choice(users)
            text = f"cm_{number},{chance.choice(articles)},{user},words and words {number},2024-03-04T05:06:07Z\n"
            file.write(text.encode())
            if number % 100:
                good += text.encode()
    return bytes(good)


def _memory(dsn: str, connection: psycopg.Connection, path: Path) -> Row:
    """The peak memory of the process that imports."""
    connection.execute("TRUNCATE comments")
    with tempfile.NamedTemporaryFile() as told:
        command = [
            sys.executable,
            "-m",
            "evtool",
            "bulk",
            "import",
            "comments",
            str(path),
            "--schema",
            _SCHEMA,
            "--dsn",
            dsn,
        ]
        environment = {**os.environ, "PYTHONPATH": str(_ROOT)}
        subprocess.run(
            [sys.executable, str(_PEAK), told.name, *command], env=environment, stdout=subprocess.DEVNULL, check=False
        )
        peak = int(Path(told.name).read_text())
    say(f"  {path.stat().st_size / 1e6:,.0f} MB of comments: {peak / 1e6:.0f} MB")
    samples = [(peak / 1e6, _MEMORY_LIMIT / 1e6)]
    return compared("peak memory of bulk import", "MB", samples, side="limit", target=1.0)
