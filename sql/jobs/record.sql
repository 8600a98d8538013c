-- Enters the state of the queue's functions in the registry. Runs last.
INSERT INTO evtool.behaviours (schema_name, checksum, fingerprint, evtool_version)
VALUES ('evtool_jobs', :'checksum', evtool.fingerprint('evtool_jobs'), :'evtool_version')
ON CONFLICT (schema_name) DO UPDATE
SET checksum = excluded.checksum, fingerprint = excluded.fingerprint,
  evtool_version = excluded.evtool_version, installed_at = now();
