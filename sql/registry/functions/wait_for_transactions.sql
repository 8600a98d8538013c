-- Waits until every transaction has ended that is running in this database now. Later ones are not waited for.
-- Run it as a statement of its own; the caller's transaction is not waited for.
CREATE OR REPLACE FUNCTION evtool.wait_for_transactions("timeout" interval DEFAULT '60 s')
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  _deadline timestamptz := clock_timestamp() + wait_for_transactions.timeout;
  _running text[];
  _had_running boolean;
  _prepared text[];
  _pids integer[];
  _pause double precision := 0.001;
BEGIN
  SELECT array_agg(l.virtualtransaction), array_agg(l.pid) INTO _running, _pids
  FROM pg_locks AS l JOIN pg_stat_activity AS a ON a.pid = l.pid
  WHERE l.locktype = 'virtualxid' AND l.granted AND l.virtualxid = l.virtualtransaction
    AND a.datname = current_database() AND a.backend_type IS DISTINCT FROM 'autovacuum worker'
    AND l.pid <> pg_backend_pid();
  SELECT array_agg(gid) INTO _prepared FROM pg_prepared_xacts WHERE database = current_database();

  WHILE _running IS NOT NULL OR _prepared IS NOT NULL LOOP
    IF clock_timestamp() >= _deadline THEN
      RAISE EXCEPTION 'Transactions that were running before are still busy after % (pid: %; prepared: %)',
        wait_for_transactions.timeout, COALESCE(array_to_string(_pids, ', '), '-'),
        COALESCE(array_to_string(_prepared, ', '), '-')
        USING ERRCODE = 'lock_not_available', CONSTRAINT = 'busy_transactions',
          HINT = 'End them, or wait longer, and run it again: what was done is kept.';
    END IF;
    PERFORM pg_sleep(_pause);
    _pause := least(_pause * 2, 0.05);
    _had_running := _running IS NOT NULL;
    SELECT array_agg(virtualtransaction), array_agg(pid) INTO _running, _pids
    FROM pg_locks
    WHERE locktype = 'virtualxid' AND granted AND virtualtransaction = ANY (_running);
    -- afterwards: one that was prepared meanwhile has no session any more, and may be any of those
    SELECT array_agg(gid) INTO _prepared
    FROM pg_prepared_xacts
    WHERE database = current_database() AND (gid = ANY (_prepared) OR (_had_running AND prepared > now()));
  END LOOP;
END;
$$;
