"""Records into the table of messages, in one transaction: which way they take, and what is kept on record.

An empty table is loaded without its indexes, which are built afterwards; one with rows by COPY into its indexes. What
may be there already goes by a table of its own (see `staging`).
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterable

import psycopg
from psycopg import sql

from evtool.imports import ImportPlan, ImportSummary, OnConflict
from evtool.ndjson import Record
from evtool.stores.postgres import faults, staging
from evtool.stores.postgres.connection import Connection
from evtool.stores.postgres.indexes import Indexes
from evtool.stores.postgres.refusals import failed
from evtool.stores.postgres.sending import Sender
from evtool.stores.postgres.staging import Placed

_log = logging.getLogger(__name__)

_SHORT_WAIT = """
    SELECT set_config('lock_timeout', '10s', true) WHERE current_setting('lock_timeout') = '0'
"""
# From then on it matters how the planner goes about a query.
_MANY = 10_000
# A fifth of the usual sample finds the categories and their shares, in a fifth of the time. Autovacuum comes within a
# minute, and counts these rows as not yet looked at.
_SAMPLE = """
    SELECT set_config('default_statistics_target', '20', true)
    WHERE current_setting('default_statistics_target')::integer > 20
"""
# Most of the time would go into sorting JSON, which nobody asks for.
_JSON = "SELECT attname, attstattarget FROM pg_attribute WHERE attrelid = {}::regclass AND atttypid = 'jsonb'::regtype"
_LOOKED_AT = "ALTER TABLE {} ALTER COLUMN {} SET STATISTICS {}"
_ANY = "SELECT EXISTS (SELECT FROM {table})"
_RECORD = """
    INSERT INTO {imports} (source, fingerprint, options, last_line, imported, skipped, first_position, last_position,
      replaced, complete) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
"""


def import_batch(connection: Connection, schema: str, records: Iterable[Record], plan: ImportPlan) -> ImportSummary:
    """Places records in one transaction, moves the sequence above them, and writes the row that is kept on record.

    Args:
        connection: in autocommit.
        schema: where the namespace lives.
        records: checked; the n-th is line `plan.first_line + n - 1`.
        plan: how.

    Raises:
        ImportRefused: a record clashes with another, or the server found a fault in it; nothing was imported.
        psycopg.Error: anything else.
    """
    records = iter(records)
    # nobody is kept waiting for a file that has not begun
    first = list(itertools.islice(records, 1))
    records = itertools.chain(first, records)
    skip = plan.on_conflict is OnConflict.SKIP and not plan.replace
    with connection.transaction(force_rollback=plan.dry_run):
        connection.execute(_SHORT_WAIT)
        if skip:
            placed = staging.add_missing(
                connection, schema, records, plan.first_line, lambda: _lock(connection, schema)
            )
        else:
            if first or plan.replace:
                _lock(connection, schema, replace=plan.replace)
            placed = _load(connection, schema, records, plan.first_line) if first else Placed(0, 0, None, None)
        if not plan.dry_run:
            if placed.last_position is not None:
                _raise_sequence(connection, schema, placed.last_position)
            _keep_on_record(connection, schema, placed, plan)
    return ImportSummary(placed.imported, placed.last_position, placed.skipped)


def _lock(connection: Connection, schema: str, *, replace: bool = False) -> None:
    """Keeps writers out, and in a replacement readers too, for the rest of the transaction; and removes all rows then.

    A writer in between would collide with the imported positions, or land below what consumers have seen. Whoever waits
    for a lock makes all writers behind it wait as well, so not for long, unless the role's own lock_timeout says
    otherwise.
    """
    table = sql.Identifier(schema, "messages")
    if replace:
        # at once and not by way of the weaker lock: a reader that waits to write would be waited for
        connection.execute(sql.SQL("TRUNCATE {}").format(table))
    else:
        connection.execute(sql.SQL("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE").format(table))


def _load(connection: Connection, schema: str, records: Iterable[Record], first_line: int) -> Placed:
    table = sql.Identifier(schema, "messages")
    (filled,) = connection.execute(sql.SQL(_ANY).format(table=table)).fetchone() or (True,)
    indexes = Indexes(connection, schema)
    reason = "the namespace has messages" if filled else indexes.lay_aside()
    sender = Sender(connection, table, first_line)
    if reason is not None:
        _log.info("loading into the indexes: %s", reason)
        sender.send(records)
    else:
        _log.info("loading without indexes: the namespace is empty")
        sender.send_in_parts(records)
        _log.info("building the indexes of %s messages", f"{sender.count:,}")
        _build(connection, schema, indexes, first_line)
        if sender.count >= _MANY:
            _analyze(connection, table)
    if sender.fault is not None:
        raise sender.fault
    return Placed(sender.count, 0, sender.least or None, sender.greatest or None)


def _analyze(connection: Connection, table: sql.Identifier) -> None:
    """Has the planner know what there is; the table is its owner's, and nobody else's for now."""
    connection.execute(_SAMPLE)
    columns = connection.execute(sql.SQL(_JSON).format(sql.Literal(table.as_string(connection)))).fetchall()
    for name, _ in columns:
        connection.execute(sql.SQL(_LOOKED_AT).format(table, sql.Identifier(name), sql.Literal(0)))
    connection.execute(sql.SQL("ANALYZE {}").format(table))
    for name, target in columns:
        # PostgreSQL 17 and newer have null for what others call -1
        was = sql.Literal(-1 if target is None else target)
        connection.execute(sql.SQL(_LOOKED_AT).format(table, sql.Identifier(name), was))


def _build(connection: Connection, schema: str, indexes: Indexes, first_line: int) -> None:
    """Builds the indexes; where they can't be built, the first line that is to blame is refused."""
    table = sql.Identifier(schema, "messages")
    try:
        with connection.transaction():
            indexes.build()
    except (psycopg.errors.UniqueViolation, psycopg.errors.ProgramLimitExceeded) as error:
        found = [
            faults.first_repeated(connection, table, first_line),
            faults.first_too_wide(connection, schema, table, first_line),
        ]
        first = min(filter(None, found), key=lambda one: one.line or 0, default=failed(error, None))
        raise first from error


def _raise_sequence(connection: Connection, schema: str, greatest: int) -> None:
    sequence = sql.Identifier(schema, "messages_global_position_seq")
    name = sql.Literal(sequence.as_string(connection))
    connection.execute(
        sql.SQL(
            "SELECT setval({name}, {greatest}) FROM {sequence} WHERE last_value < {greatest} OR NOT is_called"
        ).format(name=name, greatest=sql.Literal(greatest), sequence=sequence)
    )


def _keep_on_record(connection: Connection, schema: str, placed: Placed, plan: ImportPlan) -> None:
    schema = sql.Identifier(schema, "imports").as_string(connection).replace("%", "%%")
    connection.execute(
        sql.SQL(_RECORD).format(imports=sql.SQL(schema)),
        (
            plan.source,
            plan.fingerprint,
            plan.options,
            plan.first_line - 1 + placed.imported + placed.skipped,
            placed.imported,
            placed.skipped,
            placed.first_position,
            placed.last_position,
            plan.replace,
            plan.complete,
        ),
    )
