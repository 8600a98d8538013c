-- Cancels a job, and returns its state: cancelled at once where nobody works on it; processing where its worker stops
-- after the batch that it is at, which stays; what it was where it is over.
CREATE OR REPLACE FUNCTION evtool_jobs.cancel(job bigint)
RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = evtool_jobs, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _state text;
BEGIN
  SELECT state INTO _state FROM jobs WHERE id = cancel.job FOR UPDATE;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'There is no job %', cancel.job USING CONSTRAINT = 'no_job';
  END IF;
  UPDATE jobs SET cancel_requested = true WHERE id = cancel.job AND state = 'processing';
  UPDATE jobs
  SET state = 'cancelled', finished_at = clock_timestamp(), cancel_requested = true
  WHERE id = cancel.job AND state = 'pending'
  RETURNING state INTO _state;
  PERFORM wake();
  RETURN COALESCE(_state, (SELECT state FROM jobs WHERE id = cancel.job));
END;
$$;
