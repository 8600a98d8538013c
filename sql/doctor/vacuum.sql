-- What vacuum knows of the table: its pages, how many of them are known to be all visible, the rows that analyze counted,
-- dead rows and live ones, whether autovacuum is switched off for it, and the scale factor that counts inserts.
SELECT pg_relation_size(c.oid) / current_setting('block_size')::bigint, c.relallvisible, c.reltuples,
  pg_stat_get_dead_tuples(c.oid), pg_stat_get_live_tuples(c.oid),
  COALESCE((SELECT NOT option_value::boolean FROM pg_options_to_table(c.reloptions)
    WHERE option_name = 'autovacuum_enabled'), false),
  (SELECT option_value::float8 FROM pg_options_to_table(c.reloptions)
    WHERE option_name = 'autovacuum_vacuum_insert_scale_factor')
FROM pg_class AS c
WHERE c.oid = to_regclass(format('%I.messages', :'ns'))
