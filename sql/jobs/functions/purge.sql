-- Forgets jobs that have been over for a while, with their batches, refused records and idempotency keys, and returns
-- how many.
--
-- states: which of them; NULL is every state that a job stays in.
CREATE OR REPLACE FUNCTION evtool_jobs.purge(older_than interval DEFAULT '30 days', states text[] DEFAULT NULL)
RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = evtool_jobs, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _count bigint;
BEGIN
  DELETE FROM jobs
  WHERE finished_at <= clock_timestamp() - purge.older_than
    AND (purge.states IS NULL OR state = ANY (purge.states));
  GET DIAGNOSTICS _count = ROW_COUNT;
  RETURN _count;
END;
$$;
