-- A global position W such that everything at or below it is committed now or never will be. Not in Message DB.
--
-- timeout: how long to wait for other writers; NULL takes the setting message_store.watermark_timeout, else 30 s.
-- Read the messages up to W in a LATER statement: its snapshot is taken after the wait.
--
-- Why it holds: a writer locks the table (ROW EXCLUSIVE) before it draws a global position and keeps the lock until
-- it ends. So whoever drew a position at or below the sequence's value read here either holds that lock when pg_locks
-- is read afterwards, or has ended. Once all who held it then have ended, no position up to W is undecided. Writers
-- that come later draw positions above W. Nobody is blocked. pg_locks may show a lock twice, but never misses one.
-- The locks looked for are those of writers and of imports; readers, vacuum and index builds take others.
CREATE OR REPLACE FUNCTION :"ns".watermark("timeout" interval DEFAULT NULL)
RETURNS bigint
LANGUAGE plpgsql VOLATILE
SET search_path = :"ns", pg_temp
AS $$
DECLARE
  _timeout interval := COALESCE(
    watermark.timeout, NULLIF(current_setting('message_store.watermark_timeout', true), '')::interval, '30 s');
  _deadline timestamptz := clock_timestamp() + _timeout;
  _watermark bigint;
  _greatest bigint;
  _last bigint;
  _writers text[];
  _pids integer[];
  _pause double precision := 0.001;
BEGIN
  IF pg_is_in_recovery() THEN
    -- the primary's writers are not to be seen in a standby's pg_locks
    RAISE EXCEPTION 'A standby can''t tell which writers are still busy'
      USING ERRCODE = 'object_not_in_prerequisite_state', CONSTRAINT = 'standby',
        HINT = 'Ask the primary; category and stream reads work here.';
  END IF;
  IF current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted') THEN
    -- its snapshot is older than the wait, so what was waited for would be missing
    RAISE EXCEPTION 'A gap-safe read needs READ COMMITTED; this transaction is %',
      upper(current_setting('transaction_isolation'))
      USING ERRCODE = 'invalid_transaction_state', CONSTRAINT = 'isolation',
        HINT = 'Call it outside of a transaction, or in one with ISOLATION LEVEL READ COMMITTED.';
  END IF;

  BEGIN
    SELECT CASE WHEN is_called THEN last_value ELSE last_value - 1 END INTO _watermark
    FROM messages_global_position_seq;
    RAISE no_data_found;
  EXCEPTION WHEN no_data_found THEN
    -- Undone on purpose: the lock on the sequence goes, the value stays. Whoever drops the schema locks the table first,
    -- so that he counts as a writer, and then the sequence: he would wait for us while we wait for him.
  END;

  SELECT array_agg(virtualtransaction), array_agg(pid) INTO _writers, _pids
  FROM pg_locks
  WHERE locktype = 'relation' AND relation = 'messages'::regclass
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND mode IN ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
    AND granted AND pid IS DISTINCT FROM pg_backend_pid();

  WHILE _writers IS NOT NULL LOOP
    IF clock_timestamp() >= _deadline THEN
      RAISE EXCEPTION 'Other writers are still busy after % (pid: %)', _timeout, array_to_string(_pids, ', ', 'prepared')
        USING ERRCODE = 'lock_not_available', CONSTRAINT = 'watermark_timeout',
          HINT = 'End their transactions, or wait longer: SET message_store.watermark_timeout = ''5 min''.';
    END IF;
    PERFORM pg_sleep(_pause);
    _pause := least(_pause * 2, 0.05);
    -- Only the writers seen at first count, or a busy table would never let go. One that is prepared meanwhile has no
    -- session any more, but keeps the name that it had there.
    SELECT array_agg(virtualtransaction), array_agg(pid) INTO _writers, _pids
    FROM pg_locks
    WHERE locktype = 'relation' AND relation = 'messages'::regclass
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND mode IN ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
      AND granted AND pid IS DISTINCT FROM pg_backend_pid()
      AND virtualtransaction = ANY (_writers);
  END LOOP;

  -- the table before the sequence, so that whoever writes in between can't be above it
  SELECT max(messages.global_position) INTO _greatest FROM messages;
  SELECT CASE WHEN is_called THEN last_value ELSE last_value - 1 END INTO _last
  FROM messages_global_position_seq;
  IF _greatest > _last THEN
    -- rows that came by another way than these functions, logical replication for one, which leaves sequences behind
    RAISE EXCEPTION 'The sequence of global positions is at %, behind the greatest in the table, %', _last, _greatest
      USING ERRCODE = 'object_not_in_prerequisite_state', CONSTRAINT = 'sequence_behind',
        HINT = format('As the owner: SELECT setval(''%s'', %s)', 'messages_global_position_seq'::regclass, _greatest);
  END IF;

  -- A position that was drawn and rolled back may be drawn again: a crash of the server takes the sequence back to what
  -- the last commit needed. So the end is that of the last message, or of the writers waited for.
  RETURN least(_watermark, COALESCE(_greatest, 0));
END;
$$;
