-- Queues an import or an export, and returns its number and whether it is new.
--
-- kind: 'import' or 'export'.
-- resource: a shipped resource, or a table.
-- request: what `evtool bulk import` or `export` would be given; see docs/bulk-jobs.md.
-- idempotency_key: the same key with the same content returns the job that there is; with other content it is an error.
-- target: the table, if it is not named as the resource, in the request's schema or public; refers_to: tables that it refers to beyond its foreign keys.
-- after: jobs that must be over before; priority: the higher, the sooner; run_at: not before.
-- max_attempts: after so many beginnings without a batch done the job has failed.
--
-- Jobs whose tables refer to each other run one after the other, in the order of submission: an import waits for all
-- earlier imports into tables that it refers to or that refer to its own, an export for earlier imports into its table.
-- Imports into the same table run side by side. See claim.
CREATE OR REPLACE FUNCTION evtool_jobs.submit(
  kind text,
  resource text,
  request jsonb,
  idempotency_key text DEFAULT NULL,
  target text DEFAULT NULL,
  refers_to text[] DEFAULT '{}',
  after bigint[] DEFAULT '{}',
  priority integer DEFAULT 0,
  max_attempts integer DEFAULT 5,
  run_at timestamptz DEFAULT NULL,
  OUT job bigint,
  OUT is_new boolean
)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = evtool_jobs, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _schema text := COALESCE(request ->> 'schema', 'public');
  _target text := table_named(COALESCE(target, request ->> 'table', resource), _schema);
  _table oid;
  _refers_to text[];
  _content text;
  _found text;
BEGIN
  IF kind IS NULL OR kind NOT IN ('import', 'export') THEN
    RAISE EXCEPTION 'A job is an import or an export, not %', quote_nullable(kind) USING CONSTRAINT = 'job_kind';
  END IF;
  IF COALESCE(resource, '') = '' THEN
    RAISE EXCEPTION 'A job needs a resource' USING CONSTRAINT = 'job_resource';
  END IF;
  IF jsonb_typeof(request) IS DISTINCT FROM 'object' THEN
    RAISE EXCEPTION 'A request is a JSON object' USING CONSTRAINT = 'job_request';
  END IF;
  -- everybody who may look at jobs could read it
  IF request ->> 'source' ~ '^[[:space:]]*[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*@' THEN
    RAISE EXCEPTION 'The URL has a user name or a password in it' USING CONSTRAINT = 'job_request';
  END IF;
  IF NOT isfinite(run_at) THEN
    RAISE EXCEPTION 'A job begins at a time, and not at %', run_at USING CONSTRAINT = 'job_request';
  END IF;
  IF max_attempts < 1 THEN
    RAISE EXCEPTION 'A job has at least one attempt, and not %', max_attempts USING CONSTRAINT = 'job_request';
  END IF;
  IF octet_length(idempotency_key) NOT BETWEEN 1 AND 500 THEN
    RAISE EXCEPTION 'An idempotency key has 1 to 500 bytes; this one has %', octet_length(idempotency_key)
      USING CONSTRAINT = 'job_key';
  END IF;
  IF EXISTS (SELECT FROM unnest(submit.after) AS earlier (id) WHERE NOT EXISTS (SELECT FROM jobs WHERE jobs.id = earlier.id)) THEN
    RAISE EXCEPTION 'A job can only wait for jobs that there are' USING CONSTRAINT = 'job_after';
  END IF;

  -- what the key stands for is what was asked, and not what the catalog looks like meanwhile
  _content := encode(sha256(convert_to(
    jsonb_build_array(kind, resource, request, target, refers_to, after)::text, 'UTF8')), 'hex');
  -- asked again, mostly: without drawing a number
  SELECT jobs.id, jobs.content INTO job, _found FROM jobs WHERE jobs.idempotency_key = submit.idempotency_key;
  IF _found = _content THEN
    is_new := false;
    RETURN;
  END IF;

  -- not to_regclass, which raises for what is no name; null where it isn't there yet
  SELECT pg_class.oid INTO _table
  FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
  WHERE format('%I.%I', nspname, relname) = _target;
  _refers_to := ARRAY(
    SELECT table_named(other, _schema) FROM unnest(submit.refers_to) AS other
    UNION
    SELECT format('%I.%I', nspname, relname)
    FROM pg_constraint
    JOIN pg_class ON pg_class.oid = confrelid
    JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE conrelid = _table AND contype = 'f' AND confrelid <> conrelid
    ORDER BY 1);

  INSERT INTO jobs (kind, resource, request, target, refers_to, after, priority, idempotency_key, content, max_attempts, run_at)
  VALUES (kind, resource, request, _target, _refers_to, COALESCE(after, '{}'), COALESCE(priority, 0), idempotency_key, _content,
    COALESCE(max_attempts, 5), COALESCE(run_at, now()))
  ON CONFLICT (idempotency_key) DO NOTHING
  RETURNING jobs.id INTO job;
  is_new := job IS NOT NULL;
  IF is_new THEN
    PERFORM wake();
    RETURN;
  END IF;

  -- a statement of its own, whose snapshot has what the INSERT has waited for
  SELECT jobs.id, jobs.content INTO job, _found FROM jobs WHERE jobs.idempotency_key = submit.idempotency_key;
  IF job IS NULL THEN
    -- purged since, or not to be seen from REPEATABLE READ
    RAISE EXCEPTION 'The job with this idempotency key has just come or gone: submit it again'
      USING ERRCODE = 'serialization_failure', CONSTRAINT = 'job_key_raced';
  END IF;
  IF _found <> _content THEN
    RAISE EXCEPTION 'The idempotency key is that of job %, which asks for something else', job
      USING CONSTRAINT = 'job_key_taken';
  END IF;
END;
$$;
