-- Installs the registry, the schema `evtool` of which a database has one, or brings its functions up to date.
-- sql/namespace/install.sql includes it, inside its transaction; alone: psql -1 -f sql/registry/install.sql
\set ON_ERROR_STOP on
\ir version.sql
-- outside a transaction this sets nothing, and half of the registry would land elsewhere: it ends here instead
SET LOCAL search_path = pg_catalog, pg_temp;
SELECT 1 / (current_setting('search_path') = 'pg_catalog, pg_temp')::int AS run_psql_with_the_option_1 \gset
SELECT pg_advisory_xact_lock(hashtext('evtool'), 0) AS locked \gset
SELECT to_regnamespace('evtool') IS NULL AS registry_is_new \gset
\if :registry_is_new
CREATE SCHEMA evtool;
SET LOCAL search_path = evtool, pg_temp;
\ir structure.sql
\else
-- a registry of another structure: divided by zero, so that the transaction ends here
SELECT 1 / (version_num = :'structure')::int AS run_evtool_migrate_first FROM evtool.evtool_version \gset
\endif
SET LOCAL search_path = pg_catalog, pg_temp;

\ir functions/role_name.sql
\ir functions/ensure_group.sql
\ir functions/grant_registry.sql
\ir functions/grant_namespace.sql
\ir functions/lock_namespace.sql
\ir functions/drop_namespace_roles.sql
\ir functions/ensure_client_role.sql
\ir functions/check_schema_name.sql
\ir functions/check_structure.sql
\ir functions/check_adoptable.sql
\ir functions/adopt_roles.sql
\ir functions/wait_for_transactions.sql
\ir functions/revoke_direct_writes.sql
\ir functions/fingerprint.sql
\ir privileges.sql

\ir record.sql
