"""The queries on a table of SQLite: names in quotes, values bound, put together from parts that are either."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from evtool import times
from evtool.bulk.kinds import Kind
from evtool.bulk.selecting import Column, Condition, Order, Plan
from evtool.bulk.sources import values
from evtool.bulk.writers import Format


def select(columns: Sequence[str], plan: Plan, *also: str) -> tuple[str, list[Any]]:
    """A query for the plan's records, and its parameters.

    Args:
        columns: expressions.
        plan: whose table and conditions.
        also: further conditions; their parameters come after the plan's.
    """
    conditions, parameters = _where(plan)
    parts = ["SELECT", ", ".join(columns), "FROM", _quoted(plan.table.name)]
    if conditions or also:
        parts += ["WHERE", " AND ".join([*conditions, *also])]
    return " ".join(parts), parameters


def is_null(table: str, column: Column) -> str:
    """Finds a record in which a column holds null."""
    return " ".join(["SELECT 1 FROM", _quoted(table), "WHERE", _quoted(column.name), "IS NULL LIMIT 1"])


def is_blob(table: str, column: Column) -> str:
    """Finds a record in which a column holds a BLOB: they are greater than all else, as an index knows."""
    return " ".join(["SELECT 1 FROM", _quoted(table), "WHERE", _compared(column), ">= x'' LIMIT 1"])


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _compared(column: Column) -> str:
    """A column as it is compared and ordered: text by its bytes, whatever collation it was given."""
    name = _quoted(column.name)
    return name if column.kind in {Kind.NUMBER, Kind.BOOLEAN} else f"{name} COLLATE BINARY"


def selected(column: Column, format: Format) -> str:
    """A column as it is read for a format: a BLOB as the text that PostgreSQL has for it."""
    name = _quoted(column.name)
    # A BLOB is greater than all else. The plus keeps SQLite from looking for a number in each text.
    blob = rf"WHEN +{name} >= x'' THEN '\x' || lower(hex({name}))"
    if column.kind not in {Kind.JSON, Kind.ARRAY}:
        return f"CASE {blob} ELSE {name} END"
    # an empty text is what programs store for no JSON
    if not format.is_json:
        return f"CASE WHEN {name} = '' THEN NULL {blob} ELSE {name} END"
    valid = f"typeof({name}) <> 'blob' AND json_valid({name})"
    return f"CASE WHEN {name} IS NULL OR {name} = '' THEN NULL WHEN {valid} THEN {name} ELSE x'00' END"


def page(plan: Plan, format: Format, last: tuple[Any, ...] | None) -> tuple[str, list[Any]]:
    """The query of a page, and its parameters.

    Args:
        plan: what is wanted.
        format: which decides how JSON is looked at.
        last: what the order's columns have in the last record of the page before; None for the first.
    """
    terms = [f"{_compared(one.column)} {'DESC' if one.descending else 'ASC'}" for one in plan.order]
    expressions = [selected(column, format) for column in plan.columns]
    more = {place: _quoted(one.column.name) for one, place in zip(plan.order, places(plan), strict=True)}
    expressions += [name for place, name in more.items() if place >= len(plan.columns)]
    behind, bounds = _behind(plan.order, last) if last is not None else ("", [])
    query, parameters = select(expressions, plan, *([behind] if behind else []))
    return f"{query} ORDER BY {', '.join(terms)}", parameters + bounds


def places(plan: Plan) -> list[int]:
    """Where a row of a page has the values of the order's columns: among the plan's, or behind them."""
    found = []
    behind = len(plan.columns)
    for one in plan.order:
        if one.column in plan.columns and one.column.kind not in {Kind.JSON, Kind.ARRAY}:
            found.append(plan.columns.index(one.column))
        else:
            found.append(behind)
            behind += 1
    return found


def _behind(order: Sequence[Order], last: Sequence[Any]) -> tuple[str, list[Any]]:
    """What holds for the records behind one. No value is null.

    It begins with a bound of the first column alone, for that is what SQLite finds in an index.
    """
    condition = ""
    parameters: list[Any] = []
    for one, value in zip(reversed(order), reversed(last), strict=True):
        field, sign = _compared(one.column), "<" if one.descending else ">"
        if condition:
            condition = f"({field} {sign} ? OR ({field} = ? AND {condition}))"
            parameters = [value, value, *parameters]
        else:
            condition, parameters = f"{field} {sign} ?", [value]
    if len(order) > 1:
        field, sign = _compared(order[0].column), "<=" if order[0].descending else ">="
        condition, parameters = f"{field} {sign} ? AND {condition}", [last[0], *parameters]
    return condition, parameters


def _where(plan: Plan) -> tuple[list[str], list[Any]]:
    conditions: list[str] = []
    parameters: list[Any] = []
    for column, condition in plan.where:
        text, bound = met(column, condition)
        conditions.append(text)
        parameters += bound
    if plan.time is not None:
        field = _compared(plan.time)
        exact = f"evtool_moment({_quoted(plan.time.name)})"
        # Texts of moments differ in spelling and zone, so their order is exact only to a day or so; that much an index
        # finds, and of those the function looks at the moment.
        for operator, moment, days in ((">=", plan.since, -1), ("<", plan.until, 2)):
            if moment is not None:
                conditions.append(f"{field} {operator} ? AND {exact} {operator} ?")
                parameters += [_day(moment, days), times.render(moment)]
    return conditions, parameters


def _day(moment: datetime, days: int) -> str:
    try:
        return (moment + timedelta(days=days)).strftime("%Y-%m-%d").rjust(10, "0")
    except OverflowError:
        # the first or the last day that there is
        return "" if days < 0 else "9999-99"


def met(column: Column, condition: Condition) -> tuple[str, list[Any]]:
    """A condition in SQL, and its parameters."""
    name, operator = _quoted(column.name), condition.operator
    if condition.value is None:
        # an empty text is no JSON
        absent = f"nullif({name}, '')" if column.kind in {Kind.JSON, Kind.ARRAY} else name
        return f"{absent} IS NULL" if operator == "=" else f"{absent} IS NOT NULL", []
    if column.kind in {Kind.MOMENT, Kind.LOCAL_MOMENT}:
        return f"evtool_moment({name}) {operator} ?", [times.render(times.parse_bound(condition.value))]
    return f"{_compared(column)} {operator} ?", [values.parse(column, condition.value)]
