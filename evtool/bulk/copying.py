"""The journey across: tables of one PostgreSQL database into the same tables of another, all or nothing.

The source is read in one snapshot, the target written in one transaction, parents before children. COPY's text passes
through as it is: unlike the binary format it holds nothing that is one server's own, such as the numbers of types.
"""

from __future__ import annotations

import contextlib
import graphlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from evtool import settings
from evtool.bulk import sequences
from evtool.bulk.catalog import BASE
from evtool.bulk.resource import Resource
from evtool.bulk.selecting import BulkSelection, Condition, Plan, Table, plan
from evtool.bulk.sources.postgres import SETTINGS, PostgresSource, translate_bulk
from evtool.bulk.sources.source import Request
from evtool.connecting import server_dsn
from evtool.errors import EvtoolError, InvalidArgument, StoreError, WriteConflict
from evtool.progress import EVERY
from evtool.stores.postgres.connection import Connection, Connector

Listener = Callable[[str, int], None]

# The columns that take a value, with their types; nothing for a table that isn't there or takes no records. A type of
# one name may hold less here than there: a domain, if what it is made of does, and a composite one, if a field does.
_COLUMNS = f"""
    SELECT a.attname, a.attgenerated <> '', format_type(a.atttypid, NULL), base.modifier,
           format_type(a.atttypid, a.atttypmod),
           concat_ws(' of ',
             NULLIF(format_type(base.type, base.modifier), format_type(a.atttypid, a.atttypmod)), made.of)
      FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
      CROSS JOIN {BASE}
      LEFT JOIN LATERAL (
        SELECT CASE e.typtype WHEN 'd' THEN format_type(e.typbasetype, e.typtypmod) ELSE (
            SELECT string_agg(f.attname || ' ' || format_type(f.atttypid, f.atttypmod), ', ' ORDER BY f.attnum)
              FROM pg_attribute f WHERE f.attrelid = e.typrelid AND f.attnum > 0 AND NOT f.attisdropped) END AS of
          FROM pg_type o JOIN pg_type e ON e.oid = CASE WHEN o.typcategory = 'A' THEN o.typelem ELSE o.oid END
         WHERE o.oid = base.type AND (e.typtype = 'd' OR e.typrelid <> 0)
      ) AS made ON true
     WHERE n.nspname = %(schema)s AND c.relname = %(table)s AND a.attnum > 0 AND NOT a.attisdropped
       AND c.relkind IN ('r', 'p', 'f')
     ORDER BY a.attnum
"""

_REFERENCES = """
    SELECT c.conname, format('%%s.%%s', n.nspname, t.relname), format('%%s.%%s', p.nspname, r.relname), c.condeferrable
      FROM pg_constraint c
      JOIN pg_class t ON t.oid = c.conrelid JOIN pg_namespace n ON n.oid = t.relnamespace
      JOIN pg_class r ON r.oid = c.confrelid JOIN pg_namespace p ON p.oid = r.relnamespace
     WHERE c.contype = 'f' AND c.conparentid = 0 AND format('%%s.%%s', n.nspname, t.relname) = ANY (%(tables)s)
     ORDER BY 2, 1
"""

# As an import of events does: whoever inserts next gets a number above those that came. Nobody else writes meanwhile.
_SEQUENCES = """
    SELECT a.attname, pg_get_serial_sequence(format('%%I.%%I', n.nspname, c.relname), a.attname)
      FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE n.nspname = %(schema)s AND c.relname = %(table)s AND a.attnum > 0 AND NOT a.attisdropped
       AND a.atttypid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype)
       AND pg_get_serial_sequence(format('%%I.%%I', n.nspname, c.relname), a.attname) IS NOT NULL
"""

_MIGRATE = "bring both databases to the same migration"

_LOCK_TIMEOUT = "SELECT set_config('lock_timeout', '10s', true) WHERE current_setting('lock_timeout') = '0'"


@dataclass(frozen=True, slots=True)
class CopySummary:
    """What a copy did.

    Attributes:
        copied: how many records of each table, in the order in which they were written.
    """

    copied: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class _Reference:
    constraint: str
    child: str
    parent: str
    deferrable: bool


