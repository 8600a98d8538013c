-- Installs what imports of tables need, the schema `evtool_bulk` of which a database has one, or brings its functions
-- up to date:
--
--   psql -f sql/bulk/install.sql
--
-- One transaction; run again, it changes nothing. The result is that of `evtool bulk init` without its tables. An older
-- structure is not upgraded here: that is `evtool migrate`.
\set ON_ERROR_STOP on
\set ns evtool_bulk

BEGIN;
\ir version.sql
SELECT pg_advisory_xact_lock(hashtext('evtool'), hashtext(:'ns')) AS locked \gset
SELECT to_regnamespace(quote_ident(:'ns')) IS NULL AS schema_is_new \gset
\if :schema_is_new
CREATE SCHEMA :"ns";
SET LOCAL search_path = :"ns", pg_temp;
\ir structure.sql
\else
-- of another structure: divided by zero, so that the transaction ends here
SELECT 1 / (version_num = :'structure')::int AS run_evtool_migrate_first FROM :"ns".evtool_version \gset
\endif
SET LOCAL search_path = pg_catalog, pg_temp;

\ir functions/as_uuid.sql
\ir functions/as_boolean.sql
\ir functions/as_bigint.sql
\ir functions/as_integer.sql
\ir functions/as_smallint.sql
\ir functions/as_numeric.sql
\ir functions/as_date.sql
\ir functions/as_timestamp.sql
\ir functions/as_timestamptz.sql
\ir functions/as_json.sql
\ir functions/as_jsonb.sql
\ir functions/as_list.sql
\ir functions/explain_refusal.sql
\ir privileges.sql

\ir record.sql
COMMIT;
