"""Which records and columns are wanted, said in the names of declared fields and never in SQL."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from evtool import times
from evtool.bulk.kinds import Kind
from evtool.errors import InvalidArgument

TIME_FIELD = "created_at"
"""What --since and --until look at, unless another field is named."""

OPERATORS = ("=", "!=", "<", "<=", ">", ">=")

# The longer ones first. A field's name may hold anything, but none of the characters of an operator.
_CONDITION = re.compile(r"\s*([^=!<>\s][^=!<>]*?)\s*(<=|>=|!=|=|<|>)(.*)", re.DOTALL)
_DIRECTION = re.compile(r"(.*?)(?:\s+|:)(asc|desc)", re.IGNORECASE | re.DOTALL)
_NULL = "null"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table, as the database and the resource describe it.

    Attributes:
        name: its name.
        type: as the database names it.
        kind: how its values are written.
        nullable: whether it may hold null, as far as is known.
    """

    name: str
    type: str
    kind: Kind
    nullable: bool = True


@dataclass(frozen=True, slots=True)
class Order:
    """One of the fields that records are in the order of. Null is less than everything.

    Attributes:
        column: which.
        descending: the greatest first.
    """

    column: Column
    descending: bool = False

    def __str__(self) -> str:
        return f"{self.column.name} {'DESC' if self.descending else 'ASC'}"


@dataclass(frozen=True, slots=True)
class Condition:
    """What a record must meet: a field, an operator, and a value.

    Attributes:
        field: the field's name.
        operator: one of OPERATORS.
        value: as text, in the spelling of the database; None is null, which takes only `=` and `!=`.
    """

    field: str
    operator: str
    value: str | None

    @classmethod
    def parse(cls, text: str) -> Condition:
        """A condition as it is typed: `status=published`, `like_count>=10`, `parent=null`.

        White space around the field's name is dropped, the value is taken as it is. The bare word `null` is null, and
        `"null"` in quotes is the text.

        Raises:
            InvalidArgument: there is no field or no operator in it.
        """
        found = _CONDITION.fullmatch(text)
        if found is None:
            raise InvalidArgument(
                f"not a condition: {text[:60]!r}", hint="write field=value; operators are = != < <= > >="
            )
        field, operator, value = found.groups()
        if value == f'"{_NULL}"':
            return cls(field, operator, _NULL)
        if value.lower() != _NULL:
            return cls(field, operator, value)
        if operator not in {"=", "!="}:
            raise InvalidArgument(f"nothing is {operator} null: {text[:60]!r}", hint="write field=null or field!=null")
        return cls(field, operator, None)

    def __str__(self) -> str:
        value = _NULL if self.value is None else f'"{_NULL}"' if self.value.lower() == _NULL else self.value
        return f"{self.field}{self.operator}{value}"


@dataclass(frozen=True, slots=True)
class BulkSelection:
    """Which records of a table, which of their columns, and in which order.

    Attributes:
        columns: the columns to write, in this order; empty is all.
        where: conditions, all of which must hold.
        since: only records from this moment on, by `time_field`.
        until: only records before this moment.
        order_by: `field` or `field desc`, the most important first; empty is the resource's own order. The key is
            appended, so that the order is total.
        time_field: what since and until look at.
    """

    columns: tuple[str, ...] = ()
    where: tuple[Condition, ...] = ()
    since: datetime | None = None
    until: datetime | None = None
    order_by: tuple[str, ...] = ()
    time_field: str = TIME_FIELD


@dataclass(frozen=True, slots=True)
class Table:
    """A table as a source found it.

    Attributes:
        name: as it is shown, with its schema where there are schemas.
        columns: the declared ones, in order.
        key: what tells its records apart; all columns, where nothing else does.
        order: that of its resource, as `field` or `field desc`; empty where there is none.
        place: schema and table, as PostgreSQL has them.
    """

    name: str
    columns: tuple[Column, ...]
    key: tuple[Column, ...]
    order: tuple[str, ...] = ()
    place: tuple[str, str] = ("", "")

    def column(self, name: str) -> Column:
        """The column of a name.

        Raises:
            InvalidArgument: there is none.
        """
        for column in (*self.columns, *self.key):
            if column.name == name:
                return column
        known = ", ".join(column.name for column in self.columns)
        raise InvalidArgument(f'{self.name} has no field "{name}"', hint=f"it has {known}")


@dataclass(frozen=True, slots=True)
class Plan:
    """A selection that was held against a table: all its fields are there.

    Attributes:
        table: the table.
        columns: to be written.
        where: each condition with its column.
        since, until: the bounds.
        time: what they look at; None where there are none.
        order: total.
    """

    table: Table
    columns: tuple[Column, ...]
    where: tuple[tuple[Column, Condition], ...]
    since: datetime | None
    until: datetime | None
    time: Column | None
    order: tuple[Order, ...]


def plan(table: Table, selection: BulkSelection) -> Plan:
    """Holds a selection against a table.

    Raises:
        InvalidArgument: a field isn't there, a column is named twice, or the time isn't one.
    """
    columns = tuple(table.column(name) for name in selection.columns) or table.columns
    _refuse_twice(column.name for column in columns)
    if not columns:
        raise InvalidArgument(f"{table.name} has no columns", hint="name another table")
    time = None
    if selection.since is not None or selection.until is not None:
        time = table.column(selection.time_field)
        if time.kind not in {Kind.MOMENT, Kind.LOCAL_MOMENT} and time.type != "date":
            raise InvalidArgument(
                f'"{time.name}" of {table.name} is no time but {time.type}', hint="name the time with --time-field"
            )
    return Plan(
        table,
        columns,
        tuple(_checked(table.column(condition.field), condition) for condition in selection.where),
        selection.since,
        selection.until,
        time,
        _total(table, [_order(table, text) for text in selection.order_by or table.order]),
    )


def _checked(column: Column, condition: Condition) -> tuple[Column, Condition]:
    """A condition with its column, its value in the one spelling that every database takes."""
    value = condition.value
    if value is None:
        return column, condition
    if column.kind in {Kind.JSON, Kind.ARRAY}:
        raise InvalidArgument(
            f'"{column.name}" is {column.type}, which is not compared', hint=f"write {column.name}=null or !=null"
        )
    if column.kind is Kind.BOOLEAN:
        value = value.lower()
        if value not in {"true", "false"}:
            raise InvalidArgument(f'"{column.name}" is true or false, not {value[:40]!r}', hint="correct the condition")
    elif column.kind in {Kind.MOMENT, Kind.LOCAL_MOMENT}:
        value = times.render(times.parse_bound(value)).removesuffix("" if column.kind is Kind.MOMENT else "Z")
    return column, Condition(condition.field, condition.operator, value)


def _order(table: Table, text: str) -> Order:
    """`field`, `field asc` or `field desc`."""
    if any(column.name == text for column in table.columns):
        return Order(table.column(text))
    found = _DIRECTION.fullmatch(text)
    if found is None:
        return Order(table.column(text))
    return Order(table.column(found[1]), found[2].lower() == "desc")


def _total(table: Table, wanted: Sequence[Order]) -> tuple[Order, ...]:
    """The order with the key behind it, each column once."""
    _refuse_twice(one.column.name for one in wanted)
    named = {one.column.name for one in wanted}
    return (*wanted, *(Order(column) for column in table.key if column.name not in named))


def _refuse_twice(names: Iterable[str]) -> None:
    seen = set()
    for name in names:
        if name in seen:
            raise InvalidArgument(f'the field "{name}" is named twice', hint="name it once")
        seen.add(name)
