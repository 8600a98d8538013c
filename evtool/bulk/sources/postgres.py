"""A table of PostgreSQL, read in one snapshot by one query, in a total order."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psycopg
from psycopg import sql
from psycopg.types.string import ByteaBinaryLoader

from evtool import times
from evtool.bulk.kinds import kind_of
from evtool.bulk.selecting import Column, Plan, Table
from evtool.bulk.sources import postgres_queries as queries
from evtool.bulk.sources.postgres_queries import Found
from evtool.bulk.sources.postgres_records import csv_records, json_maker
from evtool.bulk.sources.source import Block, Estimate, Request
from evtool.bulk.writers import Format
from evtool.errors import EvtoolError, InvalidArgument, PermissionDenied, StoreError
from evtool.stores.postgres.connection import Connection, Connector
from evtool.stores.postgres.copying import batches_of
from evtool.stores.postgres.translation import one_line, translate

SETTINGS = """
    SET LOCAL datestyle = 'ISO, YMD'; SET LOCAL timezone = 'UTC'; SET LOCAL intervalstyle = 'postgres';
    SET LOCAL bytea_output = 'hex'; SET LOCAL extra_float_digits = 1; SET LOCAL lc_monetary = 'C';
    SET LOCAL xmloption = 'content'; SET LOCAL row_security = off; SET LOCAL jit = off
"""
"""What the text of a value hangs on, and is the role's or the database's to set. Where row-level security would hide
rows, an export that looks complete is worse than an error. Compiling what is evaluated once a row takes longer than it
saves."""

# The name as it is, or as SQL would quote it, else in small letters, with its schema or in the given one.
_FIND = """
    SELECT c.oid, n.nspname, c.relname, c.relkind = 'r'
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
      CROSS JOIN LATERAL (VALUES (%(name)s::text, 1), (lower(%(name)s::text), 2)) AS given (name, rank)
     WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
       AND (n.nspname = %(schema)s::name AND given.name IN (c.relname::text, quote_ident(c.relname))
            OR given.name IN (n.nspname || '.' || c.relname, quote_ident(n.nspname) || '.' || quote_ident(c.relname)))
     ORDER BY given.rank, n.nspname <> %(schema)s::name, n.nspname, c.relname
     LIMIT 1
"""

# A domain's values are written as those of the type below it. A collation is bytewise where it is C, also by default.
_COLUMNS = """
    WITH RECURSIVE below (attnum, type) AS (
        SELECT attnum, atttypid FROM pg_attribute WHERE attrelid = %(table)s AND attnum > 0 AND NOT attisdropped
        UNION ALL
        SELECT b.attnum, t.typbasetype FROM below b JOIN pg_type t ON t.oid = b.type WHERE t.typtype = 'd'
    )
    SELECT a.attname, format_type(a.atttypid, a.atttypmod), format_type(t.oid, NULL), a.attnotnull,
           t.typcategory IN ('S', 'N', 'E')
               OR EXISTS (SELECT FROM pg_opclass o JOIN pg_am m ON m.oid = o.opcmethod
                           WHERE m.amname = 'btree' AND o.opcdefault AND o.opcintype = t.oid),
           a.attcollation = 0 OR CASE c.collprovider
               WHEN 'd' THEN d.datcollate IN ('C', 'POSIX')
               ELSE c.collcollate IN ('C', 'POSIX') END,
           a.attcollation <> 0
      FROM pg_attribute a
      JOIN below b USING (attnum)
      JOIN pg_type t ON t.oid = b.type AND t.typtype <> 'd'
      LEFT JOIN pg_collation c ON c.oid = a.attcollation
      JOIN pg_database d ON d.datname = current_database()
     WHERE a.attrelid = %(table)s
     ORDER BY a.attnum
"""

# The primary key, else a unique index that has a value for every row.
_KEY = """
    SELECT array_agg(a.attname ORDER BY k.place)
      FROM pg_index i
      CROSS JOIN LATERAL unnest(i.indkey[:i.indnkeyatts - 1]) WITH ORDINALITY AS k (attnum, place)
      LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
     WHERE i.indrelid = %(table)s AND i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL
     GROUP BY i.indexrelid, i.indisprimary
    HAVING bool_and(coalesce(a.attnotnull, false))
     ORDER BY i.indisprimary DESC, i.indexrelid
     LIMIT 1