def copy_tables(
    source_dsn: str | None,
    target_dsn: str | None,
    what: Sequence[Resource | str],
    where: Sequence[Condition] = (),
    *,
    schema: str = "public",
    progress: Listener = lambda _table, _records: None,
) -> CopySummary:
    """Copies tables into the tables of the same names and types in another database.

    All of it is one snapshot of the source and one transaction in the target. Writers of the target's tables wait
    meanwhile, readers don't. Sequences that the tables own are moved above what came.

    Args:
        source_dsn: where from; a PostgreSQL server, as in `evtool.connect`.
        target_dsn: where to; likewise.
        what: resources, of which only the table counts, or names of tables.
        where: conditions whose field is `table.field`, which keep a table's other records behind.
        schema: where a table is that is named without one.
        progress: told the table and how many of its records were sent, now and then.

    Raises:
        InvalidArgument: a table isn't there or differs, or references go in a circle that nothing can break.
        WriteConflict: the target has a record with the same key, lacks one that is referred to, or forbids one.
        StoreError: anything else; nothing was changed.
    """
    names = list(dict.fromkeys(_name(one) for one in what))
    if not names:
        raise InvalidArgument("no table is named", hint="name the tables to copy")
    source_dsn, target_dsn = (server_dsn(settings.dsn(one)) for one in (source_dsn, target_dsn))
    with (
        PostgresSource(source_dsn, schema=schema) as source,
        contextlib.closing(Connector(target_dsn).open()) as target,
    ):
        plans = _plans(source, names, where)
        for planned in plans.values():
            source.check(planned)
        references: list[_Reference] = []
        with _judged(references), target.transaction():
            # all texts in one form, on both sides; but what the target's triggers and CHECKs say of times is its own
            zone = target.execute("SELECT current_setting('timezone')").fetchone()
            target.execute(SETTINGS)
            target.execute("SELECT set_config('timezone', %s, true)", zone)
            _require_tables(source, target, plans)
            found = target.execute(_REFERENCES, {"tables": list(plans)}).fetchall()
            references += (_Reference(*row) for row in found)
            order, deferring = _ordered(plans, references)
            target.execute(_LOCK_TIMEOUT)
            for name in sorted(plans):
                target.execute(
                    sql.SQL("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE").format(_identifier(plans[name].table))
                )
            if deferring:
                target.execute("SET CONSTRAINTS ALL DEFERRED")
            copied = {name: _copy(source, target, plans[name], progress) for name in order}
            for name in order:
                _move_sequences(target, plans[name].table)
            # its verdicts now, and not at the commit
            target.execute("SET CONSTRAINTS ALL IMMEDIATE")
        return CopySummary(copied)


def _name(what: Resource | str) -> str:
    if isinstance(what, str):
        return what
    return what.table if what.schema is None else f"{what.schema}.{what.table}"


def _plans(source: PostgresSource, names: Sequence[str], where: Sequence[Condition]) -> dict[str, Plan]:
    """What is to be copied, by the tables' full names; columns that the database computes are left out."""
    found: dict[str, Table] = {}
    called: dict[str, str] = {}
    for name in names:
        table = source.table(Request(name))
        found[table.name] = table
        called |= {name: table.name, table.name: table.name, table.place[1]: table.name}
    conditions: dict[str, list[Condition]] = {name: [] for name in found}
    for one in where:
        table_name, _, field = one.field.rpartition(".")
        if table_name not in called:
            raise InvalidArgument(
                f"the condition {one.field!r:.60} names no table that is copied", hint="write table.field=value"
            )
        conditions[called[table_name]].append(Condition(field, one.operator, one.value))
    return {
        name: plan(table, BulkSelection(columns=tuple(_written(source.all, table)), where=tuple(conditions[name])))
        for name, table in found.items()
    }


@dataclass(frozen=True, slots=True)
class _Type:
    name: str
    modifier: int
    plain: str
    made_of: str

    @property
    def shown(self) -> str:
        """For people."""
        return f"{self.plain} ({self.made_of})" if self.made_of else self.plain

    def holds(self, other: _Type) -> bool:
        """Whether a column of this type takes all values of one of another, and changes none."""
        if (self.name, self.made_of) != (other.name, other.made_of):
            return False
        if self.modifier in {other.modifier, -1}:
            return True
        if other.modifier == -1:
            return False
        if self.name == "numeric":
            # eleven bits of scale, which may be negative, and the precision
            (digits, scale), (given, other_scale) = (
                ((one - 4) >> 16, ((one - 4 & 2047) ^ 1024) - 1024) for one in (self.modifier, other.modifier)
            )
            return scale >= other_scale and digits - scale >= given - other_scale
        return self.name in _WIDER and self.modifier > other.modifier


# Types of which more is wider. `character` would get spaces, and `bit` must be as long as it is.
_WIDER = {
    "character varying",
    "bit varying",
    *(f"{one} {two} time zone" for one in ("time", "timestamp") for two in ("with", "without")),
}


def _written(rows: Callable[[str, dict[str, Any]], list[tuple[Any, ...]]], table: Table) -> dict[str, _Type]:
    """The columns of a table that take a value, with their types; none where there is no such table."""
    found = rows(_COLUMNS, _place(table))
    return {name: _Type(*type_) for name, computed, *type_ in found if not computed}


