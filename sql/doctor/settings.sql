-- The settings that a new session of this role gets, whatever evtool has set in its own, and what they are held against.
SELECT name, reset_val FROM pg_settings
WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit', 'default_transaction_isolation',
  'default_transaction_read_only', 'wal_level', 'autovacuum', 'track_counts', 'max_locks_per_transaction',
  'max_connections', 'max_prepared_transactions')
UNION ALL
SELECT 'message_store.sql_condition', COALESCE(current_setting('message_store.sql_condition', true), 'off')
UNION ALL
SELECT 'planner', COALESCE(string_agg(name, ', ' ORDER BY name), '') FROM pg_settings
WHERE name IN ('enable_indexscan', 'enable_indexonlyscan', 'enable_bitmapscan') AND reset_val = 'off'
UNION ALL
-- a backup locks all of them at once
SELECT 'tables', count(*)::text
FROM evtool.namespaces AS n JOIN pg_class AS c ON c.relnamespace = to_regnamespace(quote_ident(n.schema_name))
WHERE c.relkind IN ('r', 'v', 'S')
UNION ALL
SELECT 'full view', pg_has_role('pg_read_all_stats', 'USAGE')::text
