-- Transactions of this database that have run for longer than :'busy': the session, or the name of a prepared one, how
-- long, and the schemas whose messages it has locked as a writer or an import does, so that the watermark waits for it.
WITH locked AS (
  SELECT l.pid, l.virtualtransaction, array_agg(DISTINCT n.schema_name ORDER BY n.schema_name) AS schemas
  FROM evtool.namespaces AS n
    -- by the catalog, which everybody may read: a name of a schema that one may not use is an error
    JOIN pg_namespace AS s ON s.nspname = n.schema_name
    JOIN pg_class AS c ON c.relnamespace = s.oid AND c.relname = 'messages'
    JOIN pg_locks AS l ON l.relation = c.oid AND l.locktype = 'relation'
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  WHERE l.granted AND l.mode IN ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
  GROUP BY l.pid, l.virtualtransaction
)
SELECT a.pid, NULL::text AS prepared, date_trunc('second', now() - a.xact_start)::text, COALESCE(l.schemas, '{}')
FROM pg_stat_activity AS a LEFT JOIN locked AS l ON l.pid = a.pid
WHERE a.datname = current_database() AND a.pid <> pg_backend_pid() AND a.backend_type = 'client backend'
  AND now() - a.xact_start > :'busy'::interval
UNION ALL
SELECT NULL, p.gid, date_trunc('second', now() - p.prepared)::text, COALESCE(l.schemas, '{}')
FROM pg_prepared_xacts AS p
  -- it has the name that its session had, and a lock on its own number
  LEFT JOIN pg_locks AS own ON own.locktype = 'transactionid' AND own.pid IS NULL AND own.transactionid = p.transaction
  LEFT JOIN locked AS l ON l.pid IS NULL AND l.virtualtransaction = own.virtualtransaction
WHERE p.database = current_database() AND now() - p.prepared > :'busy'::interval
ORDER BY 1, 2
