-- Gives up a job that the caller holds, and returns its state: pending where it is worth another attempt, after a pause
-- that doubles from attempt to attempt; else failed.
--
-- is_transient: whether the fault may pass: a lost connection, a server that is short of something.
CREATE OR REPLACE FUNCTION evtool_jobs.fail(
  job bigint,
  token bigint,
  error_code text,
  error_message text,
  error_hint text DEFAULT NULL,
  is_transient boolean DEFAULT false
)
RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = evtool_jobs, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _job jobs := held(job, token);
  _again boolean := fail.is_transient AND _job.attempts < _job.max_attempts AND NOT _job.cancel_requested;
  _state text := CASE WHEN _again THEN 'pending' WHEN _job.cancel_requested THEN 'cancelled' ELSE 'failed' END;
BEGIN
  UPDATE jobs
  SET state = _state, lease_until = NULL, worker = NULL,
    finished_at = CASE WHEN NOT _again THEN clock_timestamp() END,
    -- a second, two, four … five minutes at the most
    run_at = CASE WHEN _again THEN clock_timestamp() + LEAST(2 ^ LEAST(_job.attempts - 1, 20), 300) * interval '1s' ELSE run_at END,
    error_code = fail.error_code, error_message = fail.error_message, error_hint = fail.error_hint
  WHERE id = fail.job;
  PERFORM wake();
  RETURN _state;
END;
$$;
