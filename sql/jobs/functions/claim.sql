-- Gives the caller a job, or none: the next one that is pending, or whose worker has let its lease run out.
--
-- worker: the caller's name, for people. lease: how long it is the caller's; see heartbeat.
-- backend_pid, backend_start: the backend that will write the batches, as pg_stat_activity shows it to the caller; to be
-- ended if this worker falls silent.
-- stale_pid and stale_start are the backend of the worker that fell silent: call evict, for it may hold locks.
--
-- No two callers get the same job: a row that somebody else looks at is passed over. Each claim draws a new token, and
-- whatever the former holder still tries fails for having the old one.
--
-- A pending job waits for the jobs of its `after`, and for imports whose tables refer to its own or are referred to by it:
-- those that were submitted before it, and those at work, which may have been submitted at the same time or retried. The
-- view status has the same as waits_for. Callers take turns, to the commit, so that none overlooks what another is just
-- beginning: call it in a transaction of its own.
CREATE OR REPLACE FUNCTION evtool_jobs.claim(
  worker text,
  lease interval DEFAULT '30s',
  backend_pid integer DEFAULT NULL,
  backend_start timestamptz DEFAULT NULL,
  OUT job bigint,
  OUT token bigint,
  OUT kind text,
  OUT resource text,
  OUT target text,
  OUT request jsonb,
  OUT source jsonb,
  OUT attempts integer,
  OUT batches bigint,
  OUT stale_pid integer,
  OUT stale_start timestamptz
)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = evtool_jobs, pg_temp
-- The next job is the first one of the index jobs_open that may begin. A sort would look at all that can't, each time.
SET enable_sort = off
SET enable_seqscan = off
SET enable_bitmapscan = off
AS $$
#variable_conflict use_column
DECLARE
  _job jobs;
BEGIN
  PERFORM pg_advisory_xact_lock(hashtext('evtool_jobs'), hashtext('claim'));
  LOOP
    -- many jobs are of few tables
    WITH imports AS MATERIALIZED (
      SELECT target, refers_to, min(id) AS first, bool_or(state = 'processing') AS is_busy
      FROM jobs
      WHERE kind = 'import' AND state IN ('pending', 'processing')
      GROUP BY target, refers_to
    )
    SELECT jobs.* INTO _job
    FROM jobs
    WHERE state = 'processing' AND lease_until < clock_timestamp()
      OR state = 'pending' AND run_at <= clock_timestamp()
        -- each by its id alone: with the state among the conditions, jobs_open would be gone through for each job
        AND NOT EXISTS (
          SELECT FROM unnest(jobs.after) AS before
          WHERE (SELECT earlier.state FROM jobs AS earlier WHERE earlier.id = before) IN ('pending', 'processing'))
        AND NOT EXISTS (
          SELECT FROM imports
          WHERE CASE kind
            WHEN 'import' THEN (imports.first < id OR imports.is_busy) AND imports.target <> jobs.target
              AND (imports.target = ANY (jobs.refers_to) OR jobs.target = ANY (imports.refers_to))
            ELSE imports.first < id AND imports.target = jobs.target
          END)
    ORDER BY priority DESC, id
    LIMIT 1
    FOR UPDATE OF jobs SKIP LOCKED;
    EXIT WHEN NOT FOUND;

    -- of a worker that is gone nobody else can say so
    IF _job.cancel_requested THEN
      UPDATE jobs
      SET state = 'cancelled', finished_at = clock_timestamp(), lease_until = NULL, worker = NULL, token = token + 1
      WHERE id = _job.id;
      PERFORM wake();
      CONTINUE;
    END IF;
    IF _job.state = 'processing' AND _job.attempts >= _job.max_attempts THEN
      UPDATE jobs
      SET state = 'failed', finished_at = clock_timestamp(), lease_until = NULL, worker = NULL, token = token + 1,
        error_code = 'WORKER_LOST',
        error_message = format('%s workers fell silent at this job and none finished a batch', _job.attempts),
        error_hint = 'look for their end in the system''s log; then: evtool bulk retry'
      WHERE id = _job.id;
      PERFORM wake();
      CONTINUE;
    END IF;

    UPDATE jobs
    SET state = 'processing', token = jobs.token + 1, worker = claim.worker, attempts = jobs.attempts + 1,
      lease_until = clock_timestamp() + claim.lease, started_at = COALESCE(started_at, clock_timestamp()),
      backend_pid = claim.backend_pid,
      backend_start = claim.backend_start,
      error_code = NULL, error_message = NULL, error_hint = NULL
    WHERE id = _job.id
    RETURNING id, jobs.token, jobs.kind, jobs.resource, jobs.target, jobs.request, jobs.source, jobs.attempts, jobs.batches
    INTO job, token, kind, resource, target, request, source, attempts, batches;
    IF _job.state = 'processing' THEN
      stale_pid := _job.backend_pid;
      stale_start := _job.backend_start;
    END IF;
    RETURN NEXT;
    EXIT;
  END LOOP;
END;
$$;