def _require_tables(source: PostgresSource, target: Connection, plans: Mapping[str, Plan]) -> None:
    """Refuses what the target has no place for, table by table, before anything is sent."""
    for name, planned in plans.items():
        given = _written(source.all, planned.table)
        types = _written(lambda query, place: target.execute(query, place).fetchall(), planned.table)
        if not types:
            raise InvalidArgument(
                f"the target has no table {name}", hint="make it first, as the service's own migrations do"
            )
        for column, type_name in given.items():
            if column not in types:
                raise InvalidArgument(f'{name} of the target has no column "{column}" to be written', hint=_MIGRATE)
            if not types[column].holds(type_name):
                raise InvalidArgument(
                    f'"{column}" of {name} is {type_name.shown} in the source and {types[column].shown} in the target',
                    hint=_MIGRATE,
                )


def _ordered(plans: Mapping[str, Plan], references: Sequence[_Reference]) -> tuple[list[str], bool]:
    """Parents before children, and whether references must wait for the end because some go in a circle.

    A table that refers to itself is no circle: a COPY's references are looked at when it is through.
    """
    for deferring in (False, True):
        graph: dict[str, set[str]] = {name: set() for name in plans}
        for one in references:
            if one.parent in graph and one.parent != one.child and not (deferring and one.deferrable):
                graph[one.child].add(one.parent)
        try:
            return list(graphlib.TopologicalSorter(graph).static_order()), deferring
        except graphlib.CycleError as error:
            circle = " → ".join(reversed(error.args[1]))
    raise InvalidArgument(
        f"the references go in a circle: {circle}",
        hint="make one that can wait: ALTER TABLE … ALTER CONSTRAINT … DEFERRABLE, in the target",
    )


def _copy(source: PostgresSource, target: Connection, planned: Plan, progress: Listener) -> int:
    """One table, from server to server; returns how many records."""
    name = planned.table.name
    into = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT text, ENCODING 'UTF8')").format(
        _identifier(planned.table), sql.SQL(", ").join(sql.Identifier(column.name) for column in planned.columns)
    )
    sent = told = 0
    records = source.raw(planned)
    with contextlib.closing(records), target.cursor() as cursor:  # type: ignore[type-var]
        with cursor.copy(into) as out:
            for block in records:
                out.write(block)
                sent += block.count(b"\n")
                if sent - told >= EVERY:
                    told = sent
                    progress(name, sent)
        if cursor.rowcount != sent:
            raise StoreError(
                f"of {sent} records sent to {name} the target kept {cursor.rowcount}; nothing was copied",
                hint="look at the triggers of the target's table",
            )
    progress(name, sent)
    return sent


def _move_sequences(target: Connection, table: Table) -> None:
    for column, sequence in target.execute(_SEQUENCES, _place(table)).fetchall():
        sequences.move(target, _identifier(table), column, sequence)


def _place(table: Table) -> dict[str, Any]:
    schema, name = table.place
    return {"schema": schema, "table": name}


def _identifier(table: Table) -> sql.Identifier:
    return sql.Identifier(*table.place)


@contextlib.contextmanager
def _judged(references: Sequence[_Reference]) -> Iterator[None]:
    """Turns the target's errors into verdicts: which table, and what about it."""
    try:
        yield
    except psycopg.Error as error:
        raise _verdict(error, references) from error


def _verdict(error: psycopg.Error, references: Sequence[_Reference]) -> EvtoolError:
    state, diagnostic = error.sqlstate or "", error.diag
    table = f"{diagnostic.schema_name}.{diagnostic.table_name}"
    constraint = diagnostic.constraint_name
    if state == "23505":
        return WriteConflict(
            f"the target's {table} has a record with the same key (constraint {constraint}); nothing was copied",
            hint="remove it there, or keep it out with --where table.field!=value",
        )
    if state == "23503":
        parents = [one.parent for one in references if (one.child, one.constraint) == (table, constraint)]
        return WriteConflict(
            f"a record of {table} refers to one of {parents[0] if parents else 'another table'} that the target lacks"
            f" (constraint {constraint}); nothing was copied",
            hint="copy that table as well, or narrow this one with --where table.field=value",
        )
    if state[:2] == "23":
        what = f"constraint {constraint}" if constraint else f'column "{diagnostic.column_name}" must not be null'
        return WriteConflict(
            f"the target's {table} refuses a record ({what}); nothing was copied",
            hint="bring both databases to the same migration, or keep it out with --where",
        )
    if state[:2] == "22":
        return StoreError(f"the target refuses a value: {diagnostic.message_primary}; nothing was copied")
    return translate_bulk(error)
