"""What the namespaces of a database share: the server's settings, and transactions that others wait for."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from psycopg import sql

from evtool.findings import Severity
from evtool.stores.postgres.connection import Connection
from evtool.stores.postgres.doctor.checking import Found, ask, found, statement

_ON = "ALTER SYSTEM SET {} = 'on'; SELECT pg_reload_conf()"

# The setting, the value that is told, how much it matters, and why.
_VALUES = (
    ("fsync", "off", Severity.PROBLEM, "a crash of the machine can destroy every database of the server", _ON),
    (
        "full_page_writes",
        "off",
        Severity.PROBLEM,
        "a torn page is lost at a crash, and with a namespace's BRIN index the server may not start again",
        _ON,
    ),
    (
        "synchronous_commit",
        "off",
        Severity.WARNING,
        "a crash loses messages that were acknowledged, and their positions are given to others",
        _ON,
    ),
    ("autovacuum", "off", Severity.WARNING, "nothing is vacuumed, until the server stops for want of it", _ON),
    ("track_counts", "off", Severity.WARNING, "autovacuum does not learn what has changed", _ON),
    ("wal_level", "minimal", Severity.NOTE, "there can be no replica and no recovery to a point in time", None),
    ("default_transaction_read_only", "on", Severity.WARNING, "clients can't write", "RESET"),
    (
        "message_store.sql_condition",
        "on",
        Severity.NOTE,
        "clients may filter reads by SQL of their own; it can't widen a read, and costs what they ask for",
        "RESET",
    ),
)
_LEVEL = "ALTER SYSTEM SET {} = 'replica'; and restart the server"


def check_settings(connection: Connection) -> Iterator[Found]:
    """Settings that lose messages, keep clients out, or make a backup fail."""
    settings = dict(ask(connection, "settings"))
    for name, value, severity, why, command in _VALUES:
        if settings[name] == value:
            yield found(
                severity, name.replace("_", "-"), None, f"{name} is {value}: {why}", _cure(connection, name, command)
            )
    name = "default_transaction_isolation"
    if settings[name] not in {"read committed", "read uncommitted"}:
        what = (
            f"{name} is {settings[name]}: gap-safe reads of all messages are refused, and writers meet more conflicts"
        )
        yield found(Severity.WARNING, "isolation", None, what, _cure(connection, name, "RESET"))
    if settings["planner"]:
        what = f"{settings['planner']}: switched off, so reads go past the indexes that are made for them"
        cures = [_cure(connection, one, "RESET") for one in settings["planner"].split(", ")]
        yield found(Severity.WARNING, "planner-settings", None, what, "; ".join(cures))
    yield from _locks({key: int(settings[key]) for key in _LOCKS}, int(settings["tables"]))


_LOCKS = ("max_locks_per_transaction", "max_connections", "max_prepared_transactions")


def _locks(settings: dict[str, int], tables: int) -> Iterator[Found]:
    per, connections, prepared = (settings[name] for name in _LOCKS)
    room = per * (connections + prepared)
    if tables > room:
        needed = -(-tables * 2 // (connections + prepared))
        cure = statement("ALTER SYSTEM SET max_locks_per_transaction = {}; and restart the server", sql.Literal(needed))
        what = f"a backup locks {tables} tables, views and sequences of namespaces, and there is room for {room} locks"
        yield found(Severity.WARNING, "max-locks", None, what, cure)


def _cure(connection: Connection, name: str, command: str | None) -> str:
    names = [sql.SQL(".").join(map(sql.Identifier, name.split(".")))]
    if command is None:
        return statement(_LEVEL, *names)
    if command != "RESET":
        return statement(command, *names)
    # it may be the role's, the database's or the server's
    return (
        statement("ALTER DATABASE {} RESET {}", connection.info.dbname, *names) + "; or of the role, or of the server"
    )


def check_busy(connection: Connection, busy: timedelta) -> Iterator[Found]:
    """Transactions that hold up gap-safe reads, or vacuum."""
    for pid, prepared, age, schemas in ask(connection, "busy", busy=f"{busy.total_seconds()} s"):
        if prepared is None:
            who = f"a transaction (pid {pid})"
            cure = statement("SELECT pg_terminate_backend({})", sql.Literal(pid))
        else:
            who = f'the prepared transaction "{prepared}"'
            cure = statement("COMMIT PREPARED {}", sql.Literal(prepared)) + "; or ROLLBACK PREPARED"
        if schemas:
            what = f"{who} writes to {', '.join(schemas)} since {age}: gap-safe reads and exports wait for it"
            yield found(Severity.WARNING, "busy-writer", None, what, cure)
        else:
            severity = Severity.NOTE if prepared is None else Severity.WARNING
            what = f"{who} is open since {age}: vacuum can't remove what it may still see"
            yield found(severity, "long-transaction", None, what, cure)


def unseen(connection: Connection) -> str | None:
    """Whether the transactions of others are hidden from this role."""
    if dict(ask(connection, "settings"))["full view"] == "true":
        return None
    grant = statement("GRANT pg_monitor TO {}", connection.info.user)
    return f"how long the transactions of other roles are open: {grant}"
