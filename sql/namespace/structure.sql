-- Made by scripts/generate from alembic/namespace/versions: change those.

CREATE TABLE evtool_version (
    version_num VARCHAR(32) NOT NULL, 
    CONSTRAINT evtool_version_pkc PRIMARY KEY (version_num)
);

-- Running upgrade  -> 0001

CREATE TYPE message AS (
  id varchar,
  stream_name varchar,
  type varchar,
  position bigint,
  global_position bigint,
  data varchar,
  metadata varchar,
  time timestamp
);

CREATE TABLE messages (
  global_position bigserial NOT NULL,
  position bigint NOT NULL,
  time timestamp without time zone NOT NULL DEFAULT (now() AT TIME ZONE 'utc'),
  stream_name text COLLATE "C" NOT NULL,
  type text NOT NULL,
  data jsonb,
  metadata jsonb,
  id uuid NOT NULL DEFAULT gen_random_uuid(),
  PRIMARY KEY (global_position)
);

CREATE UNIQUE INDEX messages_id ON messages (id);

CREATE UNIQUE INDEX messages_stream ON messages (stream_name, position);

-- The category of a stream name: what stands before the first hyphen.
-- category('account-123') = 'account'; category('account') = 'account'; NULL for NULL.
-- The index messages_category is built on it: a change of its result is a migration, not an edit.
-- A body in standard SQL and no SET clause, so that the planner inlines it, into queries and into index entries.
CREATE OR REPLACE FUNCTION :"ns".category(stream_name varchar)
RETURNS varchar
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN split_part(stream_name, '-', 1);

CREATE INDEX messages_category ON messages (
  category(stream_name),
  global_position,
  category(metadata->>'correlationStreamName')
);

INSERT INTO evtool_version (version_num) VALUES ('0001');

-- Running upgrade 0001 -> 0002

CREATE TABLE imports (
  number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  imported_at timestamp without time zone NOT NULL DEFAULT (clock_timestamp() AT TIME ZONE 'utc'),
  source text NOT NULL,
  fingerprint text,
  options text NOT NULL,
  last_line bigint NOT NULL,
  imported bigint NOT NULL,
  skipped bigint NOT NULL,
  first_position bigint,
  last_position bigint,
  replaced boolean NOT NULL,
  complete boolean NOT NULL
);

CREATE INDEX imports_fingerprint ON imports (fingerprint, number) WHERE fingerprint IS NOT NULL;

CREATE INDEX messages_time ON messages USING brin (
  time,
  type text_bloom_ops (n_distinct_per_range = 200)
) WITH (pages_per_range = 32);

ALTER TABLE messages SET (autovacuum_vacuum_insert_scale_factor = 0.05);

UPDATE evtool_version SET version_num='0002' WHERE evtool_version.version_num = '0001';
