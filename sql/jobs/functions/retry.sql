-- Queues a job again that has failed, was cancelled, or has failed batches, and returns its state, pending.
-- What its batches did stays; it goes on with the first batch that isn't entered, and failed ones are forgotten first.
CREATE OR REPLACE FUNCTION evtool_jobs.retry(job bigint)
RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = evtool_jobs, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _job jobs;
BEGIN
  SELECT * INTO _job FROM jobs WHERE id = retry.job FOR UPDATE;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'There is no job %', retry.job USING CONSTRAINT = 'no_job';
  END IF;
  IF _job.state NOT IN ('failed', 'cancelled') AND NOT (_job.state = 'completed_with_errors' AND _job.failed_batches > 0) THEN
    RAISE EXCEPTION 'Job % is %, and has nothing to be done again', retry.job, _job.state
      USING CONSTRAINT = 'job_not_retryable';
  END IF;
  WITH forgotten AS (
    DELETE FROM batches WHERE batches.job = retry.job AND error_code IS NOT NULL
    RETURNING total, accepted, inserted, updated, rejected, errors, took
  ), sums AS (
    SELECT count(*) AS batches, COALESCE(sum(total), 0) AS total, COALESCE(sum(rejected), 0) AS rejected,
      COALESCE(sum(errors), 0) AS errors, COALESCE(sum(took), '0') AS took
    FROM forgotten
  )
  UPDATE jobs
  SET state = 'pending', finished_at = NULL, cancel_requested = false, attempts = 0, run_at = clock_timestamp(),
    error_code = NULL, error_message = NULL, error_hint = NULL, result = NULL,
    -- a file of which nothing is in may have been mended
    source = CASE WHEN jobs.batches > sums.batches THEN source END,
    batches = jobs.batches - sums.batches, failed_batches = 0, total = jobs.total - sums.total,
    rejected = jobs.rejected - sums.rejected, errors = jobs.errors - sums.errors, busy = jobs.busy - sums.took
  FROM sums
  WHERE id = retry.job;
  PERFORM wake();
  RETURN 'pending';
END;
$$;
