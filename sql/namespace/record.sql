-- Enters the namespace, and the state of its functions, in the registry. Runs last.
INSERT INTO evtool.namespaces (name, schema_name)
VALUES (:'name', :'ns')
ON CONFLICT (schema_name) DO NOTHING;

INSERT INTO evtool.behaviours (schema_name, checksum, fingerprint, evtool_version)
VALUES (:'ns', :'checksum', evtool.fingerprint(:'ns'), :'evtool_version')
ON CONFLICT (schema_name) DO UPDATE
SET checksum = excluded.checksum, fingerprint = excluded.fingerprint,
  evtool_version = excluded.evtool_version, installed_at = now();
