"""One batch of records into a table, in the caller's transaction: copied, given verdicts, inserted.

This is what both `evtool bulk import` and the workers of a queue do with a batch. What they write down about it, in the
same transaction, is theirs.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from evtool.bulk import sequences
from evtool.bulk.casting import ColumnType
from evtool.bulk.catalog import BASE, ELEMENT, FOLDED
from evtool.bulk.judging import Target
from evtool.bulk.records import Record
from evtool.bulk.resource import Reference, Resource, Unique
from evtool.bulk.rows import RowMaker, Rows
from evtool.bulk.statements import NOT_OF_A_RECORD, Statements
from evtool.bulk.straight import LOOK
from evtool.errors import InvalidResource, PermissionDenied, ServerUnsuitable
from evtool.stores.postgres.connection import Connection

OWN = "_evtool_"
"""What the names of an import's own columns begin with."""

# No table, rule or default is to blame for these.
NOT_OF_A_RESOURCE = {*NOT_OF_A_RECORD} - {"42P01"}

# For batches of one transaction; others find the tables empty. Truncating makes the server plan all statements anew,
# which takes as long as a third of a batch; deleting leaves dead rows, which every look at the tables has to pass.
_EMPTIED_EVERY = 16
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a batch. total = accepted + rejected, and accepted = inserted + updated.

    Attributes:
        total: records.
        accepted: those that are in the table now.
        inserted: those that were new.
        updated: those that replaced a record of the same key.
        rejected: those that are not in the table.
        errors: what was wrong with those; a record may have several.
    """

    total: int
    accepted: int
    inserted: int
    updated: int
    rejected: int
    errors: int


@dataclass(frozen=True, slots=True)
class Reject:
    """A record that was refused.

    Attributes:
        line: the physical line on which it starts.
        errors: each with `field`, `value`, `code` and `message`.
        raw: its text.
    """

    line: int
    errors: list[dict[str, Any]]
    raw: str


class Loader:
    """Loads batches of one file's form into one table, over one connection.

    Its tables and functions are temporary: nothing is left of them when the session ends.
    """

    def __init__(
        self,
        connection: Connection,
        resource: Resource,
        columns: Sequence[str],
        *,
        upsert: bool = False,
        typed: bool = False,
    ) -> None:
        """Makes ready for batches.

        Args:
            connection: in autocommit, to a database that `installing.install` has prepared.
            resource: with its schema.
            columns: that the file has, in the order of the records' fields.
            upsert: whether a record whose key is there replaces the one that is.
            typed: whether records say which columns are mistyped or absent, as those of JSON do.

        Raises:
            InvalidResource: the resource doesn't fit the table, or a rule or default is not SQL.
            PermissionDenied: the role may not write to the table.
        """
        if upsert:
            resource = _upserted(resource, columns)
        self._connection = connection
        self._loaded = 0
        self._statements = Statements(
            resource,
            _look_at(connection, resource, upsert=upsert),
            columns,
            upsert=upsert,
            typed=typed,
            suffix=str(next(_numbers)),
        )
        self._maker = RowMaker(self._statements, typed=typed)
        self._trusting = self._statements.can_trust
        tables = [sql.Identifier("pg_temp", name) for name in self._statements.temporary]
        self._truncated = sql.SQL("TRUNCATE {}").format(sql.SQL(", ").join(tables))
        self._emptied = sql.SQL("; ").join(sql.SQL("DELETE FROM {}").format(table) for table in tables)
        with connection.transaction():
            try:
                for statement in self._statements.setup():
                    connection.execute(statement)
                # nothing is staged: this only has the server read what the resource says
                connection.execute(self._statements.load, (False,))
            except psycopg.Error as error:
                state = error.sqlstate or "08"
                if state in NOT_OF_A_RESOURCE or state[:2] in NOT_OF_A_RESOURCE:
                    raise
                if state[:2] == "54":
                    # two columns of each are put beside it
                    raise InvalidResource(
                        f"{resource.schema}.{resource.table} has too many columns: {error.diag.message_primary}",
                        hint="evtool imports tables of some 800 columns",
                    ) from error
                raise InvalidResource(
                    f"{resource.name} fails on {resource.schema}.{resource.table}: {error.diag.message_primary}",
                    hint="check the rules, defaults and references of the resource",
                ) from error

    @property
    def oid(self) -> int:
        """The number of the table, which another table of that name would not have."""
        return self._statements.oid

    @property
    def rejects_table(self) -> sql.Identifier:
        """The temporary table (line bigint, errors json, raw text) of what this transaction's last batch refused."""
        return sql.Identifier("pg_temp", self._statements.rejects)

    def load(self, rows: Rows, *, together: bool = False) -> Outcome:
        """Loads a batch, inside the caller's transaction.

        Args:
            rows: what `rows` has made of it.
            together: whether this transaction has other batches.

        Returns:
            What became of it. Until the next batch or the end of the transaction `rejects_table` has what was refused.

        Raises:
            psycopg.Error: something for which no record is to blame.
        """
        connection = self._connection
        if together:
            connection.execute(self._emptied if self._loaded % _EMPTIED_EVERY else self._truncated)
            self._loaded += 1
        gone = rows.count and self._maker.goes_straight and self._load_straight(rows)
        if not gone:
            return self._load_staged(rows.all())
        rest = self._load_staged(rows.staged)
        return dataclasses.replace(
            rest,
            total=rest.total + rows.count,
            accepted=rest.accepted + rows.count,
            inserted=rest.inserted + rows.count,
        )

    def _load_straight(self, rows: Rows) -> bool:
        """Puts those records into the table that are known to be right; whether it took them all, for else it has none.

        What it doesn't take it may have from before. Then the others of this import are probably there, too.
        """
        connection = self._connection
        try:
            with (
                connection.transaction(),
                connection.cursor() as cursor,
                cursor.copy(self._statements.copy_straight) as copy,
            ):
                for block in rows.straight:
                    copy.write(block)
        except psycopg.Error as error:
            if (error.sqlstate or "08")[:2] in NOT_OF_A_RECORD:
                raise
            self._maker.goes_straight = False
        return self._maker.goes_straight

    def _load_staged(self, blocks: Sequence[bytes]) -> Outcome:
        """Has the server look at records, and insert those that it accepts."""
        if not blocks:
            return Outcome(0, 0, 0, 0, 0, 0)
        with self._connection.cursor() as cursor:
            with cursor.copy(self._statements.copy) as copy:
                for block in blocks:
                    copy.write(block)
            row = cursor.execute(self._statements.load, (self._trusting,), prepare=True).fetchone()
        assert row is not None
        # who was wrong once is wrong again: the table had records, and perhaps these very ones
        self._trusting, *counts = row
        return Outcome(*map(int, counts))

    def raise_sequences(self) -> None:
        """Moves the sequences of the columns that the file has beyond what came: see `sequences`."""
        statements = self._statements
        whole = [column for column in statements.given if statements.type_of(column) in sequences.WHOLE]
        sequences.move_where_allowed(self._connection, statements.target, statements.table, whole)

    def rows(self, batch: Sequence[Record]) -> Rows:
        """The records as rows, in the order of the file: any thread may make them while a batch is loaded."""
        return self._maker.make(batch)


