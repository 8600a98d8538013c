-- Locks a job's row for the caller's transaction, if the job is still the caller's; raises otherwise.
-- This is the fence: the lock is kept to the commit, so from here on nobody can claim the job in between, and somebody
-- who has, or a lease that ran out while the caller was stopped, makes the caller's transaction fail.
CREATE OR REPLACE FUNCTION evtool_jobs.held(job bigint, token bigint)
RETURNS evtool_jobs.jobs
LANGUAGE plpgsql VOLATILE
SET search_path = evtool_jobs, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _job jobs;
BEGIN
  SELECT * INTO _job
  FROM jobs
  WHERE id = held.job AND jobs.token = held.token AND state = 'processing'
  FOR UPDATE;
  -- the clock is looked at behind the wait for the lock
  IF NOT FOUND OR _job.lease_until < clock_timestamp() THEN
    RAISE EXCEPTION 'Job % is no longer this worker''s', held.job USING CONSTRAINT = 'job_lost';
  END IF;
  RETURN _job;
END;
$$;
