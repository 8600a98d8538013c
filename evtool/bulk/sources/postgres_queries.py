"""The queries on a table of PostgreSQL, whose values are the file's: COPY makes the CSV, and to_json the JSON."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg import sql

from evtool import times
from evtool.bulk.kinds import Kind
from evtool.bulk.selecting import Column, Condition, Order, Plan

# to_json makes a string of these as they are spelt; of what is composite or has a cast to JSON it makes something else.
_TEXTS = {"text", "character varying", "character", "name", "uuid", "date", "bytea"}
# Digits, and never NaN. to_json makes a string of an oid.
_WHOLE = {"smallint", "integer", "bigint", "oid"}

# What ISO 8601 can say; the rest is written as PostgreSQL does.
_MOMENT = """
    CASE WHEN {field} >= '0001-01-01 00:00:00+00' AND {field} < '10000-01-01 00:00:00+00'
         THEN to_char({field}, {pattern}) ELSE {field}::text END
"""
_PATTERN = 'YYYY-MM-DD"T"HH24:MI:SS.US'


class Found:
    """A table's place, and what its columns are to SQL.

    Attributes:
        oid, schema, table: as the catalog has them.
        is_plain: whether it is a table, perhaps with heirs, and neither partitioned nor a view.
        name: to be shown.
        identifier: to be put into a query.
        base: the type below the domains of each column.
        sortable: whether its type has an order.
        collates: whether its order is another one than that of its bytes.
        compared: whether it has a collation.
    """

    def __init__(self, oid: int, schema: str, table: str, is_plain: bool) -> None:
        self.oid = oid
        self.is_plain = is_plain
        self.schema, self.table = schema, table
        self.name = f"{schema}.{table}"
        self.identifier = sql.Identifier(schema, table)
        self.base: dict[str, str] = {}
        self.sortable: dict[str, bool] = {}
        self.collates: dict[str, bool] = {}
        self.compared: dict[str, bool] = {}


def csv(found: Found, plan: Plan) -> sql.Composed:
    """A COPY of the plan's records. Its rows are those of CSV but for the carriage returns."""
    query = _made(found, plan, [_csv(column) for column in plan.columns])
    return sql.SQL("COPY ({}) TO STDOUT (FORMAT csv, ENCODING 'UTF8')").format(query)


def json(found: Found, plan: Plan) -> sql.Composed:
    """The plan's records, of which each value is JSON, never null, but for the form of times; it is text or json."""
    return _made(found, plan, [_json(found, column) for column in plan.columns])


def plain(found: Found, plan: Plan) -> sql.Composed:
    """The plan's records in its order, their columns as they are."""
    return sql.SQL("SELECT {} FROM {}{} ORDER BY {}").format(
        sql.SQL(", ").join(sql.Identifier(column.name) for column in plan.columns),
        found.identifier,
        where(found, plan),
        sql.SQL(", ").join(_term(found, one) for one in plan.order),
    )


def _made(found: Found, plan: Plan, expressions: Sequence[sql.Composable]) -> sql.Composed:
    """Something of each of the plan's records, made when they are in order: else it is sorted with them."""
    return sql.SQL("SELECT {} FROM ({}) AS record").format(sql.SQL(", ").join(expressions), plain(found, plan))


def where(found: Found, plan: Plan) -> sql.Composable:
    """The plan's conditions; nothing where it has none."""
    conditions = [met(found, column, condition) for column, condition in plan.where]
    if plan.time is not None:
        field = sql.Identifier(plan.time.name)
        # a time without a zone is UTC's
        bound = "{} {} {}::timestamptz" if plan.time.kind is Kind.MOMENT else "{} {} {}::timestamptz AT TIME ZONE 'UTC'"
        for operator, moment in ((">=", plan.since), ("<", plan.until)):
            if moment is not None:
                literal = sql.Literal(times.render(moment))
                conditions.append(sql.SQL(bound).format(field, sql.SQL(operator), literal))
    return sql.SQL(" WHERE ") + sql.SQL(" AND ").join(conditions) if conditions else sql.SQL("")


def met(found: Found, column: Column, condition: Condition) -> sql.Composed:
    """A condition in SQL. COPY takes no parameters, so the value is a literal, which takes the column's type."""
    field = sql.Identifier(column.name)
    if condition.value is None:
        return sql.SQL("{} IS NULL" if condition.operator == "=" else "{} IS NOT NULL").format(field)
    value: sql.Composable = sql.Literal(condition.value)
    if found.compared[column.name]:
        value = sql.SQL('{} COLLATE "C"').format(value)
    return sql.SQL("{} {} {}").format(field, sql.SQL(condition.operator), value)


def _term(found: Found, order: Order) -> sql.Composed:
    """A term of ORDER BY. Text is in the order of its bytes, whatever the server's locale, and as SQLite has it."""
    column = order.column
    term: sql.Composable = sql.Identifier(column.name)
    if not found.sortable[column.name]:
        term = sql.SQL('{}::text COLLATE "C"').format(term)
    elif found.collates[column.name]:
        term = sql.SQL('{} COLLATE "C"').format(term)
    direction = "DESC" if order.descending else "ASC"
    if column.nullable:
        direction += " NULLS LAST" if order.descending else " NULLS FIRST"
    return sql.SQL("{} {}").format(term, sql.SQL(direction))


def _json(found: Found, column: Column) -> sql.Composed:
    """A column as JSON, or as what is nearly that."""
    made = sql.SQL("to_json({field})")
    base = found.base[column.name]
    if column.kind in {Kind.MOMENT, Kind.LOCAL_MOMENT, Kind.JSON, Kind.BOOLEAN} or base in _WHOLE:
        made = sql.SQL("{field}" if base == "json" else "{field}::text")
    elif column.kind is Kind.TEXT and base not in _TEXTS:
        # a composite value all of whose fields are null is not null, and IS NULL says it is
        made = sql.SQL("CASE WHEN {field} IS DISTINCT FROM NULL THEN to_json(format('%s', {field})) END")
    # also where the column is said to have no nulls: PostgreSQL 18 may have been told not to look
    return sql.SQL("coalesce({}, 'null')").format(made.format(field=sql.Identifier(column.name)))


def _csv(column: Column) -> sql.Composable:
    """A column as COPY is to make a field of CSV of it."""
    field = sql.Identifier(column.name)
    if column.kind in {Kind.MOMENT, Kind.LOCAL_MOMENT}:
        pattern = _PATTERN + ('"Z"' if column.kind is Kind.MOMENT else "")
        return sql.SQL(_MOMENT).format(field=field, pattern=sql.Literal(pattern))
    if column.kind is Kind.BOOLEAN:
        return sql.SQL("{}::text").format(field)
    return sql.SQL("to_json({})").format(field) if column.kind is Kind.ARRAY else field
