-- Made by scripts/generate from alembic/bulk/versions: change those.

CREATE TABLE evtool_version (
    version_num VARCHAR(32) NOT NULL, 
    CONSTRAINT evtool_version_pkc PRIMARY KEY (version_num)
);

-- Running upgrade  -> 0001

CREATE TABLE imports (
  import_id bigint GENERATED ALWAYS AS IDENTITY,
  context text NOT NULL,
  resource text NOT NULL,
  target text NOT NULL,
  source text NOT NULL,
  mode text NOT NULL,
  started_at timestamptz NOT NULL DEFAULT now(),
  delivered_at timestamptz,
  PRIMARY KEY (import_id)
);

COMMENT ON TABLE imports IS 'files that were imported into tables';

COMMENT ON COLUMN imports.context IS 'a digest of the target, the options and the beginning of the file';

COMMENT ON COLUMN imports.delivered_at IS 'when its report was out: from then on it is not continued';

CREATE UNIQUE INDEX imports_open ON imports (context) WHERE delivered_at IS NULL;

CREATE TABLE batches (
  import_id bigint NOT NULL REFERENCES imports ON DELETE CASCADE,
  batch bigint NOT NULL CHECK (batch > 0),
  last_record bigint NOT NULL,
  digest text NOT NULL,
  first_line bigint NOT NULL,
  last_line bigint NOT NULL,
  total bigint NOT NULL,
  accepted bigint NOT NULL,
  inserted bigint NOT NULL,
  updated bigint NOT NULL,
  rejected bigint NOT NULL,
  errors bigint NOT NULL,
  failure text,
  finished_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (import_id, batch),
  CHECK (total = accepted + rejected AND accepted = inserted + updated)
);

COMMENT ON TABLE batches IS 'the ledger: a row commits with the records of its batch';

COMMENT ON COLUMN batches.last_record IS 'how many records of the file are done with this batch';

COMMENT ON COLUMN batches.digest IS 'the SHA-256 of all records up to that one';

COMMENT ON COLUMN batches.failure IS 'the SQLSTATE of a batch that failed as a whole';

CREATE TABLE rejects (
  import_id bigint NOT NULL REFERENCES imports ON DELETE CASCADE,
  reject_id bigint GENERATED ALWAYS AS IDENTITY,
  line bigint NOT NULL,
  errors json NOT NULL,
  raw text NOT NULL,
  PRIMARY KEY (import_id, reject_id)
);

COMMENT ON TABLE rejects IS 'records that were refused, why, and their text';

COMMENT ON COLUMN rejects.line IS 'the physical line of the file on which the record starts';

CREATE TABLE behaviour (
  only_one boolean NOT NULL DEFAULT true CHECK (only_one),
  checksum text NOT NULL,
  evtool_version text NOT NULL,
  installed_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (only_one)
);

COMMENT ON TABLE behaviour IS 'which functions this schema was last given';

INSERT INTO evtool_version (version_num) VALUES ('0001');
