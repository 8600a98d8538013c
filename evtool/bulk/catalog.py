"""A resource for a table that nobody described: what its records must be stands in the catalog of the database."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.rows import namedtuple_row

from evtool.bulk.resource import Column, Reference, Resource, Rule, Unique
from evtool.errors import InvalidResource
from evtool.stores.postgres.connection import Connection

DEFAULT_SCHEMA = "public"
"""Where a table is looked for whose schema isn't said."""

_TABLE = """
    SELECT c.oid, n.nspname AS schema, c.relname AS name, c.relkind AS kind
    FROM (SELECT parse_ident(%(table)s) AS parts) AS given,
      pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relname = parts[array_upper(parts, 1)]
      AND n.nspname = CASE cardinality(parts) WHEN 1 THEN %(schema)s WHEN 2 THEN parts[1] END
      AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
"""
# A domain is looked at as what it is made of in the end: what else it asks for, the server says when a record is
# inserted.
BASE = """
    LATERAL (
      WITH RECURSIVE steps AS (
        SELECT a.atttypid AS type, a.atttypmod AS modifier, 0 AS depth
        UNION ALL
        SELECT t.typbasetype, t.typtypmod, depth + 1
        FROM steps JOIN pg_type t ON t.oid = steps.type WHERE t.typbasetype <> 0
      )
      SELECT type, modifier FROM steps ORDER BY depth DESC LIMIT 1
    ) AS base
"""
"""SQL that has the type and its modifier of a column `a` of pg_attribute; of a domain those it is made of."""

ELEMENT = """
    LATERAL (
      WITH RECURSIVE steps AS (
        SELECT t.oid AS type, 0 AS depth FROM pg_type t WHERE t.typarray = base.type
        UNION ALL
        SELECT t.typbasetype, depth + 1 FROM steps JOIN pg_type t ON t.oid = steps.type WHERE t.typbasetype <> 0
      )
      SELECT COALESCE((SELECT type FROM steps ORDER BY depth DESC LIMIT 1), base.type) AS type
    ) AS element
"""
"""SQL that has the type of the elements of an array `base`, likewise; else that of `base`."""

_COLUMNS = f"""
    SELECT a.attname AS name, format_type(base.type, NULL) AS type,
      a.attnotnull AS not_null, a.attgenerated <> '' AS computed, a.attidentity AS identity,
      CASE WHEN base.type IN ('varchar'::regtype, 'bpchar'::regtype)
        THEN NULLIF(base.modifier, -1) - 4
      END AS length,
      CASE WHEN base.type = 'numeric'::regtype AND base.modifier >= 4 THEN (base.modifier - 4) >> 16 END AS precision,
      -- eleven bits of it, and it may be negative
      CASE WHEN base.type = 'numeric'::regtype AND base.modifier >= 4
        THEN (((base.modifier - 4) & 2047) # 1024) - 1024
      END AS scale,
      CASE WHEN a.attgenerated = '' THEN pg_get_expr(d.adbin, d.adrelid) END AS default_,
      pg_get_serial_sequence(quote_ident(n.nspname) || '.' || quote_ident(c.relname), a.attname) AS sequence
    FROM pg_attribute a
    JOIN pg_class c ON c.oid = a.attrelid
    JOIN pg_namespace n ON n.oid = c.relnamespace
    CROSS JOIN {BASE}
    LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE a.attrelid = %(oid)s AND a.attnum > 0 AND NOT a.attisdropped
    ORDER BY a.attnum
"""
FOLDED = """
    (
      SELECT a.attname::text FROM pg_attribute a
      WHERE a.attrelid = i.indrelid AND a.attnum > 0 AND NOT a.attisdropped
        AND a.atttypid IN ('text'::regtype, 'varchar'::regtype, 'bpchar'::regtype)
        AND pg_get_indexdef(i.indexrelid, k.n, true)
          IN (format('lower(%%I)', a.attname), format('lower(%%I::text)', a.attname))
    )
"""
"""SQL that has the column whose lower() is at the place `k.n` of an index `i` of pg_index; null where there is none."""

