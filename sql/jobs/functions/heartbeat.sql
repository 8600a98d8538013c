-- Prolongs a lease, and says how the job stands: 'held', 'cancel' where somebody wants it to stop, or 'lost' where it is
-- another's by now, or the lease had run out before.
CREATE OR REPLACE FUNCTION evtool_jobs.heartbeat(job bigint, token bigint, lease interval DEFAULT '30s')
RETURNS text
LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path = evtool_jobs, pg_temp
AS $$
  WITH beat AS (
    UPDATE jobs
    SET lease_until = clock_timestamp() + heartbeat.lease
    WHERE id = heartbeat.job AND jobs.token = heartbeat.token AND state = 'processing'
      AND lease_until >= clock_timestamp()
    RETURNING cancel_requested
  )
  SELECT COALESCE((SELECT CASE WHEN cancel_requested THEN 'cancel' ELSE 'held' END FROM beat), 'lost');
$$;
