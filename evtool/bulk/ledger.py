"""What an import writes down beside the records, in the same transactions: its batches, and what was refused.

An import that was interrupted is continued by the same command. It is known by its context: the table, the resource,
the options, and the beginning of the file. The ledger says how many records are done, and the digest of all of them
says whether the file is still the same up to there.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from psycopg import sql

from evtool.bulk.loading import Loader, Outcome, Reject
from evtool.errors import WriteConflict
from evtool.stores.postgres.connection import Connection

_OPEN = "SELECT import_id FROM evtool_bulk.imports WHERE context = %s AND delivered_at IS NULL FOR UPDATE"
_BEGIN = """
    INSERT INTO evtool_bulk.imports (context, resource, target, source, mode) VALUES (%s, %s, %s, %s, %s)
    ON CONFLICT (context) WHERE delivered_at IS NULL DO NOTHING
    RETURNING import_id
"""
_DONE = """
    SELECT batch, last_record, digest FROM evtool_bulk.batches WHERE import_id = %s ORDER BY batch DESC LIMIT 1
"""
# Two statements: one that has waited for a lock still sees what was there before it.
_HOLD = "SELECT FROM evtool_bulk.imports WHERE import_id = %s AND delivered_at IS NULL FOR UPDATE"
_LAST = "SELECT COALESCE(max(batch), 0) FROM evtool_bulk.batches WHERE import_id = %s"
# One statement: what was refused, and that the batch is done.
_RECORD = sql.SQL("""
    WITH kept AS (
      INSERT INTO evtool_bulk.rejects (import_id, line, errors, raw)
      SELECT {import_id}, line, errors, raw FROM {rejects} ORDER BY line
    )
    INSERT INTO evtool_bulk.batches (import_id, batch, last_record, digest, first_line, last_line,
      total, accepted, inserted, updated, rejected, errors)
    VALUES ({import_id}, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
""")
_RECORD_FAILURE = """
    INSERT INTO evtool_bulk.batches (import_id, batch, last_record, digest, first_line, last_line,
      total, accepted, inserted, updated, rejected, errors, failure)
    VALUES (%s, %s, %s, %s, %s, %s, %s, 0, 0, 0, %s, %s, %s)
"""
_REJECT = "INSERT INTO evtool_bulk.rejects (import_id, line, errors, raw) VALUES (%s, %s, %s, %s)"
_COUNTS = """
    SELECT COALESCE(sum(total), 0)::bigint, COALESCE(sum(accepted), 0)::bigint, COALESCE(sum(inserted), 0)::bigint,
      COALESCE(sum(updated), 0)::bigint, COALESCE(sum(rejected), 0)::bigint, COALESCE(sum(errors), 0)::bigint
    FROM evtool_bulk.batches WHERE import_id = %s
"""
_BY_CODE = """
    SELECT error ->> 'code' AS code, count(*)
    FROM evtool_bulk.rejects, json_array_elements(errors) AS error
    WHERE import_id = %s
    GROUP BY code
    ORDER BY count(*) DESC, code
"""
_FAILED = """
    SELECT batch, first_line, last_line, total, failure FROM evtool_bulk.batches
    WHERE import_id = %s AND failure IS NOT NULL ORDER BY batch
"""
_REJECTS = "SELECT line, errors::text, raw FROM evtool_bulk.rejects WHERE import_id = %s ORDER BY reject_id"
_PAGE = 500


@dataclass(frozen=True, slots=True)
class Place:
    """How far an import has come.

    Attributes:
        batch: the last batch that is done; 0 before the first.
        records: how many records of the file are done.
        digest: of all of them.
    """

    batch: int = 0
    records: int = 0
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Span:
    """A batch, as the ledger knows it.

    Attributes:
        place: after the batch.
        first_line: the line of its first record.
        last_line: the line of its last record.
    """

    place: Place
    first_line: int
    last_line: int


@dataclass(frozen=True, slots=True)
class FailedBatch:
    """A batch that failed as a whole, for no fault of its records.

    Attributes:
        batch: its number, from 1.
        first_line: the line of its first record.
        last_line: the line of its last record.
        records: how many it has; all are rejected.
        code: the SQLSTATE.
    """

    batch: int
    first_line: int
    last_line: int
    records: int
    code: str


class Ledger:
    """The ledger of one import."""

    def __init__(self, connection: Connection, import_id: int) -> None:
        """Takes up an import that `open_import` found or began."""
        self._connection = connection
        self._id = import_id

    def place(self) -> Place:
        """How far it has come."""
        row = self._connection.execute(_DONE, (self._id,)).fetchone()
        return Place(*row) if row else Place()

    def hold(self, done: int) -> None:
        """Keeps others from this import until the transaction ends, and makes sure that none was quicker.

        Args:
            done: the last batch that is known to be done.

        Raises:
            WriteConflict: another process goes on with the same import.
        """
        held = self._connection.execute(_HOLD, (self._id,)).fetchone() is not None
        if not held or self._connection.execute(_LAST, (self._id,)).fetchone() != (done,):
            raise WriteConflict(
                "another process imports the same file into the same table", hint="wait for it, then run this again"
            )

    def record(self, span: Span, outcome: Outcome, loader: Loader) -> None:
        """Writes down what became of a batch."""
        self._connection.execute(
            _RECORD.format(import_id=sql.Literal(self._id), rejects=loader.rejects_table),
            (*_columns(span), *dataclasses.astuple(outcome)),
        )

    def record_failure(self, span: Span, rejects: Sequence[Reject], code: str) -> None:
        """Writes down that a batch failed as a whole."""
        size = len(rejects)
        self._connection.execute(_RECORD_FAILURE, (self._id, *_columns(span), size, size, size, code))
        with self._connection.cursor() as cursor:
            cursor.executemany(
                _REJECT, [(self._id, one.line, json.dumps(one.errors, ensure_ascii=False), one.raw) for one in rejects]
            )

    def counts(self) -> Outcome:
        """What became of all batches together."""
        row = self._connection.execute(_COUNTS, (self._id,)).fetchone()
        assert row is not None
        return Outcome(*row)

    def by_code(self) -> dict[str, int]:
        """How often each code occurs, the most frequent first."""
        return dict(self._connection.execute(_BY_CODE, (self._id,)).fetchall())

    def failed_batches(self) -> list[FailedBatch]:
        """The batches that failed as a whole."""
        return [FailedBatch(*row) for row in self._connection.execute(_FAILED, (self._id,))]

    def rejects(self) -> Iterator[Reject]:
        """What was refused, in the order of the file; a page at a time, however many there are."""
        with self._connection.transaction(), self._connection.cursor(name="evtool_rejects") as cursor:
            cursor.itersize = _PAGE
            for line, errors, raw in cursor.execute(_REJECTS, (self._id,)):
                yield Reject(line, json.loads(errors), raw)

    def settle(self) -> None:
        """Waits until everything that was committed before is on disk."""
        # a commit that has written something: it waits for all that was written before, as well
        self._connection.execute("UPDATE evtool_bulk.imports SET source = source WHERE import_id = %s", (self._id,))

    def deliver(self) -> None:
        """Says that the report is out: the same command begins a new import from now on."""
        self._connection.execute(
            "UPDATE evtool_bulk.imports SET delivered_at = now() WHERE import_id = %s", (self._id,)
        )


def open_import(
    connection: Connection, context: str, *, resource: str, target: str, source: str, mode: str, restart: bool = False
) -> Ledger:
    """The import of this context that was interrupted, or a new one.

    Args:
        connection: to a database that `installing.install` has prepared.
        context: a digest of what makes two commands the same.
        resource: its name, for people.
        target: the table, for people.
        source: the file, for people.
        mode: insert or upsert.
        restart: forget the one that was interrupted.
    """
    if restart:
        connection.execute("DELETE FROM evtool_bulk.imports WHERE context = %s AND delivered_at IS NULL", (context,))
    row = connection.execute(_BEGIN, (context, resource, target, source, mode)).fetchone()
    if row is None:
        # waits for a batch that a killed client's session may still be committing
        row = connection.execute(_OPEN, (context,)).fetchone()
    if row is None:
        raise WriteConflict("another process has just finished the same import", hint="run this again")
    return Ledger(connection, row[0])


def _columns(span: Span) -> tuple[int, int, str, int, int]:
    place = span.place
    return place.batch, place.records, place.digest, span.first_line, span.last_line
