"""Laying aside the indexes of an empty table while it is loaded, and building them again as they were."""

from __future__ import annotations

from typing import Any, NamedTuple

import psycopg
from psycopg import sql

from evtool.stores.postgres.connection import Connection

# Others than the structure's own stay where they are: COPY fills them, and it isn't known what hangs on them.
_OURS = ["messages_pkey", "messages_id", "messages_stream", "messages_category", "messages_time"]

# What would not come back as it was, or would reach further than the table: a reason each, and the first is told.
_REASONS = """
    SELECT CASE
      WHEN NOT pg_has_role(c.relowner, 'USAGE') THEN 'the role does not own the table'
      WHEN EXISTS (SELECT FROM pg_publication_tables WHERE schemaname = n.nspname AND tablename = c.relname)
        THEN 'the table is published'
      WHEN EXISTS (SELECT FROM pg_trigger WHERE tgrelid = c.oid AND NOT tgisinternal AND tgtype & 32 <> 0)
        THEN 'the table has a trigger for TRUNCATE'
      WHEN EXISTS (
        SELECT FROM pg_index WHERE indrelid = c.oid AND (indisclustered OR indisreplident OR NOT indisvalid)
      ) THEN 'an index of the table is marked: clustered, replica identity, or invalid'
    END
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = {table}::regclass
"""

# In the order in which they were made, which is the one in which PostgreSQL looks for duplicates.
_DEFINITIONS = """
    SELECT c.relname, pg_get_indexdef(c.oid), p.conname, obj_description(c.oid, 'pg_class'),
      obj_description(p.oid, 'pg_constraint'), coalesce(t.spcname, ''),
      (SELECT array_agg(array[attnum::integer, attstattarget::integer]) FROM pg_attribute
        WHERE attrelid = c.oid AND attstattarget >= 0)
    FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid LEFT JOIN pg_tablespace t ON t.oid = c.reltablespace
      LEFT JOIN pg_constraint p ON p.conindid = c.oid AND p.conrelid = i.indrelid
    WHERE i.indrelid = {table}::regclass AND c.relname = ANY ({names}) ORDER BY c.oid
"""

_SHORT_WAIT = "SELECT set_config('lock_timeout', '500ms', true)"
_TABLESPACE = "SELECT set_config('default_tablespace', %s, true)"
# Half of what a server has by default would make a second pass over the sorted entries of a million messages.
_MEMORY = """
    SELECT set_config('maintenance_work_mem', '256MB', true)
    WHERE pg_size_bytes(current_setting('maintenance_work_mem')) < pg_size_bytes('256MB')
"""


class Index(NamedTuple):
    """An index as the catalog has it."""

    name: str
    definition: str
    constraint: str | None
    comment: str | None
    constraint_comment: str | None
    tablespace: str
    statistics: list[list[int]] | None


class Indexes:
    """The indexes of a table of messages, for as long as they are laid aside."""

    def __init__(self, connection: Connection, schema: str) -> None:
        """Reads nothing yet.

        Args:
            connection: in a transaction that holds a lock on the table.
            schema: where the table is.
        """
        self._connection = connection
        self._schema = schema
        self._table = sql.Identifier(schema, "messages")
        self._literal = sql.Literal(self._table.as_string(connection))
        self._laid_aside: list[Index] = []

    def lay_aside(self) -> str | None:
        """Drops them and gives the table, which must be empty, a new file; or leaves all as it is.

        In a new file rows stand in the order in which they came. What somebody has deleted before is left for good.

        Returns:
            Why they stay; None where they are laid aside.
        """
        (reason,) = self._ask(_REASONS)[0]
        if reason is not None:
            return str(reason)
        before = self._connection.execute("SELECT current_setting('lock_timeout')").fetchone()
        assert before is not None
        try:
            with self._connection.transaction():
                # Readers must be gone for it. Those that come meanwhile wait behind us, and one that is there may be
                # waiting for us in turn, to write: so not for as long as it takes to find a deadlock.
                self._connection.execute(_SHORT_WAIT)
                self._connection.execute(sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(self._table))
                self._connection.execute(sql.SQL("TRUNCATE {}").format(self._table))
                indexes = [Index(*row) for row in self._ask(_DEFINITIONS)]
                for index in indexes:
                    self._drop(index)
        except psycopg.errors.LockNotAvailable:
            return "somebody is reading the table"
        except (psycopg.errors.DependentObjectsStillExist, psycopg.errors.FeatureNotSupported):
            return "other objects depend on its indexes"
        self._connection.execute("SELECT set_config('lock_timeout', %s, true)", before)
        self._laid_aside = indexes
        return None

    def build(self) -> None:
        """Builds them again, in parallel where the server allows it.

        Raises:
            psycopg.errors.UniqueViolation: two rows have a key in common.
            psycopg.errors.ProgramLimitExceeded: a name has no room in an index.
        """
        self._connection.execute(_MEMORY)
        for index in self._laid_aside:
            self._connection.execute(_TABLESPACE, [index.tablespace])
            self._connection.execute(sql.SQL(index.definition))
            if index.constraint is not None:
                self._connection.execute(
                    sql.SQL("ALTER TABLE {} ADD CONSTRAINT {} PRIMARY KEY USING INDEX {}").format(
                        self._table, sql.Identifier(index.constraint), sql.Identifier(index.name)
                    )
                )
            self._describe(index)

    def _drop(self, index: Index) -> None:
        if index.constraint is not None:
            drop = sql.SQL("ALTER TABLE {} DROP CONSTRAINT {}").format(self._table, sql.Identifier(index.constraint))
        else:
            drop = sql.SQL("DROP INDEX {}").format(sql.Identifier(self._schema, index.name))
        self._connection.execute(drop)

    def _describe(self, index: Index) -> None:
        name = sql.Identifier(self._schema, index.name)
        if index.comment is not None:
            comment = sql.Literal(index.comment)
            self._connection.execute(sql.SQL("COMMENT ON INDEX {} IS {}").format(name, comment))
        if index.constraint is not None and index.constraint_comment is not None:
            self._connection.execute(
                sql.SQL("COMMENT ON CONSTRAINT {} ON {} IS {}").format(
                    sql.Identifier(index.constraint), self._table, sql.Literal(index.constraint_comment)
                )
            )
        for column, target in index.statistics or ():
            self._connection.execute(
                sql.SQL("ALTER INDEX {} ALTER COLUMN {} SET STATISTICS {}").format(
                    name, sql.Literal(column), sql.Literal(target)
                )
            )

    def _ask(self, query: str) -> list[tuple[Any, ...]]:
        names = sql.Literal(_OURS)
        return self._connection.execute(sql.SQL(query).format(table=self._literal, names=names)).fetchall()
