"""Who of a range of records gets a key, as SQL: where that must be known before they are inserted.

Every name goes through `sql.Identifier` and every text through `sql.Literal`.
"""

from __future__ import annotations

from collections.abc import Sequence

from psycopg import sql

_Sql = sql.Composable
_COMMA = sql.SQL(", ")
_AND = sql.SQL(" AND ")

# A record is refused for the sake of one that is sure to be accepted: the first of all that have one of its keys. With
# those that are refused gone others may be the first of theirs.
_FIRST_COME = """LOOP
        EXIT WHEN _evtool_low = _evtool_high;
        UPDATE {verdicts} AS v SET _evtool_errors = lost.numbers
        FROM (
          SELECT _evtool_at, array_remove(ARRAY[{lost}]::integer[], NULL) AS numbers
          FROM (
            SELECT _evtool_at, _evtool_n, {holders}
            FROM (
              SELECT *, ctid AS _evtool_at, {is_first} AS _evtool_holds
              FROM {verdicts} WHERE _evtool_errors = ARRAY[]::integer[]
            ) AS accepted
          ) AS held
          OFFSET 0
        ) AS lost
        WHERE v.ctid = lost._evtool_at AND cardinality(lost.numbers) > 0;
        EXIT WHEN NOT FOUND;
      END LOOP;
      SELECT count(*) INTO _evtool_accepted FROM {verdicts} WHERE _evtool_errors = ARRAY[]::integer[];
      IF _evtool_low < _evtool_high AND _evtool_accepted < _evtool_high - _evtool_low + 1 THEN
        -- who is refused is told of all its keys that others have that came before
        UPDATE {verdicts} AS v SET _evtool_errors = v._evtool_errors || lost.numbers
        FROM (
          SELECT _evtool_at, array_remove(ARRAY[{also_lost}]::integer[], NULL) AS numbers
          FROM (
            SELECT _evtool_at, _evtool_n, _evtool_errors, {holders}
            FROM (
              SELECT *, ctid AS _evtool_at, _evtool_errors = ARRAY[]::integer[] AS _evtool_holds
              FROM {verdicts} WHERE _evtool_errors <> ARRAY[0]
            ) AS judged
          ) AS held
          WHERE _evtool_errors <> ARRAY[]::integer[]
          OFFSET 0
        ) AS lost
        WHERE v.ctid = lost._evtool_at AND cardinality(lost.numbers) > 0;
      END IF;
      """


def first_come(verdicts: _Sql, keys: Sequence[tuple[int, Sequence[_Sql]]]) -> _Sql:
    """Statements that refuse the records of a range that have a key of an earlier accepted one.

    Args:
        verdicts: the table of the range.
        keys: the number of each key's error, and its columns as they are compared. A key with a null is no key.
    """
    if not keys:
        return sql.SQL("")
    known = [_AND.join(sql.SQL("{} IS NOT NULL").format(column) for column in columns) for _, columns in keys]
    alike = [_COMMA.join(columns) for _, columns in keys]
    holders = [sql.Identifier(f"_evtool_holder{place}") for place in range(len(keys))]
    numbers = [sql.Literal(number) for number, _ in keys]
    return sql.SQL(_FIRST_COME).format(
        verdicts=verdicts,
        is_first=_AND.join(
            sql.SQL("(NOT ({}) OR row_number() OVER (PARTITION BY {} ORDER BY _evtool_n) = 1)").format(*pair)
            for pair in zip(known, alike, strict=True)
        ),
        holders=_COMMA.join(
            sql.SQL(
                "CASE WHEN {} THEN min(_evtool_n) FILTER (WHERE _evtool_holds) OVER (PARTITION BY {}) END AS {}"
            ).format(*one)
            for one in zip(known, alike, holders, strict=True)
        ),
        lost=_COMMA.join(
            sql.SQL("CASE WHEN {} < _evtool_n THEN {} END").format(*pair) for pair in zip(holders, numbers, strict=True)
        ),
        also_lost=_COMMA.join(
            sql.SQL("CASE WHEN {holder} < _evtool_n AND NOT {number} = ANY (_evtool_errors) THEN {number} END").format(
                holder=holder, number=number
            )
            for holder, number in zip(holders, numbers, strict=True)
        ),
    )
