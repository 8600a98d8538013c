-- The body of pg_temp.evtool_load_…, which evtool/bulk/statements.py makes for a resource: what is in braces is filled
-- in.
--
-- It gives every record of the staging table a verdict, inserts those that are accepted, and leaves the others in the
-- table of rejects. It works on ranges of records: at first all of them. When the server refuses to insert a range,
-- only that range is undone, and its halves are tried, the earlier one first, until the record that is to blame is
-- alone. What a record is refused for hangs on the table and on the records before it, so the outcome is the same for
-- any size of batch.
DECLARE
  _lows integer[];
  _highs integer[];
  _low integer;
  _high integer;
  _retried integer[] := ARRAY[]::integer[];
  _accepted bigint;
  _new bigint;
  _changed bigint;
  _round bigint;
  _repeats integer[];
  _state text;
  _constraint text;
  _column text;
  _message text;
BEGIN
  SELECT count(*) INTO total FROM pg_temp.{staging};
  inserted := 0;
  updated := 0;
  _lows := ARRAY[1];
  _highs := ARRAY[total];
  -- a deferred constraint would speak at the commit, when no record can be blamed any more
  SET CONSTRAINTS ALL IMMEDIATE;
  WHILE cardinality(_lows) > 0 LOOP
    _low := _lows[cardinality(_lows)];
    _high := _highs[cardinality(_highs)];
    _lows := trim_array(_lows, 1);
    _highs := trim_array(_highs, 1);
    BEGIN
      -- whoever deletes a parent now waits until this batch is in, or was before us and the parent is not found
      {lock_parents}
      INSERT INTO pg_temp.{verdicts} (_evtool_n, _evtool_row, _evtool_errors, {columns})
      SELECT _evtool_n, _evtool_row, CASE WHEN _evtool_fault IS NOT NULL THEN ARRAY[0]
          ELSE array_remove(ARRAY[{checks}]::integer[], NULL) END, {columns}
      FROM (
        SELECT _evtool_n, _evtool_row, _evtool_fault, _evtool_mistyped, {texts}, {values}
        FROM (
          SELECT s._evtool_n, s.ctid AS _evtool_row, s._evtool_fault, s._evtool_mistyped, s._evtool_absent,
            {casts}
          FROM pg_temp.{staging} AS s
          WHERE s._evtool_n BETWEEN _low AND _high
          OFFSET 0 -- each cast is done once, however often its value is looked at
        ) AS cast_
        OFFSET 0
      ) AS record;
      SELECT count(*) INTO _accepted FROM pg_temp.{verdicts} WHERE _evtool_errors = ARRAY[]::integer[];
      {load}
      IF _new + _changed <> _accepted THEN
        RAISE EXCEPTION 'a trigger or a rule of the table kept the record out'
          USING ERRCODE = 'triggered_action_exception';
      END IF;
      INSERT INTO pg_temp.{rejects} (line, errors, raw)
      SELECT s._evtool_line, (
          SELECT json_agg(json_build_object('field', k.field, 'value', left(to_jsonb(s) ->> k.field, 1000),
            'code', COALESCE(k.code, s._evtool_fault), 'message', COALESCE(k.message, s._evtool_note)) ORDER BY e.place)
          FROM unnest(v._evtool_errors) WITH ORDINALITY AS e(number, place)
          JOIN pg_temp.{messages} AS k USING (number)
        ), COALESCE(s._evtool_raw, {raw})
      FROM pg_temp.{verdicts} AS v JOIN pg_temp.{staging} AS s ON s.ctid = v._evtool_row
      WHERE v._evtool_errors <> ARRAY[]::integer[]
      ORDER BY v._evtool_n;
      IF cardinality(_lows) > 0 THEN
        DELETE FROM pg_temp.{verdicts};
      END IF;
      inserted := inserted + _new;
      updated := updated + _changed;
    EXCEPTION
      WHEN OTHERS THEN
        GET STACKED DIAGNOSTICS _state = RETURNED_SQLSTATE, _constraint = CONSTRAINT_NAME, _column = COLUMN_NAME,
          _message = MESSAGE_TEXT;
        IF total = 0 OR left(_state, 2) = ANY ({not_of_a_record}) OR _state = ANY ({not_of_a_record}) THEN
          RAISE;
        ELSIF left(_state, 2) = '23' AND _low < _high AND NOT _low = ANY (_retried) THEN
          -- perhaps another session was quicker: then the verdicts, taken anew, see what it did
          _retried := _retried || _low;
          _lows := _lows || _low;
          _highs := _highs || _high;
        ELSIF _low < _high THEN
          _lows := _lows || ARRAY[(_low + _high) / 2 + 1, _low];
          _highs := _highs || ARRAY[_high, (_low + _high) / 2];
        ELSE
          INSERT INTO pg_temp.{rejects} (line, errors, raw)
          SELECT s._evtool_line, json_build_array(json_build_object('field', e.field,
            'value', left(to_jsonb(s) ->> e.field, 1000), 'code', e.code,
            'message', format('PostgreSQL refused the record (%s): %s', _state, _message))), COALESCE(s._evtool_raw, {raw})
          FROM pg_temp.{staging} AS s,
            {ns}.explain_refusal({target}::regclass, _state, _constraint, _column) AS e
          WHERE s._evtool_n = _low;
        END IF;
    END;
  END LOOP;
  SELECT count(*), COALESCE(sum(json_array_length(r.errors)), 0) INTO rejected, errors FROM pg_temp.{rejects} AS r;
  accepted := total - rejected;
END
