-- Installs the queue of bulk jobs, the schema `evtool_jobs` of which a database has one, or brings its functions up to
-- date:
--
--   psql -f sql/jobs/install.sql
--
-- One transaction; run again, it changes nothing. The result is that of `evtool bulk jobs --init`. An older structure is
-- not upgraded here: that is `evtool bulk jobs --init` too.
\set ON_ERROR_STOP on

BEGIN;
\ir ../registry/install.sql
\ir version.sql
SELECT pg_advisory_xact_lock(hashtext('evtool'), hashtext('evtool_jobs')) AS locked \gset
SELECT to_regnamespace('evtool_jobs') IS NULL AS is_new \gset
\if :is_new
CREATE SCHEMA evtool_jobs;
SET LOCAL search_path = evtool_jobs, pg_temp;
\ir structure.sql
\else
SELECT evtool.check_structure('evtool_jobs', :'structure') AS checked \gset
\endif
SET LOCAL search_path = pg_catalog, pg_temp;

\ir functions/wake.sql
\ir functions/table_named.sql
\ir functions/submit.sql
\ir functions/claim.sql
\ir functions/held.sql
\ir functions/evict.sql
\ir functions/heartbeat.sql
\ir functions/found_source.sql
\ir functions/record_batch.sql
\ir functions/finish.sql
\ir functions/fail.sql
\ir functions/release.sql
\ir functions/cancel.sql
\ir functions/retry.sql
\ir functions/purge.sql
\ir views/status.sql
\ir views/states.sql
\ir views/errors.sql
\ir functions/grant_roles.sql
\ir privileges.sql

\ir record.sql
COMMIT;
