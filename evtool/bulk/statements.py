"""The SQL of an import into one table: the holes of `sql/bulk/templates/load_batch.sql`, filled for a resource.

Every name goes through `sql.Identifier` and every text through `sql.Literal`. What a resource says in SQL itself, its
rules and defaults, stands as it is: a resource is trusted like a script.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cached_property

from psycopg import sql

from evtool import sqltext
from evtool.bulk import straight
from evtool.bulk.installing import SCHEMA
from evtool.bulk.placing import Placement, temp
from evtool.bulk.resource import Reference

NOT_OF_A_RECORD = ("08", "25", "28", "40", "53", "55", "57", "58", "XX", "42501", "42P01")
"""SQLSTATEs, and classes of them, for which no record is to blame: the batch fails, or the import."""

_Sql = sql.Composable
_COMMA = sql.SQL(", ")


class Statements(Placement):
    """The statements that import records of a file into a table."""

    @property
    def rejects(self) -> str:
        """The table that holds what the last batch refused."""
        return f"evtool_rejects_{self._suffix}"

    @property
    def target(self) -> str:
        """The table, as a text."""
        return self._target.name

    def type_of(self, column: str) -> str:
        """The name of a column's type, without its length."""
        return self._target.types[column].name

    @property
    def oid(self) -> int:
        """The number of the table."""
        return self._target.oid

    @property
    def table(self) -> _Sql:
        """The table."""
        return self._self

    @property
    def temporary(self) -> tuple[str, ...]:
        """The tables that a batch fills."""
        return (self.staging, self._verdicts, self.rejects)

    @property
    def _messages(self) -> str:
        return f"evtool_messages_{self._suffix}"

    @cached_property
    def copy(self) -> sql.Composed:
        """The COPY into the staging table."""
        columns = [
            "_evtool_n",
            "_evtool_line",
            "_evtool_raw",
            "_evtool_fault",
            "_evtool_note",
            "_evtool_plain",
            "_evtool_is_fresh",
        ]
        if self._typed:
            columns += ["_evtool_mistyped", "_evtool_absent"]
        return sql.SQL("COPY {} ({}) FROM STDIN (ENCODING 'UTF8')").format(
            temp(self.staging), _COMMA.join(map(sql.Identifier, [*columns, *self.given]))
        )

    @property
    def straight(self) -> bytes | None:
        """The regular expression of rows that may go straight into the table; None where there are none such."""
        if not self.can_trust or not self._target.orderless or not self._target.defaulted <= {*self.given}:
            return None
        written = [column.name for column in self._columns]
        return straight.pattern(self._resource, self._target.types, self.casts, self.given, written)

    @property
    def rules(self) -> list[tuple[int, re.Pattern[str]]]:
        """What such a row's values must match as a whole, with their places."""
        return straight.rules(self._resource, self.given)

    @property
    def key_columns(self) -> list[tuple[str, bool]]:
        """The columns of all keys that the file has, and whether they are compared without case."""
        names = dict.fromkeys(name for unique in self._resource.keys for name in unique.columns if name in self.given)
        return [(name, self._resource.column(name).fold_case) for name in names]

    @cached_property
    def copy_straight(self) -> sql.Composed:
        """The COPY into the table itself."""
        return sql.SQL("COPY {} ({}) FROM STDIN (ENCODING 'UTF8')").format(
            self._self, _COMMA.join(map(sql.Identifier, self.given))
        )

    @cached_property
    def load(self) -> sql.Composed:
        """The call that gives the staged records their verdicts and inserts the good ones."""
        return sql.SQL("SELECT * FROM {}(%s)").format(self._function)

    @property
    def _function(self) -> _Sql:
        return temp(f"evtool_load_{self._suffix}")

    def setup(self) -> Iterator[sql.Composed]:
        """What makes the temporary tables and functions, to be run once a session."""
        texts = _COMMA.join(
            sql.SQL("{} text").format(sql.Identifier(name)) for name in dict.fromkeys((*self.given, *self._numbers))
        )
        yield sql.SQL(
            "CREATE TEMP TABLE {} (_evtool_n integer, _evtool_line bigint, _evtool_raw text, _evtool_fault text,"
            " _evtool_note text, _evtool_plain boolean, _evtool_is_fresh boolean, _evtool_mistyped text[],"
            " _evtool_absent text[], {}) ON COMMIT DELETE ROWS"
        ).format(sql.Identifier(self.staging), texts)
        values = _COMMA.join(
            sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(self.casts[name].type)) for name in self._numbers
        )
        yield sql.SQL(
            "CREATE TEMP TABLE {} (_evtool_n integer, _evtool_row tid, _evtool_is_fresh boolean,"
            " _evtool_errors integer[], {}) ON COMMIT DELETE ROWS"
        ).format(sql.Identifier(self._verdicts), values)
        yield from self._indexes()
        yield sql.SQL("CREATE TEMP TABLE {} (line bigint, errors json, raw text) ON COMMIT DELETE ROWS").format(
            sql.Identifier(self.rejects)
        )
        rows = [(0, None, None, None), *((one.number, one.field, one.code, one.message) for one in self.checks)]
        yield sql.SQL("CREATE TEMP TABLE {} AS SELECT * FROM (VALUES {}) AS v (number, field, code, message)").format(
            sql.Identifier(self._messages),
            _COMMA.join(sql.SQL("({})").format(_COMMA.join(map(sql.Literal, row))) for row in rows),
        )
        for one in self.casts.values():
            if one.definition is not None:
                yield one.definition
        # What the table's own triggers and defaults call is looked for where the role's other programs find it.
        yield sql.SQL("SELECT set_config('search_path', {}, true)").format(sql.Literal(self._target.path))
        yield sql.SQL(
            "CREATE FUNCTION {}(INOUT _evtool_trusting boolean,"
            " OUT _evtool_sum_total bigint, OUT _evtool_sum_accepted bigint,"
            " OUT _evtool_sum_inserted bigint, OUT _evtool_sum_updated bigint,"
            " OUT _evtool_sum_rejected bigint, OUT _evtool_sum_errors bigint) LANGUAGE plpgsql"
            " SET search_path FROM CURRENT"
            # The plans are made when the tables may still be empty, and kept while they grow: every look into a table
            # must go by its index from the start. Compiling such plans would take longer than running them.
            " SET enable_seqscan = off SET jit = off"
            # What the role has set for its other programs holds for defaults, CHECKs and triggers: what a value means,
            # the functions of `casting` say, whatever is set.
            " AS {}"
        ).format(self._function, sql.Literal(self._body()))
        yield sql.SQL("SET LOCAL search_path = pg_catalog, pg_temp").format()

    def _body(self) -> str:
        names = _COMMA.join(map(sql.Identifier, self._numbers))
        return (
            sql.SQL(sqltext.read("bulk/templates/load_batch.sql"))
            .format(
                staging=sql.Identifier(self.staging),
                verdicts=sql.Identifier(self._verdicts),
                rejects=sql.Identifier(self.rejects),
                messages=sql.Identifier(self._messages),
                ns=sql.Identifier(SCHEMA),
                target=sql.Literal(self._target.name),
                not_of_a_record=sql.Literal(list(NOT_OF_A_RECORD)),
                columns=names,
                texts=_COMMA.join(sql.Identifier(f"_evtool_t{number}") for number in self._numbers.values()),
                values=_COMMA.join([*map(self._value, self._columns), *self._unknown()]),
                casts=_COMMA.join(self._cast(column) for column in self._columns),
                checks=_COMMA.join(
                    sql.SQL("\n          CASE WHEN {} THEN {} END").format(one.failed, sql.Literal(one.number))
                    for one in self.checks
                    if one.failed is not None
                ),
                faulty=self._faulty(),
                lock_parents=sql.SQL("").join(map(self._lock, self._resource.references)),
                part=sql.SQL("").join(self._parted()),
                load=self._replace() if self._upsert else self._insert(),
                raw=self._raw(),
            )
            .as_string()
        )

    def _faulty(self) -> _Sql:
        """Whether any of the checks finds something: most records are done with that."""
        found = [sql.SQL("({})").format(one.failed) for one in self.checks if one.failed is not None]
        return sql.SQL("\n          OR ").join(found) if found else sql.SQL("false")

    def _lock(self, reference: Reference) -> _Sql:
        """Locks the parents of a range, in the order of their keys, so that two imports can't wait for each other."""
        if self._is_own(reference) or reference not in self._target.lockable:
            return sql.SQL("")
        if not all(name in self._numbers for name in reference.columns):
            return sql.SQL("")
        names = [sql.Identifier(f"k{number}") for number in range(len(reference.columns))]
        plain = sql.Identifier("s", "_evtool_plain")
        casts = [
            sql.SQL("{} AS {}").format(self._read(column, plain), name)
            for column, name in zip(reference.columns, names, strict=True)
        ]
        same = [
            sql.SQL("p.{} = k.{}").format(sql.Identifier(target), name)
            for target, name in zip(reference.targets, names, strict=True)
        ]
        return sql.SQL(
            "PERFORM FROM (SELECT DISTINCT {casts} FROM pg_temp.{staging} AS s"
            " WHERE _evtool_n BETWEEN _evtool_low AND _evtool_high ORDER BY {names}) AS k,"
            " LATERAL (SELECT 1 FROM {parent} AS p WHERE {same} FOR KEY SHARE) AS l;\n      "
        ).format(
            casts=_COMMA.join(casts),
            staging=sql.Identifier(self.staging),
            names=_COMMA.join(names),
            parent=self._parent(reference),
            same=sql.SQL(" AND ").join(same),
        )

    def _read(self, column: str, plain: _Sql) -> _Sql:
        """The value of a staged text, as it is compared with a parent's."""
        value = self.casts[column].of(sql.Identifier("s", column), plain)
        rounded = self._target.types[column].rounded
        return self._compared(column, value if rounded is None else sql.SQL(rounded).format(value))

    def _raw(self) -> _Sql:
        if self._typed:
            return sql.SQL("''")
        fields = _COMMA.join(sql.Identifier("s", name) for name in self.given)
        return sql.SQL("array_to_string(ARRAY[{}], ',', '')").format(fields)
