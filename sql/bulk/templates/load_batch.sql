-- The body of pg_temp.evtool_load_…, which evtool/bulk/statements.py makes for a resource: what is in braces is filled
-- in.
--
-- It gives every record of the staging table a verdict, inserts those that are accepted, and leaves the others in the
-- table of rejects. It works on ranges of records: at first all of them. When the server refuses to insert a range,
-- only that range is undone, and its halves are tried, the earlier one first, until the record that is to blame is
-- alone. What a record is refused for hangs on the table and on the records before it, so the outcome is the same for
-- any size of batch.
--
-- Its variables have a prefix, because the columns of any table are in scope beside them.
DECLARE
  _evtool_lows integer[];
  _evtool_highs integer[];
  _evtool_low integer;
  _evtool_high integer;
  _evtool_retried integer[] := ARRAY[]::integer[];
  _evtool_accepted bigint;
  _evtool_fresh bigint;
  _evtool_new bigint;
  _evtool_changed bigint;
  _evtool_round bigint;
  _evtool_kept_out integer[];
  _evtool_without text[];
  _evtool_state text;
  _evtool_constraint text;
  _evtool_column text;
  _evtool_message text;
BEGIN
  SELECT count(*) INTO _evtool_sum_total FROM pg_temp.{staging};
  _evtool_sum_inserted := 0;
  _evtool_sum_updated := 0;
  _evtool_lows := ARRAY[1];
  _evtool_highs := ARRAY[_evtool_sum_total];
  -- a deferred constraint would speak at the commit, when no record can be blamed any more
  SET CONSTRAINTS ALL IMMEDIATE;
  WHILE cardinality(_evtool_lows) > 0 LOOP
    _evtool_low := _evtool_lows[cardinality(_evtool_lows)];
    _evtool_high := _evtool_highs[cardinality(_evtool_highs)];
    _evtool_lows := trim_array(_evtool_lows, 1);
    _evtool_highs := trim_array(_evtool_highs, 1);
    BEGIN
      -- whoever deletes a parent now waits until this batch is in, or was before us and the parent is not found
      {lock_parents}
      INSERT INTO pg_temp.{verdicts} (_evtool_n, _evtool_row, _evtool_is_fresh, _evtool_errors, {columns})
      SELECT _evtool_n, _evtool_row, _evtool_is_fresh, CASE WHEN _evtool_fault IS NOT NULL THEN ARRAY[0]
          WHEN {faulty} THEN array_remove(ARRAY[{checks}]::integer[], NULL)
          ELSE ARRAY[]::integer[] END, {columns}
      FROM (
        SELECT _evtool_n, _evtool_row, _evtool_fault, _evtool_mistyped, _evtool_plain, _evtool_is_fresh, {texts},
          {values}
        FROM (
          SELECT s._evtool_n, s.ctid AS _evtool_row, s._evtool_fault, s._evtool_mistyped, s._evtool_absent,
            s._evtool_plain, s._evtool_is_fresh,
            {casts}
          FROM pg_temp.{staging} AS s
          WHERE s._evtool_n BETWEEN _evtool_low AND _evtool_high
          OFFSET 0 -- each cast is done once, however often its value is looked at
        ) AS cast_
        OFFSET 0
      ) AS record;
      SELECT count(*) INTO _evtool_accepted FROM pg_temp.{verdicts} WHERE _evtool_errors = ARRAY[]::integer[];
      _evtool_fresh := 0;
      {part}{load}
      IF _evtool_new + _evtool_changed <> _evtool_accepted THEN
        RAISE EXCEPTION 'a trigger or a rule of the table kept the record out'
          USING ERRCODE = 'triggered_action_exception';
      END IF;
      INSERT INTO pg_temp.{rejects} (line, errors, raw)
      SELECT s._evtool_line, (
          SELECT json_agg(json_build_object('field', k.field, 'value', left(to_jsonb(s.*) ->> k.field, 1000),
            'code', COALESCE(k.code, s._evtool_fault), 'message', COALESCE(k.message, s._evtool_note)) ORDER BY e.place)
          FROM unnest(v._evtool_errors) WITH ORDINALITY AS e(number, place)
          JOIN pg_temp.{messages} AS k USING (number)
        ), COALESCE(s._evtool_raw, {raw})
      FROM pg_temp.{verdicts} AS v JOIN pg_temp.{staging} AS s ON s.ctid = v._evtool_row
      WHERE v._evtool_errors <> ARRAY[]::integer[]
      ORDER BY v._evtool_n;
      IF cardinality(_evtool_lows) > 0 THEN
        DELETE FROM pg_temp.{verdicts};
      END IF;
      _evtool_sum_inserted := _evtool_sum_inserted + _evtool_new;
      _evtool_sum_updated := _evtool_sum_updated + _evtool_changed;
    EXCEPTION
      WHEN OTHERS THEN
        GET STACKED DIAGNOSTICS _evtool_state = RETURNED_SQLSTATE, _evtool_constraint = CONSTRAINT_NAME,
          _evtool_column = COLUMN_NAME, _evtool_message = MESSAGE_TEXT;
        IF _evtool_sum_total = 0 OR left(_evtool_state, 2) = ANY ({not_of_a_record})
          OR (_evtool_state = ANY ({not_of_a_record})
          AND NOT (_evtool_state = '42501' AND row_security_active({target}::regclass))) THEN
          -- a policy of the table speaks of the record, and the right to insert was looked at before
          RAISE;
        ELSIF _evtool_trusting THEN
          -- perhaps a record has a key that is new to the file and not to the table
          _evtool_trusting := false;
          _evtool_lows := _evtool_lows || _evtool_low;
          _evtool_highs := _evtool_highs || _evtool_high;
        ELSIF left(_evtool_state, 2) = '23' AND _evtool_low < _evtool_high
          AND NOT _evtool_low = ANY (_evtool_retried) THEN
          -- perhaps another session was quicker: then the verdicts, taken anew, see what it did
          _evtool_retried := _evtool_retried || _evtool_low;
          _evtool_lows := _evtool_lows || _evtool_low;
          _evtool_highs := _evtool_highs || _evtool_high;
        ELSIF _evtool_low < _evtool_high THEN
          _evtool_lows := _evtool_lows || ARRAY[(_evtool_low + _evtool_high) / 2 + 1, _evtool_low];
          _evtool_highs := _evtool_highs || ARRAY[_evtool_high, (_evtool_low + _evtool_high) / 2];
        ELSE
          INSERT INTO pg_temp.{rejects} (line, errors, raw)
          SELECT s._evtool_line, json_build_array(json_build_object('field', e.field,
            'value', left(to_jsonb(s.*) ->> e.field, 1000), 'code', e.code,
            'message', COALESCE((
              SELECT format('%s: there is no such record in %s%s', e.field, p.relname,
                CASE WHEN p.oid = {target}::regclass THEN ', nor earlier in the file' END)
              FROM pg_constraint AS k JOIN pg_class AS p ON p.oid = k.confrelid
              WHERE _evtool_state = '23503' AND k.conrelid = {target}::regclass AND k.conname = _evtool_constraint
            ), format('PostgreSQL refused the record (%s): %s', _evtool_state, _evtool_message)))),
            COALESCE(s._evtool_raw, {raw})
          FROM pg_temp.{staging} AS s,
            {ns}.explain_refusal({target}::regclass, _evtool_state, _evtool_constraint, _evtool_column) AS e
          WHERE s._evtool_n = _evtool_low;
        END IF;
    END;
  END LOOP;
  SELECT count(*), COALESCE(sum(json_array_length(r.errors)), 0) INTO _evtool_sum_rejected, _evtool_sum_errors
  FROM pg_temp.{rejects} AS r;
  _evtool_sum_accepted := _evtool_sum_total - _evtool_sum_rejected;
END
