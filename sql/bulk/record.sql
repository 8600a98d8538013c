-- Enters which functions the schema has. Runs last.
INSERT INTO :"ns".behaviour (checksum, evtool_version) VALUES (:'checksum', :'evtool_version')
ON CONFLICT (only_one) DO UPDATE
SET checksum = excluded.checksum, evtool_version = excluded.evtool_version, installed_at = now();
