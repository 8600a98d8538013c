-- Made by scripts/generate from alembic/registry/versions: change those.

CREATE TABLE evtool_version (
    version_num VARCHAR(32) NOT NULL, 
    CONSTRAINT evtool_version_pkc PRIMARY KEY (version_num)
);

-- Running upgrade  -> 0001

CREATE TABLE namespaces (
  name text NOT NULL,
  schema_name text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (name),
  UNIQUE (schema_name)
);

COMMENT ON TABLE namespaces IS 'the namespaces of this database, and the schema of each';

CREATE TABLE behaviours (
  schema_name text NOT NULL,
  checksum text NOT NULL,
  fingerprint text NOT NULL,
  evtool_version text NOT NULL,
  installed_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (schema_name)
);

COMMENT ON TABLE behaviours IS 'the functions and views that each schema was last given';

COMMENT ON COLUMN behaviours.checksum IS 'of the files that they were installed from';

COMMENT ON COLUMN behaviours.fingerprint IS 'evtool.fingerprint of the schema right afterwards';

INSERT INTO evtool_version (version_num) VALUES ('0001');
