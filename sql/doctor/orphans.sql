-- What the registry and the schemas of the database do not agree on: 'schema' for one that holds a namespace and isn't
-- registered, 'behaviour' for a row of functions without a namespace.
SELECT 'schema', n.nspname::text
FROM pg_namespace AS n
-- by the catalog, which everybody may read: a name of a schema that one may not use is an error
WHERE EXISTS (SELECT FROM pg_class WHERE relnamespace = n.oid AND relname = 'messages')
  AND EXISTS (SELECT FROM pg_class WHERE relnamespace = n.oid AND relname = 'evtool_version')
  AND NOT EXISTS (SELECT FROM evtool.namespaces WHERE schema_name = n.nspname)
UNION ALL
SELECT 'behaviour', b.schema_name
FROM evtool.behaviours AS b
WHERE b.schema_name NOT IN ('evtool', 'evtool_jobs')
  AND NOT EXISTS (SELECT FROM evtool.namespaces AS n WHERE n.schema_name = b.schema_name)
ORDER BY 1, 2
