"""Which records may go straight into their table, before those that the server has to look at first.

Such a record is known to be right, and nobody before it in the file has one of its keys. Then it is all the same
whether it goes in before its neighbours, if nothing in the table hangs on the order: see `LOOK`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from evtool.bulk.casting import Cast, ColumnType
from evtool.bulk.resource import Column, Resource

# Keys of which two texts are equal to PostgreSQL if they are equal, but for the case of ASCII's letters.
_KEYS = {"uuid", "bigint", "integer", "smallint", "text"}
# What COPY reads as it stands.
_TEXT = rb"[^\t\n\r\\]"

LOOK = """
    SELECT c.relkind = 'r' AND NOT c.relhasrules AND NOT c.relrowsecurity
      AND NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = c.oid AND NOT tgisinternal)
      AND NOT EXISTS (SELECT FROM pg_constraint WHERE conrelid = c.oid AND contype = 'f')
      AND NOT EXISTS (
        SELECT FROM pg_constraint k JOIN pg_depend d ON d.classid = 'pg_constraint'::regclass AND d.objid = k.oid
        WHERE k.conrelid = c.oid AND d.refclassid IN ('pg_proc'::regclass, 'pg_operator'::regclass))
      AND NOT EXISTS (
        SELECT FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND (a.attgenerated <> '' OR t.typtype = 'd'))
      AND NOT EXISTS (
        SELECT FROM pg_index i, unnest(i.indcollation::oid[]) AS k (number) JOIN pg_collation l ON l.oid = k.number
        WHERE i.indrelid = c.oid AND i.indisunique AND NOT l.collisdeterministic),
      (SELECT count(*) FROM pg_index i WHERE i.indrelid = c.oid AND (i.indisunique OR i.indisexclusion)),
      ARRAY(SELECT attname::text FROM pg_attribute
            WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped AND (atthasdef OR attidentity <> ''))
    FROM pg_class c WHERE c.oid = %s
"""
"""Whether a table has nothing to which the order of its records matters but unique indexes and defaults; how many of
those; and which columns have these."""


def pattern(
    resource: Resource,
    types: dict[str, ColumnType],
    casts: dict[str, Cast],
    given: Sequence[str],
    written: Sequence[str],
) -> bytes | None:
    r"""The regular expression of values, with tabs between and \N for null, that may go straight into the table.

    What the rules say of them is looked at besides: see `rules`.

    Args:
        resource: what a record must be.
        types: of its columns.
        casts: how they are read.
        given: the columns of the rows.
        written: those that are written; others have been computed, or get the default of the table.

    Returns:
        It; None where no row is known to be right, or where a key may be the same in two spellings.
    """
    keys = {name for unique in resource.keys for name in unique.columns}
    if set(given) != set(written) or not keys <= set(given) or any(column.always for column in resource.columns):
        return None
    if resource.references or any(types[name].name not in _KEYS for name in keys):
        return None
    if any(rule.plain is None or rule.field not in given for rule in resource.rules):
        return None
    found = [_of_column(resource.column(name), casts[name], is_key=name in keys) for name in given]
    return None if None in found else rb"\t".join(one for one in found if one is not None)


def rules(resource: Resource, given: Sequence[str]) -> list[tuple[int, re.Pattern[str]]]:
    """What must match a value as a whole, where the values are in a row; null matches nothing."""
    return [
        (given.index(rule.field), re.compile(rule.plain))
        for rule in resource.rules
        if rule.plain is not None and rule.field in given
    ]


def _of_column(column: Column, cast: Cast, *, is_key: bool) -> bytes | None:
    must_be = is_key or column.required or column.not_null or column.default is not None
    if cast.plainest is not None:
        return rb"(?:%b)" % cast.plainest if must_be else rb"(?:%b|\\N)" % cast.plainest
    if not cast.plain:
        return None
    # bytes, of which a character has one at least
    look = rb"" if column.length is None else rb"(?![^\t]{%d})" % (column.length + 1)
    if is_key and column.fold_case:
        # what has other letters in lower case, or in which alphabet, the server knows
        return look + rb"[!-\[\]-~][ -\[\]-~]*"
    if column.required:
        # what is a space in other scripts the server knows, too
        return look + rb"[!-\[\]-~]%b*" % _TEXT
    return look + (rb"%b+" % _TEXT if must_be else rb"(?:\\N|%b*)" % _TEXT)
