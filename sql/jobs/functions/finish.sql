-- Ends a job that the caller holds, and returns its state: cancelled where that was wanted and is asked for here,
-- completed_with_errors where a record or a batch was refused, else completed.
--
-- result: of an export, its manifest. took: how long that was worked on, beyond its batches.
CREATE OR REPLACE FUNCTION evtool_jobs.finish(
  job bigint, token bigint, result jsonb DEFAULT NULL, is_cancelled boolean DEFAULT false, took interval DEFAULT '0'
)
RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = evtool_jobs, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _job jobs := held(job, token);
  _state text := CASE
    WHEN finish.is_cancelled THEN 'cancelled'
    WHEN _job.rejected > 0 OR _job.failed_batches > 0 THEN 'completed_with_errors'
    ELSE 'completed'
  END;
BEGIN
  UPDATE jobs
  SET state = _state, finished_at = clock_timestamp(), lease_until = NULL, worker = NULL,
    result = COALESCE(finish.result, jobs.result), busy = busy + finish.took,
    total = CASE WHEN kind = 'export' THEN COALESCE((finish.result ->> 'count')::bigint, 0) ELSE total END,
    accepted = CASE WHEN kind = 'export' THEN COALESCE((finish.result ->> 'count')::bigint, 0) ELSE accepted END
  WHERE id = finish.job;
  PERFORM wake();
  RETURN _state;
END;
$$;
