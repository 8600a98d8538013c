-- Enters a batch, in the transaction that did it, and returns whether the job is to be cancelled now.
--
-- rejects: an array of {"line", "errors": [{"field", "value", "code", "message"}], "raw"}.
-- error_code: where the batch as a whole failed, and nothing of it is in; its records then count as rejected.
--
-- Raises where the job is no longer the caller's, which undoes the batch. Call it last: the row that it locks is the
-- one that heartbeats write.
CREATE OR REPLACE FUNCTION evtool_jobs.record_batch(
  job bigint,
  token bigint,
  number bigint,
  first_line bigint,
  last_line bigint,
  inserted bigint,
  updated bigint,
  accepted bigint,
  rejected bigint,
  errors bigint,
  rejects json DEFAULT '[]',
  took interval DEFAULT '0',
  error_code text DEFAULT NULL,
  error_message text DEFAULT NULL
)
RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = evtool_jobs, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _job jobs := held(job, token);
BEGIN
  INSERT INTO batches (job, number, first_line, last_line, total, accepted, inserted, updated, rejected, errors,
    took, token, worker, error_code, error_message)
  VALUES (record_batch.job, record_batch.number, record_batch.first_line, record_batch.last_line,
    record_batch.accepted + record_batch.rejected, record_batch.accepted, record_batch.inserted, record_batch.updated,
    record_batch.rejected, record_batch.errors, record_batch.took, record_batch.token, _job.worker,
    record_batch.error_code, record_batch.error_message);
  INSERT INTO rejects (job, line, batch, errors, raw)
  SELECT record_batch.job, (reject ->> 'line')::bigint, record_batch.number, reject -> 'errors', reject ->> 'raw'
  FROM json_array_elements(record_batch.rejects) AS reject;
  UPDATE jobs
  SET batches = jobs.batches + 1,
    failed_batches = failed_batches + (record_batch.error_code IS NOT NULL)::int,
    total = total + record_batch.accepted + record_batch.rejected,
    accepted = jobs.accepted + record_batch.accepted,
    inserted = jobs.inserted + record_batch.inserted,
    updated = jobs.updated + record_batch.updated,
    rejected = jobs.rejected + record_batch.rejected,
    errors = jobs.errors + record_batch.errors,
    busy = busy + record_batch.took,
    -- it gets on: what happened before is no sign that it never will
    attempts = 1
  WHERE id = record_batch.job;
  RETURN _job.cancel_requested;
END;
$$;
