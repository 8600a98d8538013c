-- Made by scripts/generate from alembic/jobs/versions: change those.

CREATE TABLE evtool_version (
    version_num VARCHAR(32) NOT NULL, 
    CONSTRAINT evtool_version_pkc PRIMARY KEY (version_num)
);

-- Running upgrade  -> 0001

CREATE TABLE jobs (
  id bigint GENERATED ALWAYS AS IDENTITY,
  kind text NOT NULL CHECK (kind IN ('import', 'export')),
  resource text NOT NULL,
  request jsonb NOT NULL CHECK (jsonb_typeof(request) = 'object'),
  target text NOT NULL,
  refers_to text[] NOT NULL,
  after bigint[] NOT NULL,
  priority integer NOT NULL,
  idempotency_key text CHECK (octet_length(idempotency_key) BETWEEN 1 AND 500),
  content text NOT NULL,
  max_attempts integer NOT NULL CHECK (max_attempts > 0),
  submitted_by text NOT NULL DEFAULT session_user,
  submitted_at timestamptz NOT NULL DEFAULT now(),
  state text NOT NULL DEFAULT 'pending' CHECK (
    state IN ('pending', 'processing', 'completed', 'completed_with_errors', 'failed', 'cancelled')),
  run_at timestamptz NOT NULL,
  started_at timestamptz,
  finished_at timestamptz,
  cancel_requested boolean NOT NULL DEFAULT false,
  attempts integer NOT NULL DEFAULT 0,
  token bigint NOT NULL DEFAULT 0,
  worker text,
  lease_until timestamptz,
  backend_pid integer,
  backend_start timestamptz,
  source jsonb,
  result jsonb,
  batches bigint NOT NULL DEFAULT 0,
  failed_batches bigint NOT NULL DEFAULT 0,
  total bigint NOT NULL DEFAULT 0,
  accepted bigint NOT NULL DEFAULT 0,
  inserted bigint NOT NULL DEFAULT 0,
  updated bigint NOT NULL DEFAULT 0,
  rejected bigint NOT NULL DEFAULT 0,
  errors bigint NOT NULL DEFAULT 0,
  busy interval NOT NULL DEFAULT '0',
  error_code text,
  error_message text,
  error_hint text,
  PRIMARY KEY (id),
  CONSTRAINT jobs_lease CHECK ((state = 'processing') = (lease_until IS NOT NULL)),
  CONSTRAINT jobs_finished CHECK ((state IN ('pending', 'processing')) = (finished_at IS NULL)),
  CONSTRAINT jobs_counters CHECK (total = accepted + rejected AND accepted >= inserted + updated)
);

COMMENT ON TABLE jobs IS 'bulk imports and exports, from their submission to their purge';

COMMENT ON COLUMN jobs.target IS 'the table, with its schema, that is written or read';

COMMENT ON COLUMN jobs.refers_to IS 'the tables that the target refers to';

COMMENT ON COLUMN jobs.after IS 'the jobs that must be over before this one begins';

COMMENT ON COLUMN jobs.content IS 'the SHA-256 of what was asked for: an idempotency key stands for that';

COMMENT ON COLUMN jobs.attempts IS 'how often it was begun since it last made progress';

COMMENT ON COLUMN jobs.token IS 'who holds it: drawn anew by each claim, asked for at each commit';

COMMENT ON COLUMN jobs.source IS 'what the first worker found the source to be: sha256 and bytes';

COMMENT ON COLUMN jobs.busy IS 'the time that its batches took, added up';

CREATE UNIQUE INDEX jobs_idempotency_key ON jobs (idempotency_key);

CREATE INDEX jobs_open ON jobs (priority DESC, id) WHERE state IN ('pending', 'processing');

CREATE INDEX jobs_over ON jobs (finished_at) WHERE finished_at IS NOT NULL;

CREATE TABLE batches (
  job bigint NOT NULL REFERENCES jobs ON DELETE CASCADE,
  number bigint NOT NULL CHECK (number > 0),
  first_line bigint NOT NULL,
  last_line bigint NOT NULL,
  total bigint NOT NULL,
  accepted bigint NOT NULL,
  inserted bigint NOT NULL,
  updated bigint NOT NULL,
  rejected bigint NOT NULL,
  errors bigint NOT NULL,
  took interval NOT NULL,
  token bigint NOT NULL,
  worker text NOT NULL,
  committed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  error_code text,
  error_message text,
  PRIMARY KEY (job, number)
);

COMMENT ON TABLE batches IS 'what is done of each job: entered by the transaction that did it';

COMMENT ON COLUMN batches.error_code IS 'why the batch as a whole failed; null where it did not';

CREATE TABLE rejects (
  job bigint NOT NULL,
  line bigint NOT NULL,
  batch bigint NOT NULL,
  errors json NOT NULL CHECK (json_typeof(errors) = 'array'),
  raw text NOT NULL,
  PRIMARY KEY (job, line),
  FOREIGN KEY (job, batch) REFERENCES batches ON DELETE CASCADE
);

COMMENT ON TABLE rejects IS 'the records that were refused, with what is wrong with each';

COMMENT ON COLUMN rejects.line IS 'the physical line of the file on which the record starts';

CREATE INDEX rejects_batch ON rejects (job, batch);

INSERT INTO evtool_version (version_num) VALUES ('0001');
