"""How what is accepted goes into its table, as SQL: which records go together, and who gets a key.

Every name goes through `sql.Identifier` and every text through `sql.Literal`.
"""

from __future__ import annotations

from collections.abc import Iterator

from psycopg import sql

from evtool.bulk.first_come import first_come
from evtool.bulk.judging import Judgement
from evtool.bulk.resource import Reference, Unique

_Sql = sql.Composable
_COMMA = sql.SQL(", ")

_INSERT = """INSERT INTO {target} ({names}) {overriding}
        SELECT {names} FROM {verdicts} WHERE _evtool_errors = ARRAY[]::integer[]{which} ORDER BY _evtool_n"""
# Of a range that holds more than one record its halves are tried.
_PART = """IF _evtool_low < _evtool_high AND EXISTS (SELECT FROM {}) THEN
        RAISE EXCEPTION USING ERRCODE = 'EVT01';
      END IF;
      """


class Placement(Judgement):
    """The statements that put a range of records into a table: the heart of `sql/bulk/templates/load_batch.sql`."""

    @property
    def staging(self) -> str:
        """The table that the texts are copied to."""
        return f"evtool_staging_{self._suffix}"

    @property
    def _verdicts(self) -> str:
        return f"evtool_verdicts_{self._suffix}"

    @property
    def file_keys(self) -> list[list[int]]:
        """The places in a record of the columns of each key that comes from the file."""
        keys = [unique.columns for unique in self._uniques()] if self.can_trust else []
        return [[self.given.index(name) for name in key] for key in keys if set(key) <= set(self.given)]

    def _insert(self) -> _Sql:
        """Inserts what is accepted; of several records with the same key the first.

        Where ON CONFLICT is to keep someone out, the server looks for each key twice. So records whose keys are new to
        the file are inserted as if nobody else had them, as long as nobody had.

        A record without a primary key, which the table has not or always makes itself, has nothing by which to tell
        afterwards whether it went in: there, and where ON CONFLICT can't be used, keys are looked at before.
        """
        names = {
            "target": self._self,
            "names": _COMMA.join(map(sql.Identifier, self._numbers)),
            "overriding": self._overriding(),
            "verdicts": temp(self._verdicts),
        }

        def inserting(which: str) -> _Sql:
            return sql.SQL(_INSERT).format(**names, which=sql.SQL(which))

        if not self.can_trust:
            keys = [(self._number_of(unique), self._key_of(unique.columns)) for unique in self._uniques()]
            return sql.SQL("{}{};\n      GET DIAGNOSTICS _evtool_new = ROW_COUNT;\n      _evtool_changed := 0;").format(
                first_come(temp(self._verdicts), keys), inserting("")
            )
        return sql.SQL(
            """IF _evtool_trusting THEN
        -- raises where a key is there after all
        {fresh};
        GET DIAGNOSTICS _evtool_fresh = ROW_COUNT;
      END IF;
      WITH done AS (
        {others}
        ON CONFLICT DO NOTHING
        RETURNING {key}
      )
      SELECT n, CASE WHEN n + _evtool_fresh = _evtool_accepted THEN ARRAY[]::integer[] ELSE ARRAY(
        SELECT _evtool_n FROM {verdicts}
        WHERE _evtool_errors = ARRAY[]::integer[] AND NOT (_evtool_trusting AND _evtool_is_fresh)
          AND ({own_key}) NOT IN (SELECT {own_key} FROM done)
      ) END
      INTO _evtool_new, _evtool_kept_out
      FROM (SELECT count(*) AS n FROM done) AS counted;
      _evtool_new := _evtool_new + _evtool_fresh;
      _evtool_changed := 0;
      IF _evtool_new < _evtool_high - _evtool_low + 1 THEN
        -- who was kept out by a key, or is refused anyway, is told which of its keys others have that came before
        IF _evtool_new < _evtool_accepted AND EXISTS (
          SELECT FROM {verdicts}
          WHERE _evtool_errors = ARRAY[]::integer[] AND NOT (_evtool_trusting AND _evtool_is_fresh)
          GROUP BY {own_key} HAVING count(*) > 1
        ) THEN
          -- Of several with a key, it may be any that went in. What this range has inserted bears the number of the
          -- same subtransaction as its verdicts.
          _evtool_kept_out := _evtool_kept_out || ARRAY(
            SELECT _evtool_n
            FROM (
              SELECT *, xmin AS _evtool_by, count(*) OVER (PARTITION BY {own_key}) AS _evtool_together,
                row_number() OVER (PARTITION BY {keys} ORDER BY _evtool_n) AS _evtool_turn
              FROM {verdicts}
              WHERE _evtool_errors = ARRAY[]::integer[] AND NOT (_evtool_trusting AND _evtool_is_fresh)
            ) AS v
            WHERE _evtool_together > 1 AND (_evtool_turn > 1
              OR (SELECT true FROM {target} AS t WHERE {same} AND t.xmin = v._evtool_by LIMIT 1) IS NULL)
          );
        END IF;
        UPDATE {verdicts} AS v SET _evtool_errors = v._evtool_errors || array_remove(ARRAY[{taken}]::integer[], NULL)
        WHERE v._evtool_errors <> ARRAY[0]
          AND (v._evtool_errors <> ARRAY[]::integer[] OR v._evtool_n IN (SELECT unnest(_evtool_kept_out)));
        SELECT count(*) INTO _evtool_accepted FROM {verdicts} WHERE _evtool_errors = ARRAY[]::integer[];
        IF _evtool_low = _evtool_high AND _evtool_new < _evtool_accepted THEN
          -- what keeps it out is no key that is known here: this raises, and says what
          {all};
          GET DIAGNOSTICS _evtool_new = ROW_COUNT;
        END IF;
      END IF;"""
        ).format(
            fresh=inserting(" AND _evtool_is_fresh"),
            others=inserting(" AND NOT (_evtool_trusting AND _evtool_is_fresh)"),
            all=inserting(""),
            target=self._self,
            verdicts=temp(self._verdicts),
            key=_COMMA.join(map(sql.Identifier, self._resource.key)),
            own_key=_COMMA.join(self._key_of(self._resource.key)),
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
            verdicts=temp(self._verdicts),
            held=self._same(unique.columns, "t", "v"),
            holder=self._same_keys("w", "t"),
            number=sql.Literal(self._number_of(unique)),
        )

    def _replace(self) -> _Sql:
        """Upserts: a record whose key comes again in the same range waits for the next round.

        Records of JSON that leave out different keys are told apart besides: what is left out stays as it is.
        """
        names = _COMMA.join(map(sql.Identifier, self._numbers))
        kept = {*self.key, *self._resource.key}
        changed = [name for name in self.given if name in self._numbers and name not in kept] or list(self.key)
        # a partition of a table gives no system columns back: there they are looked at afterwards
        returned = sql.SQL("true" if self._target.partitioned else "xmax = 0")
        return sql.SQL(
            """_evtool_new := 0;
      _evtool_changed := 0;
      FOR _evtool_round, _evtool_without IN
        SELECT DISTINCT row_number() OVER (PARTITION BY {key} ORDER BY _evtool_n), {without}
        FROM {verdicts} WHERE _evtool_errors = ARRAY[]::integer[] ORDER BY 1
      LOOP
        WITH done AS (
          INSERT INTO {target} AS t ({names}) {overriding}
          SELECT {names}
          FROM (
            SELECT {names}, _evtool_n, row_number() OVER (PARTITION BY {key} ORDER BY _evtool_n) AS _evtool_turn,
              {without} AS _evtool_absent
            FROM {verdicts} WHERE _evtool_errors = ARRAY[]::integer[]
          ) AS accepted
          WHERE _evtool_turn = _evtool_round AND _evtool_absent IS NOT DISTINCT FROM _evtool_without
          ORDER BY _evtool_n
          ON CONFLICT ({arbiter}) DO UPDATE SET {changes}
          RETURNING {returned} AS is_new
        )
        SELECT _evtool_new + count(*) FILTER (WHERE is_new), _evtool_changed + count(*) FILTER (WHERE NOT is_new)
        INTO _evtool_new, _evtool_changed
        FROM done;{counted}
      END LOOP;"""
        ).format(
            key=_COMMA.join(self._key_of(self.key)),
            arbiter=_COMMA.join(self._indexed(self.key)),
            without=self._without(),
            verdicts=temp(self._verdicts),
            target=self._self,
            names=names,
            overriding=self._overriding(),
            changes=_COMMA.join(map(self._change, changed)),
            returned=returned,
            counted=self._counted() if self._target.partitioned else sql.SQL(""),
        )

    def _change(self, name: str) -> _Sql:
        here: _Sql = sql.Identifier("excluded", name)
        there = sql.Identifier("t", name)
        if self._typed and name not in self.key:
            here = sql.SQL("CASE WHEN {} = ANY (_evtool_without) THEN {} ELSE {} END").format(
                sql.Literal(name), there, here
            )
        return sql.SQL("{} = {}").format(sql.Identifier(name), here)

    def _counted(self) -> _Sql:
        """How many records of this round replaced another: those bear the lock that their update took."""
        return sql.SQL(
            """
        SELECT _evtool_new - count(*), _evtool_changed + count(*) INTO _evtool_new, _evtool_changed
        FROM (
          SELECT *, xmin AS _evtool_by, row_number() OVER (PARTITION BY {key} ORDER BY _evtool_n) AS _evtool_turn,
            {without} AS _evtool_absent
          FROM {verdicts} WHERE _evtool_errors = ARRAY[]::integer[]
        ) AS v JOIN {target} AS t ON {same}
        WHERE _evtool_turn = _evtool_round AND _evtool_absent IS NOT DISTINCT FROM _evtool_without
          AND t.xmin = _evtool_by AND t.xmax <> 0;"""
        ).format(
            key=_COMMA.join(self._key_of(self.key)),
            without=self._without(),
            verdicts=temp(self._verdicts),
            target=self._self,
            same=self._same(self.key, "t", "v"),
        )

    def _without(self) -> _Sql:
        """The columns that a record of the verdicts leaves out."""
        if not self._typed:
            return sql.SQL("NULL::text[]")
        return sql.SQL("(SELECT s._evtool_absent FROM {} AS s WHERE s.ctid = _evtool_row)").format(temp(self.staging))

    def _indexes(self) -> Iterator[sql.Composed]:
        """The indexes of the verdicts that `_parted` looks into: without them large batches take their size squared."""
        keys: list[list[_Sql]] = [
            list(map(sql.Identifier, reference.targets))
            for reference in self._resource.references
            if self._is_inner(reference)
        ]
        if self._upsert:
            keys += [
                self._key_of(columns)
                for columns in dict.fromkeys([self.key, *(one.columns for one in self._uniques())])
            ]
        for key in keys:
            columns = _COMMA.join(sql.SQL("({})").format(one) for one in key)
            yield sql.SQL("CREATE INDEX ON {} ({})").format(temp(self._verdicts), columns)

    def _is_inner(self, reference: Reference) -> bool:
        """Whether both sides of a reference may be in one file."""
        return self._is_own(reference) and {*reference.columns, *reference.targets} <= {*self._numbers}

    def _parted(self) -> Iterator[_Sql]:
        """What must not be in one range, so that each record is judged by what came before it, and by nothing else."""
        accepted = sql.SQL("{}._evtool_errors = ARRAY[]::integer[]").format
        names = {"verdicts": temp(self._verdicts), "target": self._self}
        for reference in self._resource.references:
            if self._is_inner(reference):
                # a foreign key would take a parent that comes later, if only the batch is large enough
                yield sql.SQL(_PART).format(
                    sql.SQL(
                        "{verdicts} AS v JOIN {verdicts} AS w ON {later} AND w._evtool_n > v._evtool_n WHERE {accepted}"
                        " AND (SELECT true FROM {target} AS t WHERE {there} LIMIT 1) IS NULL"
                        " AND NOT EXISTS (SELECT FROM {verdicts} AS u"
                        " WHERE {earlier} AND u._evtool_n <= v._evtool_n AND {also})"
                    ).format(
                        **names,
                        accepted=accepted(sql.Identifier("v")),
                        also=accepted(sql.Identifier("u")),
                        **{
                            word: self._is_child(reference, "v", parent)
                            for word, parent in (("later", "w"), ("there", "t"), ("earlier", "u"))
                        },
                    )
                )
        if not self._upsert:
            return
        for unique in self._uniques():
            if unique.columns != self.key:
                # one of two that want the same may find it free by then, or have it replaced in another round
                yield sql.SQL(_PART).format(
                    sql.SQL(
                        "{verdicts} AS v WHERE {accepted} AND {known} GROUP BY {wanted}"
                        " HAVING count(DISTINCT ROW({key})) > 1"
                    ).format(
                        **names,
                        accepted=accepted(sql.Identifier("v")),
                        known=sql.SQL(" AND ").join(
                            sql.SQL("{} IS NOT NULL").format(sql.Identifier(name)) for name in unique.columns
                        ),
                        wanted=_COMMA.join(self._key_of(unique.columns)),
                        key=_COMMA.join(self._key_of(self.key)),
                    )
                )
        if generated := self._generated():
            # a key that a default gave replaces nothing
            yield sql.SQL(_PART).format(
                sql.SQL(
                    "{verdicts} AS v JOIN {staging} AS s ON s.ctid = v._evtool_row"
                    " JOIN {verdicts} AS w ON {same} AND w._evtool_n < v._evtool_n AND {also}"
                    " WHERE {accepted} AND '' IN ({texts})"
                ).format(
                    **names,
                    staging=temp(self.staging),
                    same=self._same(self.key, "w", "v"),
                    accepted=accepted(sql.Identifier("v")),
                    also=accepted(sql.Identifier("w")),
                    texts=_COMMA.join(
                        sql.SQL("COALESCE({}, '')").format(sql.Identifier("s", column.name)) for column in generated
                    ),
                )
            )
        for unique in self._uniques():
            if unique.columns == self.key:
                continue
            # who is refused anyway is told of a key, too, that a record has which comes first
            yield sql.SQL(_PART).format(
                sql.SQL(
                    "{verdicts} AS v JOIN {verdicts} AS w ON {same} AND w._evtool_n < v._evtool_n AND {accepted}"
                    " WHERE v._evtool_errors <> ARRAY[0] AND v._evtool_errors <> ARRAY[]::integer[]"
                    " AND NOT {number} = ANY (v._evtool_errors) AND ({here}) IS DISTINCT FROM ({there})"
                ).format(
                    **names,
                    same=self._same(unique.columns, "v", "w"),
                    accepted=accepted(sql.Identifier("w")),
                    number=sql.Literal(self._number_of(unique)),
                    here=_COMMA.join(self._key_of(self.key, "v")),
                    there=_COMMA.join(self._key_of(self.key, "w")),
                )
            )
            if not set(unique.columns) <= {*self.key, *self._resource.key}:
                # who holds a key may have it replaced by a record that comes first
                yield sql.SQL(_PART).format(
                    sql.SQL(
                        "{verdicts} AS v JOIN {target} AS t ON {held} JOIN {verdicts} AS w"
                        " ON {replaced} AND w._evtool_n < v._evtool_n AND {accepted}"
                        " WHERE {number} = ANY (v._evtool_errors)"
                    ).format(
                        **names,
                        held=self._same(unique.columns, "t", "v"),
                        replaced=self._same(self.key, "w", "t"),
                        accepted=accepted(sql.Identifier("w")),
                        number=sql.Literal(self._number_of(unique)),
                    )
                )

    def _is_child(self, reference: Reference, child: str, parent: str) -> _Sql:
        pairs = zip(reference.columns, reference.targets, strict=True)
        return sql.SQL(" AND ").join(
            sql.SQL("{} = {}").format(sql.Identifier(parent, target), sql.Identifier(child, name))
            for name, target in pairs
        )

    def _overriding(self) -> _Sql:
        always = any(column.always for column in self._columns)
        return sql.SQL("OVERRIDING SYSTEM VALUE" if always else "")


def temp(name: str) -> sql.Identifier:
    """The name of something that lasts as long as the session."""
    return sql.Identifier("pg_temp", name)