_COLUMNS = f"""
    SELECT a.attname, format_type(base.type, NULL), format_type(element.type, NULL),
      t.typcategory = 'S' AND t.typtype = 'b' AND t.oid <> 'name'::regtype,
      CASE
        WHEN base.type = 'numeric'::regtype AND base.modifier >= 4
          -- eleven bits of it, and it may be negative
          THEN format('round({{}}, %%s)', (((base.modifier - 4) & 2047) # 1024) - 1024)
        -- not of texts, which a cast would cut
        WHEN base.modifier <> -1 AND element.type IN ('timestamp'::regtype, 'timestamptz'::regtype, 'time'::regtype,
          'timetz'::regtype, 'interval'::regtype, 'numeric'::regtype)
          THEN format('({{}})::%%s', format_type(base.type, base.modifier))
      END
    FROM pg_attribute a CROSS JOIN {BASE} CROSS JOIN {ELEMENT} JOIN pg_type t ON t.oid = element.type
    WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped
"""
_TABLE = """
    SELECT c.oid::bigint, c.oid::regclass::text, c.relkind IN ('r', 'p'), c.relkind = 'p',
      has_table_privilege(c.oid, 'INSERT') OR has_any_column_privilege(c.oid, 'INSERT'),
      current_setting('server_encoding'), (
        SELECT concat_ws(', ', 'pg_catalog', NULLIF(reset_val, ''), 'pg_temp') FROM pg_settings
        WHERE name = 'search_path'
      )
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = %s AND c.relname = %s
"""
# An index serves a key if it is over the same columns, or over lower() of those that fold case.
_INDEXES = f"""
    SELECT ARRAY(
      SELECT CASE WHEN i.indkey[k.n - 1] <> 0 THEN a.attname::text
        ELSE COALESCE('lower(' || {FOLDED} || ')', pg_get_indexdef(i.indexrelid, k.n, true)) END
      FROM generate_series(1, i.indnkeyatts) AS k(n)
      LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[k.n - 1]
    )
    , NOT i.indimmediate
    FROM pg_index i
    WHERE i.indrelid = %s AND i.indisunique AND i.indisvalid AND i.indpred IS NULL
"""
# Locking a row FOR KEY SHARE takes the right to update the table.
_MAY_LOCK = (
    "SELECT has_any_column_privilege(c.oid, 'UPDATE') FROM pg_class c JOIN pg_namespace n"
    " ON n.oid = c.relnamespace WHERE n.nspname = %s AND c.relname = %s AND c.relkind IN ('r', 'p')"
)


