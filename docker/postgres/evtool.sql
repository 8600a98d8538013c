-- Run once, by the image's entry point, when the data folder is new. What it does is what `evtool migrate` and
-- `evtool ns create` do; a later evtool brings it up to date by `evtool migrate`.
\set ON_ERROR_STOP on
\getenv names EVTOOL_NAMESPACES
\if :{?names}
\else
\set names ''
\endif
SELECT concat_ws(',', 'message_store', :'names') AS names \gset
\ir /usr/share/evtool/namespaces.sql
-- the role that Message DB's clients connect as; it has no password yet: ALTER ROLE message_store PASSWORD '…'
SELECT evtool.ensure_client_role('message_store', 'message_store') AS is_writer;
