-- Every job with its counters. rows_per_second counts the time that its batches, or its export, took; error_rate is the share of records
-- that were refused; waits_for are the jobs that it waits for.
CREATE OR REPLACE VIEW evtool_jobs.status AS
SELECT
  id AS job,
  kind,
  resource,
  target,
  state,
  request ->> CASE kind WHEN 'import' THEN 'source' ELSE 'output' END AS file,
  batches,
  failed_batches,
  total,
  accepted,
  inserted,
  updated,
  rejected,
  errors,
  round((total / NULLIF(EXTRACT(epoch FROM busy), 0))::numeric, 1) AS rows_per_second,
  round(rejected::numeric / NULLIF(total, 0), 4) AS error_rate,
  attempts,
  worker,
  cancel_requested,
  lease_until,
  ARRAY(
    SELECT other.id
    FROM evtool_jobs.jobs AS other
    WHERE jobs.state = 'pending' AND other.state IN ('pending', 'processing') AND (
      other.id = ANY (jobs.after)
      OR other.kind = 'import' AND CASE jobs.kind
        WHEN 'import' THEN (other.id < jobs.id OR other.state = 'processing') AND other.target <> jobs.target
          AND (other.target = ANY (jobs.refers_to) OR jobs.target = ANY (other.refers_to))
        ELSE other.id < jobs.id AND other.target = jobs.target
      END)
    ORDER BY 1) AS waits_for,
  priority,
  idempotency_key,
  submitted_by,
  submitted_at,
  run_at,
  started_at,
  finished_at,
  -- not clock_timestamp(): a volatile function would have waits_for worked out for all jobs, whichever are asked for
  CASE
    WHEN state = 'processing' THEN GREATEST(statement_timestamp() - started_at, '0')
    ELSE finished_at - started_at
  END AS elapsed,
  error_code,
  error_message,
  error_hint,
  source,
  result
FROM evtool_jobs.jobs;