def _look_at(connection: Connection, resource: Resource, *, upsert: bool) -> Target:
    """The table of a resource as the server knows it.

    Raises:
        InvalidResource: it isn't there, lacks a column, or lacks the unique index of a key.
        PermissionDenied: the role may not write to it.
        ServerUnsuitable: the database is not in UTF-8.
    """
    where = f"{resource.schema}.{resource.table}"
    row = connection.execute(_TABLE, (resource.schema, resource.table)).fetchone()
    if row is None:
        hint = f"make it first: evtool bulk init --schema {resource.schema}, or name its schema with --schema"
        raise InvalidResource(f"there is no table {where}", hint=hint)
    oid, name, is_table, partitioned, may_insert, encoding, path = row
    if encoding != "UTF8":
        raise ServerUnsuitable(f"the database is encoded in {encoding}", hint="imports need a database in UTF8")
    if not is_table:
        raise InvalidResource(f"{where} is not a table", hint="views can be exported, not imported into")
    if not may_insert:
        raise PermissionDenied(
            f"the role may not insert into {where}", hint="it needs the privileges INSERT and SELECT"
        )
    types = {column: ColumnType(*type_) for column, *type_ in connection.execute(_COLUMNS, (oid,)).fetchall()}
    for column in resource.columns:
        if column.name not in types:
            raise InvalidResource(f'the table {where} has no column "{column.name}"', hint="see: \\d in psql")
        if column.name.startswith(OWN):
            raise InvalidResource(
                f'{where} has a column "{column.name}"', hint=f"names that begin with {OWN} are evtool's"
            )
    found = connection.execute(_INDEXES, (oid,)).fetchall()
    indexes = [sorted(columns) for columns, _ in found]
    at_once = [sorted(columns) for columns, waits in found if not waits]
    for unique in resource.keys:
        wanted = _indexed(resource, unique)
        if sorted(wanted) in indexes and upsert and unique.columns == (resource.natural_key or resource.key):
            if sorted(wanted) not in at_once:
                raise InvalidResource(
                    f"the key {', '.join(wanted)} of {where} is deferrable, and no upsert can go by that",
                    hint="import with --mode insert, or make the constraint NOT DEFERRABLE",
                )
        elif sorted(wanted) not in indexes:
            raise InvalidResource(
                f"no unique index of {where} is over {', '.join(wanted)}",
                hint=f"give {where} such an index, or take the key out of the resource",
            )
    lockable = [one for one in resource.references if _may_lock(connection, resource, one)]
    chosen = {column.name: types[column.name] for column in resource.columns}
    orderless, unique, defaulted = connection.execute(LOOK, (oid,)).fetchone() or (False, 0, ())
    keys = {tuple(sorted(_indexed(resource, one))) for one in resource.keys}
    return Target(
        name,
        oid,
        chosen,
        frozenset(lockable),
        len(at_once) < len(found),
        partitioned,
        path,
        orderless and unique == len(found) == len(keys) and {tuple(columns) for columns in indexes} == keys,
        frozenset(defaulted),
    )


def _upserted(resource: Resource, given: Sequence[str]) -> Resource:
    """The resource with the natural key that an upsert of a file goes by: its own, or what identifies the records.

    Raises:
        InvalidResource: there is no such key, or more than one.
    """
    key = resource.natural_key or resource.key
    if resource.natural_key or set(key) & set(given):
        return resource
    # the file leaves the key to the database: nothing it says there can be that of a record which is there
    found = [
        unique
        for unique in resource.unique
        if set(unique.columns) <= set(given)
        and all(resource.column(name).required or resource.column(name).not_null for name in unique.columns)
    ]
    if len(found) == 1:
        return dataclasses.replace(
            resource, natural_key=found[0].columns, unique=tuple(one for one in resource.unique if one != found[0])
        )
    where = f"{resource.schema}.{resource.table}"
    lacks = f"the file lacks {', '.join(key)}, the key of {where}" if key else f"{where} has no primary key"
    several = " or ".join(f"({', '.join(unique.columns)})" for unique in found)
    raise InvalidResource(
        f"{lacks}, and --mode upsert can't go by " + (several if found else "any other that is unique and not null"),
        hint="name the columns to go by as natural_key in a resource file"
        + (f", or give the file the column {', '.join(key)}" if key else ""),
    )


def _indexed(resource: Resource, unique: Unique) -> list[str]:
    """The columns of a key, as its index has them."""
    return [f"lower({column})" if resource.column(column).fold_case else column for column in unique.columns]


def _may_lock(connection: Connection, resource: Resource, reference: Reference) -> bool:
    row = connection.execute(_MAY_LOCK, (reference.schema or resource.schema, reference.table)).fetchone()
    if row is None:
        raise InvalidResource(
            f"{resource.name} refers to the table {reference.schema or resource.schema}.{reference.table},"
            " which isn't there",
            hint="make it first",
        )
    return bool(row[0])
