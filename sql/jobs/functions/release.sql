-- Gives a job back that the caller holds, at once and without counting as an attempt; whether it was still the caller's.
-- Asked by a worker that stops, or that has lost its connection meanwhile: then the lease may have run out, and nobody
-- else has taken the job as long as the token is the same.
CREATE OR REPLACE FUNCTION evtool_jobs.release(job bigint, token bigint)
RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = evtool_jobs, pg_temp
AS $$
#variable_conflict use_column
BEGIN
  UPDATE jobs
  SET state = CASE WHEN cancel_requested THEN 'cancelled' ELSE 'pending' END,
    finished_at = CASE WHEN cancel_requested THEN clock_timestamp() END,
    lease_until = NULL, worker = NULL, attempts = GREATEST(attempts - 1, 0),
    -- the holder's own transaction may hang on the server still
    token = jobs.token + 1
  WHERE id = release.job AND jobs.token = release.token AND state = 'processing';
  IF FOUND THEN
    PERFORM wake();
  END IF;
  RETURN FOUND;
END;
$$;
