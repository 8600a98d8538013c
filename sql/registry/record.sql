-- Enters the state of the registry's own functions. Runs last.
INSERT INTO evtool.behaviours (schema_name, checksum, fingerprint, evtool_version)
VALUES ('evtool', :'checksum', evtool.fingerprint('evtool'), :'evtool_version')
ON CONFLICT (schema_name) DO UPDATE
SET checksum = excluded.checksum, fingerprint = excluded.fingerprint,
  evtool_version = excluded.evtool_version, installed_at = now();
