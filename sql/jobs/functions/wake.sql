-- Wakes the workers that LISTEN on evtool_jobs, when the caller's transaction commits.
-- The payload is empty: whoever wakes asks the queue, so a lost or doubled notification costs nothing.
CREATE OR REPLACE FUNCTION evtool_jobs.wake()
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = evtool_jobs, pg_temp
AS $$
BEGIN
  PERFORM pg_notify('evtool_jobs', '');
END;
$$;