"""

# How much a table has, with its partitions and heirs, of what is too large for a page; null where that isn't known, as
# of a view.
_OUT_OF_LINE = """
    WITH RECURSIVE part (oid) AS (
        SELECT %(table)s::oid UNION SELECT inhrelid FROM pg_inherits JOIN part ON inhparent = part.oid
    )
    SELECT CASE WHEN bool_and(relkind IN ('r', 'm', 'p'))
                THEN coalesce(sum(pg_relation_size(nullif(reltoastrelid, 0)::regclass)), 0) END
      FROM part JOIN pg_class USING (oid)
"""
# However it lies, so much passes through memory at once.
_MOST_OUT_OF_LINE = 1 << 22
_MANY_ROWS = 64

# So small that the socket holds what the server sends while a block is put together: else each waits for the other.
_BLOCK_BYTES = 1 << 15
_RAW_ROWS = 1 << 16
# What a record has besides its values: quotes, commas, and the names of its columns.
_PER_CELL = 4


class PostgresSource:
    """A connection in a read-only transaction that sees one snapshot. Use it in `with`."""

    file: Path | None = None

    def __init__(self, dsn: str, *, schema: str = "public") -> None:
        """Connects, and takes the snapshot.

        Args:
            dsn: postgresql://…, or libpq's key=value, or "" for the PG* variables alone.
            schema: where a table is looked for that is named without one.

        Raises:
            StoreUnreachable: no server, no login.
        """
        self._schema = schema
        self._connection: Connection = Connector(dsn).open()
        self._found: dict[str, Found] = {}
        try:
            with _translated():
                self._connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
                self._connection.execute(SETTINGS)
                self._snapshot = self._take_snapshot()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Ends the transaction and the connection."""
        self._connection.close()

    def snapshot(self) -> dict[str, Any]:
        """What tells this snapshot from others."""
        return self._snapshot

    def table(self, request: Request) -> Table:
        """The table that is asked for.

        Raises:
            InvalidArgument: there is none, or it lacks a column that the resource declares.
        """
        with _translated():
            found = self._find(request.table)
            facts = self._connection.execute(_COLUMNS, {"table": found.oid}).fetchall()
            row = self._connection.execute(_KEY, {"table": found.oid}).fetchone()
        columns = {}
        for name, type_name, base, never_null, sortable, bytewise, collates in facts:
            columns[name] = Column(name, type_name, kind_of(base), nullable=not never_null)
            found.base[name] = base
            found.sortable[name] = sortable
            found.collates[name] = collates and not bytewise
            found.compared[name] = collates
        if not columns:
            raise InvalidArgument(f"{found.name} has no columns", hint="name another table")
        declared = request.columns or columns
        for name in declared:
            if name not in columns:
                raise InvalidArgument(
                    f'{found.name} has no column "{name}", which the resource {request.resource} declares',
                    hint="name the columns that it has with --columns, or export it with --table",
                )
        self._found[found.name] = found
        # Where nothing tells rows apart, equal rows are interchangeable: all columns make a total order.
        key = tuple(columns[name] for name in row[0]) if row is not None else tuple(columns.values())
        return Table(
            found.name,
            tuple(columns[name] for name in declared),
            key,
            tuple(request.order),
            (found.schema, found.table),
        )

    def check(self, plan: Plan) -> None:
        """Has the server look at each condition.

        Raises:
            InvalidArgument: a value is none of its field's type.
        """
        found = self._found[plan.table.name]
        for column, condition in plan.where:
            query = sql.SQL("SELECT FROM {} WHERE {} LIMIT 0").format(
                found.identifier, queries.met(found, column, condition)
            )
            try:
                with _translated():
                    self._connection.execute(query)
            except InvalidArgument as error:
                raise InvalidArgument(
                    f'"{column.name}" is {column.type}, and {condition.value!r:.60} is not'
                    if condition.value is not None
                    else error.message,
                    hint="correct the condition",
                ) from error

    def estimate(self, plan: Plan, format: Format) -> Estimate:
        """How much there will be, as far as the planner knows."""
        with _translated():
            explained = self._connection.execute(
                sql.SQL("EXPLAIN (FORMAT JSON) {}").format(queries.plain(self._found[plan.table.name], plan))
            ).fetchone()
        assert explained is not None
        top = json.loads(explained[0])[0]["Plan"]
        names = sum(len(column.name) for column in plan.columns) if format.is_json else 0
        width = top["Plan Width"] + names + _PER_CELL * len(plan.columns)
        return Estimate(top["Plan Rows"], top["Plan Rows"] * width, exact=False)

    def blocks(self, plan: Plan, format: Format, batch: int) -> Iterator[Block]:
        """The records, some at a time, in the plan's order.

        Args:
            plan: which.
            format: what they are to be.
            batch: how many records make a block at the most.

        Raises:
            StoreUnreachable: the connection was lost.
        """
        if format.is_json:
            yield from self._json(plan, format, batch)
            return
        copy = queries.csv(self._found[plan.table.name], plan)
        with _translated(), self._connection.cursor() as cursor, cursor.copy(copy) as out:
            for rows in batches_of(self._connection, out, batch, _BLOCK_BYTES):
                yield Block(len(rows), csv_records(rows))

    def _json(self, plan: Plan, format: Format, batch: int) -> Iterator[Block]:
        """Records of JSON. Their values come one by one, for libpq splits a row sooner than Python does."""
        found = self._found[plan.table.name]
        make = json_maker(plan.columns, format)
        with _translated(), self._connection.cursor() as cursor:
            together = min(batch, self._rows_at_once(found))
            for type_name in ("text", "json"):
                # as bytes, which is how they are written
                cursor.adapters.register_loader(type_name, ByteaBinaryLoader)
            rows = cursor.stream(queries.json(found, plan), binary=True, size=together)
            with contextlib.closing(rows):  # type: ignore[type-var]
                while taken := list(itertools.islice(rows, together)):
                    yield Block(len(taken), make(taken))

    def _rows_at_once(self, found: Found) -> int:
        """How many rows may be held together: many only of a table whose rows fit into its pages.

        An average would say nothing about those that lie side by side.
        """
        if not psycopg.capabilities.has_stream_chunked():
            return 1
        row = self._connection.execute(_OUT_OF_LINE, {"table": found.oid}).fetchone()
        is_known_to_be_little = row is not None and row[0] is not None and row[0] <= _MOST_OUT_OF_LINE
        return _MANY_ROWS if is_known_to_be_little else 1

    def raw(self, plan: Plan) -> Iterator[bytes]:
        """The records as COPY has them, for a COPY into the same columns, in no order.

        Raises:
            StoreUnreachable: the connection was lost.
        """
        found = self._found[plan.table.name]
        query = sql.SQL("SELECT {} FROM {}{}").format(
            sql.SQL(", ").join(sql.Identifier(column.name) for column in plan.columns),
            # its heirs' records stay theirs
            sql.SQL("ONLY {}").format(found.identifier) if found.is_plain else found.identifier,
            queries.where(found, plan),
        )
        copy = sql.SQL("COPY ({}) TO STDOUT (FORMAT text, ENCODING 'UTF8')").format(query)
        with _translated(), self._connection.cursor() as cursor, cursor.copy(copy) as out:
            for rows in batches_of(self._connection, out, _RAW_ROWS, _BLOCK_BYTES):
                yield b"".join(rows)

    def all(self, query: str, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
        """The rows of a query in the snapshot."""
        with _translated():
            return self._connection.execute(query, parameters).fetchall()

    def _find(self, name: str) -> Found:
        rows = self._connection.execute(_FIND, {"schema": self._schema, "name": name}).fetchall()
        if not rows:
            raise InvalidArgument(
                f'there is no table "{name}" in the database',
                hint="say in which schema it is: --schema NAME",
            )
        return Found(*rows[0])

    def _take_snapshot(self) -> dict[str, Any]:
        row = self._connection.execute(
            "SELECT pg_current_snapshot()::text, transaction_timestamp(), current_database()"
        )
        taken = row.fetchone()
        assert taken is not None
        version = self._connection.info.parameter_status("server_version")
        return {
            "source": "postgresql",
            "database": taken[2],
            "server_version": version,
            "id": taken[0],
            "taken_at": times.render(taken[1]),
        }


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """Turns every psycopg error inside into one of evtool's, in the words of a table and not of a namespace."""
    try:
        yield
    except psycopg.Error as error:
        raise translate_bulk(error) from error


def translate_bulk(error: psycopg.Error) -> EvtoolError:
    """An error of psycopg as one of evtool's, for a table of the user's own."""
    state = error.sqlstate or ""
    primary = one_line(error.diag.message_primary or str(error))
    if state == "42501":
        hint = "a role that sees all of its rows: its owner, or one with BYPASSRLS" if "row-level" in primary else None
        return PermissionDenied(primary, hint=hint or "grant SELECT on the table to this role, or take another")
    if state[:2] in {"22", "42"}:
        return InvalidArgument(primary, hint="correct the condition or the order")
    if state[:2] in {"23", "54"}:
        return StoreError(f"PostgreSQL said {state}: {primary}")
    return translate(error)
