"""The SQL of an import into one table: the holes of `sql/bulk/templates/load_batch.sql`, filled for a resource.

Every name goes through `sql.Identifier` and every text through `sql.Literal`. What a resource says in SQL itself, its
rules and defaults, stands as it is: a resource is trusted like a script.
"""

from __future__ import annotations

from collections.abc import Iterator

from psycopg import sql

from evtool import sqltext
from evtool.bulk.installing import SCHEMA
from evtool.bulk.judging import Judgement
from evtool.bulk.resource import Reference, Unique

NOT_OF_A_RECORD = ("08", "25", "28", "40", "53", "55", "57", "58", "XX", "42501", "42P01")
"""SQLSTATEs, and classes of them, for which no record is to blame: the batch fails, or the import."""

_Sql = sql.Composable
_COMMA = sql.SQL(", ")


class Statements(Judgement):
    """The statements that import records of a file into a table."""

    @property
    def staging(self) -> str:
        """The table that the texts are copied to."""
        return f"evtool_staging_{self._suffix}"

    @property
    def rejects(self) -> str:
        """The table that holds what the last batch refused."""
        return f"evtool_rejects_{self._suffix}"

    @property
    def target(self) -> str:
        """The table, as a text."""
        return self._target.name

    @property
    def table(self) -> _Sql:
        """The table."""
        return self._self

    @property
    def temporary(self) -> tuple[str, ...]:
        """The tables that a batch fills."""
        return (self.staging, self._verdicts, self.rejects)

    @property
    def _verdicts(self) -> str:
        return f"evtool_verdicts_{self._suffix}"

    @property
    def _messages(self) -> str:
        return f"evtool_messages_{self._suffix}"

    @property
    def copy(self) -> sql.Composed:
        """The COPY into the staging table."""
        columns = ["_evtool_n", "_evtool_line", "_evtool_raw", "_evtool_fault", "_evtool_note"]
        if self._typed:
            columns += ["_evtool_mistyped", "_evtool_absent"]
        return sql.SQL("COPY {} ({}) FROM STDIN (ENCODING 'UTF8')").format(
            _temp(self.staging), _COMMA.join(map(sql.Identifier, [*columns, *self.given]))
        )

    @property
    def load(self) -> sql.Composed:
        """The call that gives the staged records their verdicts and inserts the good ones."""
        return sql.SQL("SELECT * FROM {}()").format(self._function)

    @property
    def _function(self) -> _Sql:
        return _temp(f"evtool_load_{self._suffix}")

    def setup(self) -> Iterator[sql.Composed]:
        """What makes the temporary tables and functions, to be run once a session."""
        texts = _COMMA.join(
            sql.SQL("{} text").format(sql.Identifier(name)) for name in dict.fromkeys((*self.given, *self._numbers))
        )
        yield sql.SQL(
            "CREATE TEMP TABLE {} (_evtool_n integer, _evtool_line bigint, _evtool_raw text, _evtool_fault text,"
            " _evtool_note text, _evtool_mistyped text[], _evtool_absent text[], {}) ON COMMIT PRESERVE ROWS"
        ).format(sql.Identifier(self.staging), texts)
        values = _COMMA.join(
            sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(self.casts[name].type)) for name in self._numbers
        )
        yield sql.SQL(
            "CREATE TEMP TABLE {} (_evtool_n integer, _evtool_row tid, _evtool_errors integer[], {})"
            " ON COMMIT PRESERVE ROWS"
        ).format(sql.Identifier(self._verdicts), values)
        yield sql.SQL("CREATE TEMP TABLE {} (line bigint, errors json, raw text) ON COMMIT PRESERVE ROWS").format(
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
        yield sql.SQL(
            "CREATE FUNCTION {}(OUT _evtool_sum_total bigint, OUT _evtool_sum_accepted bigint,"
            " OUT _evtool_sum_inserted bigint, OUT _evtool_sum_updated bigint,"
            " OUT _evtool_sum_rejected bigint, OUT _evtool_sum_errors bigint) LANGUAGE plpgsql"
            " SET search_path = pg_catalog, pg_temp"
            # The plans are made when the tables may still be empty, and kept while they grow: every look into a table
            # must go by its index from the start. Compiling such plans would take longer than running them.
            " SET enable_seqscan = off SET jit = off SET timezone = 'UTC' AS {}"
        ).format(self._function, sql.Literal(self._body()))

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
                lock_parents=sql.SQL("").join(map(self._lock, self._resource.references)),
                load=self._replace() if self._upsert else self._insert(),
                raw=self._raw(),
            )
            .as_string()
        )

    def _lock(self, reference: Reference) -> _Sql:
        """Locks the parents of a range, in the order of their keys, so that two imports can't wait for each other."""
        if self._is_own(reference) or reference not in self._target.lockable:
            return sql.SQL("")
        if not all(name in self._numbers for name in reference.columns):
            return sql.SQL("")
        names = [sql.Identifier(f"k{number}") for number in range(len(reference.columns))]
        casts = [
            sql.SQL("{} AS {}").format(self.casts[column].of(sql.Identifier("s", column)), name)
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

    def _insert(self) -> _Sql:
        """Inserts what is accepted; of several records with the same key the first.

        A table without a primary key has nothing by which to tell afterwards what went in: there, and
        where ON CONFLICT can't be used, the server is left to raise.
        """
        plain = sql.SQL(
            """INSERT INTO {target} ({names}) {overriding}
      SELECT {names} FROM {verdicts} WHERE _evtool_errors = ARRAY[]::integer[] ORDER BY _evtool_n"""
        ).format(
            target=self._self,
            names=_COMMA.join(map(sql.Identifier, self._numbers)),
            overriding=self._overriding(),
            verdicts=_temp(self._verdicts),
        )
        known = self._resource.key and all(name in self._numbers for name in self._resource.key)
        if not known or self._target.deferrable:
            return sql.SQL("{};\n      GET DIAGNOSTICS _evtool_new = ROW_COUNT;\n      _evtool_changed := 0;").format(
                plain
            )
        return sql.SQL(
            """{plain}
      ON CONFLICT DO NOTHING;
      GET DIAGNOSTICS _evtool_new = ROW_COUNT;
      _evtool_changed := 0;
      IF _evtool_new < _evtool_high - _evtool_low + 1 THEN
        -- Who was kept out by a key, or is refused anyway, is told which of its keys others have that came before.
        -- What this range has inserted bears the number of the same subtransaction as its verdicts.
        _evtool_repeats := ARRAY[]::integer[];
        IF _evtool_new < _evtool_accepted AND EXISTS (
          SELECT FROM {verdicts} WHERE _evtool_errors = ARRAY[]::integer[] GROUP BY {key} HAVING count(*) > 1
        ) THEN
          _evtool_repeats := ARRAY(
            SELECT _evtool_n
            FROM (
              SELECT _evtool_n, row_number() OVER (PARTITION BY {keys} ORDER BY _evtool_n) AS place
              FROM {verdicts} WHERE _evtool_errors = ARRAY[]::integer[]
            ) AS placed
            WHERE place > 1
          );
        END IF;
        UPDATE {verdicts} AS v SET _evtool_errors = v._evtool_errors || array_remove(ARRAY[{taken}]::integer[], NULL)
        WHERE v._evtool_errors <> ARRAY[0] AND (v._evtool_errors <> ARRAY[]::integer[]
          OR (_evtool_new < _evtool_accepted AND (v._evtool_n = ANY (_evtool_repeats)
          OR (SELECT true FROM {target} AS t WHERE {same} AND t.xmin = v.xmin LIMIT 1) IS NULL)));
        SELECT count(*) INTO _evtool_accepted FROM {verdicts} WHERE _evtool_errors = ARRAY[]::integer[];
        IF _evtool_low = _evtool_high AND _evtool_new < _evtool_accepted THEN
          -- what keeps it out is no key that is known here: this raises, and says what
          {plain};
          GET DIAGNOSTICS _evtool_new = ROW_COUNT;
        END IF;
      END IF;"""
        ).format(
            plain=plain,
            target=self._self,
            verdicts=_temp(self._verdicts),
            key=_COMMA.join(self._key_of(self._resource.key)),
            keys=_COMMA.join(key for unique in self._uniques() for key in self._key_of(unique.columns)),
            taken=_COMMA.join(map(self._is_taken, self._uniques())),
            same=self._same_keys("t", "v"),
        )

    def _is_taken(self, unique: Unique) -> _Sql:
        """The number of a key's error, where the table has the key from before, or from an earlier record."""
        return sql.SQL(
            """
          CASE WHEN (SELECT true FROM {target} AS t WHERE {held} AND (t.xmin <> v.xmin OR EXISTS (
            SELECT FROM {verdicts} AS w
            WHERE {holder} AND w._evtool_n < v._evtool_n AND w._evtool_errors = ARRAY[]::integer[])) LIMIT 1)
          THEN {number} END"""
        ).format(
            target=self._self,
            verdicts=_temp(self._verdicts),
            held=self._same(unique.columns, "t", "v"),
            holder=self._same_keys("w", "t"),
            number=sql.Literal(self._number_of(unique)),
        )

    def _replace(self) -> _Sql:
        """Upserts: a record whose key comes again in the same range waits for the next round.

        Where records of one range have the same primary key and not the same natural one, an update would pass over
        that: they are parted, so that each is judged by what came before it.
        """
        names = _COMMA.join(map(sql.Identifier, self._numbers))
        kept = {*self.key, *self._resource.key}
        changed = [name for name in self.given if name in self._numbers and name not in kept] or list(self.key)
        return sql.SQL(
            """{parted}_evtool_new := 0;
      _evtool_changed := 0;
      FOR _evtool_round IN
        SELECT DISTINCT row_number() OVER (PARTITION BY {key} ORDER BY _evtool_n)
        FROM {verdicts} WHERE _evtool_errors = ARRAY[]::integer[] ORDER BY 1
      LOOP
        WITH done AS (
          INSERT INTO {target} ({names}) {overriding}
          SELECT {names}
          FROM (
            SELECT {names}, _evtool_n, row_number() OVER (PARTITION BY {key} ORDER BY _evtool_n) AS _evtool_turn
            FROM {verdicts} WHERE _evtool_errors = ARRAY[]::integer[]
          ) AS accepted
          WHERE _evtool_turn = _evtool_round
          ORDER BY _evtool_n
          ON CONFLICT ({key}) DO UPDATE SET {changes}
          RETURNING xmax = 0 AS is_new
        )
        SELECT _evtool_new + count(*) FILTER (WHERE is_new), _evtool_changed + count(*) FILTER (WHERE NOT is_new)
        INTO _evtool_new, _evtool_changed
        FROM done;
      END LOOP;"""
        ).format(
            parted=self._parted(),
            key=_COMMA.join(self._key_of(self.key)),
            verdicts=_temp(self._verdicts),
            target=self._self,
            names=names,
            overriding=self._overriding(),
            changes=_COMMA.join(
                sql.SQL("{} = excluded.{}").format(sql.Identifier(name), sql.Identifier(name)) for name in changed
            ),
        )

    def _parted(self) -> _Sql:
        if self._resource.key == self.key or not set(self._resource.key) <= set(self.given):
            return sql.SQL("")
        return sql.SQL(
            """IF _evtool_low < _evtool_high AND EXISTS (
        SELECT FROM {verdicts} WHERE _evtool_errors = ARRAY[]::integer[]
        GROUP BY {primary} HAVING count(DISTINCT ROW({key})) > 1
      ) THEN
        RAISE unique_violation;
      END IF;
      """
        ).format(
            verdicts=_temp(self._verdicts),
            primary=_COMMA.join(self._key_of(self._resource.key)),
            key=_COMMA.join(self._key_of(self.key)),
        )

    def _overriding(self) -> _Sql:
        always = any(column.always for column in self._columns)
        return sql.SQL("OVERRIDING SYSTEM VALUE" if always else "")

    def _raw(self) -> _Sql:
        if self._typed:
            return sql.SQL("''")
        fields = _COMMA.join(sql.Identifier("s", name) for name in self.given)
        return sql.SQL("array_to_string(ARRAY[{}], ',', '')").format(fields)


def _temp(name: str) -> sql.Identifier:
    return sql.Identifier("pg_temp", name)
