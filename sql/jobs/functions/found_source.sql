-- Enters what a worker found the source to be, and raises where an earlier one found another: batches are counted from
-- the beginning of a file, so what is done of one file says nothing about another.
CREATE OR REPLACE FUNCTION evtool_jobs.found_source(job bigint, token bigint, sha256 text, bytes bigint)
RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = evtool_jobs, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _job jobs := held(job, token);
  _known text := COALESCE(_job.source ->> 'sha256', _job.request ->> 'sha256');
BEGIN
  IF _known <> found_source.sha256 THEN
    RAISE EXCEPTION 'The source of job % has changed since it was %', found_source.job,
      CASE WHEN _job.source IS NULL THEN 'submitted' ELSE 'begun' END
      USING CONSTRAINT = 'job_source_changed';
  END IF;
  UPDATE jobs
  SET source = jsonb_build_object('sha256', found_source.sha256, 'bytes', found_source.bytes)
  WHERE id = found_source.job;
END;
$$;
