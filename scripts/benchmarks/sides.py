"""Where it is measured: a server, a database for us, a database for the reference."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from benchmarks.measuring import say
from psycopg import conninfo, sql

import evtool
from evtool import embedded
from evtool.errors import BinariesMissing
from evtool.testing import reference

CACHE = Path(__file__).resolve().parent.parent.parent / ".cache"

NAMESPACE = "message_store"
"""Our namespace that stands against the reference; its schema has the same name."""

# It has to flush, or commits would cost nothing. Vacuum is run where it belongs, not in the middle of a round.
_PARAMETERS = {
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "autovacuum": "off",
    "shared_buffers": "512MB",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "30min",
}


@dataclass(frozen=True)
class Server:
    """A server to measure on.

    Attributes:
        dsn: of a role that may create databases.
        version: for example "18.4".
        pgbench: the program, None if there is none.
        psql: the program, None if there is none.
    """

    dsn: str
    version: str
    pgbench: Path | None
    psql: Path | None

    def describe(self) -> str:
        """One line on what the figures were taken with."""
        with psycopg.connect(self.dsn) as connection:
            told = ", ".join(
                f"{name} {connection.execute('SELECT current_setting(%s)', [name]).fetchone()[0]}"  # type: ignore[index]
                for name in ("fsync", "synchronous_commit", "shared_buffers", "autovacuum")
            )
        return f"PostgreSQL {self.version}, {os.cpu_count()} CPUs, {told}, evtool {evtool.__version__}"


@contextmanager
def server(dsn: str | None) -> Iterator[Server]:
    """The server that a DSN names, else a temporary one from the binaries that evtool finds."""
    with ExitStack() as stack:
        binaries: embedded.Binaries | None
        if dsn is None:
            started = stack.enter_context(embedded.temporary(parameters=_PARAMETERS))
            binaries, dsn = started.binaries, started.dsn
        else:
            binaries = _binaries(dsn)
        with psycopg.connect(dsn) as connection:
            version = (connection.info.parameter_status("server_version") or "?").split()[0]
        yield Server(dsn, version, _program(binaries, "pgbench"), _program(binaries, "psql"))


@contextmanager
def database(server: Server, name: str) -> Iterator[str]:
    """The DSN of a new database, dropped at the end of the block."""
    name = f"evtool_benchmark_{name}_{secrets.token_hex(4)}"
    with psycopg.connect(server.dsn, autocommit=True) as connection:
        connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8'").format(sql.Identifier(name))
        )
    try:
        yield conninfo.make_conninfo(server.dsn, dbname=name)
    finally:
        with psycopg.connect(server.dsn, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def install_ours(dsn: str) -> None:
    """The registry and the namespace NAMESPACE."""
    with evtool.connect(dsn) as store:
        store.migrate()


def install_reference(dsn: str) -> None:
    """Message DB, from npm or from the cache."""
    folder = reference.fetch(CACHE)
    with psycopg.connect(dsn) as connection:
        reference.install(connection, folder)


def _binaries(dsn: str) -> embedded.Binaries | None:
    """Programs that fit the server, None if there are none on this machine."""
    with psycopg.connect(dsn) as connection:
        major = connection.info.server_version // 10000
    try:
        return embedded.find_binaries(prefer=major)
    except BinariesMissing:
        return None


def _program(binaries: embedded.Binaries | None, name: str) -> Path | None:
    try:
        return None if binaries is None else binaries.program(name)
    except BinariesMissing as error:
        say(f"SKIPPED, whatever needs {name}: {error}")
        return None