# Only what a comparison of columns, or of their lower(), can foresee. Another index over expressions, or over a part of
# the table, has its say when a record is inserted.
_UNIQUE = f"""
    SELECT i.indisprimary AS is_key, found.columns, found.folded
    FROM pg_index i CROSS JOIN LATERAL (
      SELECT array_agg(COALESCE(a.attname::text, lowered.name) ORDER BY k.n) AS columns,
        array_agg(lowered.name) FILTER (WHERE lowered.name IS NOT NULL) AS folded,
        bool_and(COALESCE(a.attname::text, lowered.name) IS NOT NULL) AS is_known
      FROM generate_series(1, i.indnkeyatts) AS k (n)
      LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[k.n - 1]
      -- another collation has other capitals
      LEFT JOIN LATERAL (SELECT {FOLDED} AS name WHERE i.indkey[k.n - 1] = 0
        AND i.indcollation[k.n - 1] = 'pg_catalog.default'::regcollation) AS lowered ON true
    ) AS found
    WHERE i.indrelid = %(oid)s AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND found.is_known
      AND NOT i.indnullsnotdistinct
    ORDER BY i.indisprimary DESC, i.indexrelid
"""
_CONSTRAINTS = """
    SELECT c.conname AS name, c.contype AS type, pg_get_expr(c.conbin, c.conrelid) AS expression,
      ARRAY(
        SELECT a.attname::text
        FROM unnest(c.conkey) WITH ORDINALITY AS k(number, place)
        JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.number
        ORDER BY k.place
      ) AS columns,
      n.nspname AS other_schema, o.relname AS other,
      ARRAY(
        SELECT a.attname::text
        FROM unnest(c.confkey) WITH ORDINALITY AS k(number, place)
        JOIN pg_attribute a ON a.attrelid = c.confrelid AND a.attnum = k.number
        ORDER BY k.place
      ) AS targets
    FROM pg_constraint c
    LEFT JOIN pg_class o ON o.oid = c.confrelid
    LEFT JOIN pg_namespace n ON n.oid = o.relnamespace
    WHERE c.conrelid = %(oid)s AND c.contype IN ('c', 'f') AND c.conparentid = 0
    ORDER BY c.contype, c.conname
"""


def from_catalog(connection: Connection, table: str, *, schema: str = DEFAULT_SCHEMA) -> Resource:
    """A table as a resource: its columns, NOT NULL, lengths, defaults, keys, CHECKs and foreign keys.

    Args:
        connection: to the database of the table.
        table: `name` or `schema.name`, quoted as in SQL where it needs to be.
        schema: of a table that is named without one.

    Raises:
        InvalidResource: there is no such table, or the name can't be one.
    """
    with connection.cursor(row_factory=namedtuple_row) as cursor:
        try:
            found: Any = cursor.execute(_TABLE, {"table": table, "schema": schema}).fetchone()
        except psycopg.errors.InvalidParameterValue as error:
            raise InvalidResource(
                f"{table} is no name of a table", hint='write schema.table, with "…" around names that SQL would quote'
            ) from error
        if found is None:
            raise InvalidResource(
                f"there is no table {table}", hint=f"write schema.table; without a schema it is looked for in {schema}"
            )
        here = {"oid": found.oid}
        rows: list[Any] = cursor.execute(_COLUMNS, here).fetchall()
        uniques: list[Any] = cursor.execute(_UNIQUE, here).fetchall()
        constraints: list[Any] = cursor.execute(_CONSTRAINTS, here).fetchall()
    # a column is compared in one way by all keys: of one that has both, indexes over lower() have their own say
    as_it_is = {name for row in uniques for name in row.columns if name not in (row.folded or ())}
    uniques = [row for row in uniques if not as_it_is & {*(row.folded or ())}]
    folded = {name for row in uniques for name in row.folded or ()}
    key = next((tuple(row.columns) for row in uniques if row.is_key), ())
    return Resource(
        name=found.name,
        table=found.name,
        schema=found.schema,
        columns=tuple(_column(row, fold_case=row.name in folded) for row in rows),
        key=key,
        order=key,
        rules=(
            *(_range(row) for row in rows if row.precision is not None and not row.computed),
            *(_rule(row) for row in constraints if row.type == "c"),
        ),
        references=tuple(_reference(row) for row in constraints if row.type == "f"),
        unique=tuple(Unique(tuple(row.columns)) for row in uniques if not row.is_key),
    )


def _column(row: Any, *, fold_case: bool) -> Column:
    default = row.default_
    if row.identity:
        # an identity has no default to be asked for; its sequence gives the next number all the same
        default = "nextval('{}'::regclass)".format(row.sequence.replace("'", "''"))
    return Column(
        name=row.name,
        type=row.type,
        not_null=row.not_null,
        default=default,
        length=row.length,
        fold_case=fold_case,
        computed=row.computed,
        always=row.identity == "a",
    )


def _rule(row: Any) -> Rule:
    alone = len(row.columns) == 1
    code = f"invalid_{row.columns[0]}" if alone else f"violates_{row.name}"
    return Rule(code=code, field=row.columns[0] if row.columns else "", expression=row.expression)


def _range(row: Any) -> Rule:
    """That a number fits into `numeric(precision, scale)`, which rounds it first. NaN does."""
    name = '"{}"'.format(row.name.replace('"', '""'))
    digits, scale = row.precision - row.scale, row.scale
    rounded = f"abs(round({name}, {scale}))"
    plain = rf"-?[0-9]{{1,{digits}}}(?:\.[0-9]{{1,{scale}}})?" if digits > 0 and scale > 0 else None
    return Rule(
        code=f"invalid_{row.name}",
        field=row.name,
        expression=f"{rounded} < '1e{digits}'::numeric OR {name} = 'NaN'::numeric",
        plain=plain,
        message=f"{row.name} must round to less than 1e{digits}, being numeric({row.precision},{row.scale})",
    )


def _reference(row: Any) -> Reference:
    return Reference(
        columns=tuple(row.columns),
        table=row.other,
        targets=tuple(row.targets),
        code=f"{'_'.join(row.columns)}_not_found",
        schema=row.other_schema,
    )
