-- Installs a namespace, or brings the functions of an installed one up to date:
--
--   psql -v ns=orders -f sql/namespace/install.sql
--
-- One transaction; run again, it changes nothing. The result is that of `evtool ns create orders`, which runs the same
-- files in the order of the \ir lines below. An older structure is not upgraded here: that is `evtool migrate`.
\set ON_ERROR_STOP on
\if :{?ns}
\else
\warn 'No namespace given. Usage: psql -v ns=orders -f sql/namespace/install.sql'
DO $$ BEGIN RAISE EXCEPTION 'no namespace given'; END $$;
\endif
\set name :ns

BEGIN;
\ir ../registry/install.sql
\ir version.sql
SELECT pg_advisory_xact_lock(hashtext('evtool'), hashtext(:'ns')) AS locked \gset
SELECT evtool.check_schema_name(:'ns', :'name') AS is_new \gset
\if :is_new
CREATE SCHEMA :"ns";
SET LOCAL search_path = :"ns", pg_temp;
\ir structure.sql
\else
SELECT evtool.check_structure(:'ns', :'structure') AS checked \gset
\endif
SET LOCAL search_path = pg_catalog, pg_temp;

\ir functions/category.sql
\ir functions/id.sql
\ir functions/cardinal_id.sql
\ir functions/is_category.sql
\ir functions/hash_64.sql
\ir functions/message_store_version.sql
\ir functions/acquire_lock.sql
\ir functions/stream_version.sql
\ir functions/write_message.sql
\ir functions/write_messages.sql
\ir functions/get_stream_messages.sql
\ir functions/get_category_messages.sql
\ir functions/get_last_stream_message.sql
\ir functions/watermark.sql
\ir functions/get_all_messages.sql
\ir functions/notify_messages.sql
\ir functions/list_streams.sql
\ir functions/list_categories.sql
\ir views/stream_summary.sql
\ir views/type_summary.sql
\ir views/stream_type_summary.sql
\ir views/type_stream_summary.sql
\ir views/category_type_summary.sql
\ir views/type_category_summary.sql
\ir privileges.sql

\ir record.sql
COMMIT;
