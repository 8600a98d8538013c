"""`evtool bulk export` against psql's COPY and against sqlite3's own CSV, and how much memory it takes."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psycopg
from benchmarks import sides
from benchmarks.measuring import Row, compared, in_turn, say, seconds

import evtool

_ROOT = Path(evtool.__file__).resolve().parent.parent
_PEAK = Path(__file__).with_name("peak.py")
_MEMORY_LIMIT = 100e6
_SCHEMA = "benchmark_bulk"

# What the archive of posts was asked to reach, in posts a second.
_ASKED = 2_000

_COLUMNS = (
    "uri text PRIMARY KEY",
    "cid text",
    "did text",
    "text text",
    "created_at timestamptz NOT NULL",
    "indexed_at timestamptz",
    "has_media boolean",
    "like_count integer",
    "repost_count integer",
    "reply_count integer",
    "quote_count integer",
    "is_reply boolean",
    "reply_parent text",
    "embed_type text",
    "embed_data json",
    "labels json",
    "archived_at timestamptz",
)
_ORDER = "ORDER BY created_at DESC, uri"
_WORDS = [
    "lorem",
    "ipsum",
    "dolor",
    "sit",
    "amet,",
    "consectetur",
    '"adipiscing"',
    "elit",
    "—",
    "naïve",
    "😀",
    "sed\ndo",
    "eiusmod",
]


def measure(dsn: str, server: sides.Server, count: int, rounds: int) -> Iterator[Row]:
    """The rows of the group bulk-export.

    Args:
        dsn: a database with nothing in it that is needed.
        server: for its psql.
        count: how many posts.
        rounds: how many times.
    """
    say(f"bulk export of {count:,} posts")
    with tempfile.TemporaryDirectory(prefix="evtool-benchmark-") as folder:
        archive = Path(folder) / "archive.db"
        _fill(dsn, archive, count)
        yield from _from_postgres(dsn, server, count, rounds)
        yield from _from_sqlite(archive, count, rounds)
        for name, source in (
            ("PostgreSQL", ["--dsn", dsn, "--schema", _SCHEMA]),
            ("SQLite", ["--dsn", f"sqlite://{archive}"]),
        ):
            yield _memory(Path(folder) / "peak", name, source, count)


def _from_postgres(dsn: str, server: sides.Server, count: int, rounds: int) -> Iterator[Row]:
    if server.psql is None:
        say("SKIPPED: bulk export against psql, for there is none that fits the server")
        return
    query = f"SELECT * FROM {_SCHEMA}.posts {_ORDER}"
    psql = [str(server.psql), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", dsn, "-c"]
    note = (
        "both to /dev/null, the start of the process included; 17 columns, a text that is quoted in every second post"
    )
    # JSON is something that COPY doesn't write
    others = {"ndjson": "TO STDOUT", "json": "TO STDOUT", "csv": "TO STDOUT (FORMAT csv, HEADER)"}
    for form, other in others.items():
        ours = _command("--dsn", dsn, "--schema", _SCHEMA, "--format", form)
        samples = in_turn(_rate(count, ours), _rate(count, [*psql, f"COPY ({query}) {other}"]), rounds)
        what = f"bulk export of {count:,} posts, PostgreSQL, {form}"
        side = f"psql, COPY (…) {other}"
        yield compared(what, "posts/s", samples, side=side, target=0.6, higher_is_better=True, note=note)


def _from_sqlite(archive: Path, count: int, rounds: int) -> Iterator[Row]:
    program = shutil.which("sqlite3")
    if program is None:
        say("SKIPPED: bulk export against sqlite3 -csv, for the program sqlite3 is not installed")
        return
    other = [program, "-readonly", "-csv", "-header", str(archive), f"SELECT * FROM posts {_ORDER}"]
    note = f"both to /dev/null, the start of the process included; {_ASKED:,} posts a second were asked for"
    for form, target in (("csv", 0.5), ("ndjson", None), ("json", None)):
        ours = _command("--dsn", f"sqlite://{archive}", "--format", form)
        samples = in_turn(_rate(count, ours), _rate(count, other), rounds)
        what = f"bulk export of {count:,} posts, SQLite, {form}"
        yield compared(what, "posts/s", samples, side="sqlite3 -csv", target=target, higher_is_better=True, note=note)


def _memory(peak: Path, name: str, source: Sequence[str], count: int) -> Row:
    _run([sys.executable, "-I", "-S", str(_PEAK), str(peak), *_command(*source, "--format", "json")])
    megabytes = int(peak.read_text("ascii")) / 1e6
    what = f"peak memory, bulk export, {name}, {count:,} posts"
    note = "the client's process, from its start to its end (RSS high-water mark)"
    return compared(what, "MB", [(megabytes, _MEMORY_LIMIT / 1e6)], side="limit", target=1.0, note=note)


def _fill(dsn: str, archive: Path, count: int) -> None:
    """The same posts in both databases, with the index that gives their order."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(f"DROP SCHEMA IF EXISTS {_SCHEMA} CASCADE; CREATE SCHEMA {_SCHEMA}")
        columns = ", ".join(_COLUMNS).replace("uri text", 'uri text COLLATE "C"')
        connection.execute(f"CREATE TABLE {_SCHEMA}.posts ({columns})")
        with connection.cursor().copy(f"COPY {_SCHEMA}.posts FROM STDIN") as copy:
            for post in _posts(count):
                copy.write_row(post)
        connection.execute(f"CREATE INDEX ON {_SCHEMA}.posts (created_at DESC, uri)")
        connection.execute(f"VACUUM ANALYZE {_SCHEMA}.posts")
    with sqlite3.connect(archive) as file:
        file.execute(f"CREATE TABLE posts ({', '.join(_COLUMNS)})")
        file.executemany(f"INSERT INTO posts VALUES ({', '.join('?' * len(_COLUMNS))})", _posts(count))
        file.execute("CREATE INDEX posts_order ON posts (created_at DESC, uri)")
    file.close()


def _posts(count: int) -> Iterator[tuple[Any, ...]]:
    """Posts as an archive has them, the same ones each time."""
    rng = random.Random(1)
    for number in range(count):
        did = f"did:plc:{number % 50:024}"
        day = f"2025-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}"
        moment = (
            f"{day}T{rng.randint(0, 23):02}:{rng.randint(0, 59):02}:{rng.randint(0, 59):02}.{rng.randint(0, 999):03}Z"
        )
        embed = f'{{"$type": "app.bsky.embed.external", "external": {{"uri": "https://example.org/{number}"}}}}'
        yield (
            f"at://{did}/app.bsky.feed.post/{number * 7919 % 10**9:09}{number:09}",
            f"bafyrei{number * 2654435761:052x}",
            did,
            " ".join(rng.choices(_WORDS, k=rng.randint(3, 40))),
            moment,
            moment,
            number % 4 == 0,
            number % 100,
            number % 7,
            number % 5,
            0,
            number % 2 == 0,
            f"at://{did}/app.bsky.feed.post/{number:09}" if number % 2 == 0 else None,
            "external" if number % 3 == 0 else None,
            embed if number % 3 == 0 else None,
            "[]",
            "2025-11-01T00:00:00Z",
        )


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "evtool", "bulk", "export", "posts", *arguments]


def _rate(count: int, command: Sequence[str]) -> Callable[[], float]:
    return lambda: count / seconds(lambda: _run(command))


def _environment() -> dict[str, str]:
    """Ours, where modules are compiled once, as those of a package that is installed are."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPATH": str(_ROOT)}


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=_environment(),
        check=False,
    )
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command[:6])} … failed: {done.stderr.decode('utf-8', 'replace').strip()}")
