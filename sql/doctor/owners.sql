-- Functions that write, and views, whose owner lacks the rights that they run with: kind, object, its owner, the table's.
WITH found AS (
  SELECT c.oid AS messages, c.relowner AS owner, c.relnamespace AS schema,
    pg_get_serial_sequence(c.oid::regclass::text, 'global_position') AS sequence
  FROM pg_class AS c WHERE c.relname = 'messages' AND c.relnamespace = to_regnamespace(quote_ident(:'ns'))
)
SELECT 'FUNCTION', p.oid::regprocedure::text, pg_get_userbyid(p.proowner)::text, pg_get_userbyid(found.owner)::text
FROM found JOIN pg_proc AS p ON p.pronamespace = found.schema
WHERE p.prosecdef AND NOT (
  has_schema_privilege(p.proowner, found.schema, 'USAGE') AND has_table_privilege(p.proowner, found.messages, 'INSERT')
  AND has_table_privilege(p.proowner, found.messages, 'SELECT')
  AND COALESCE(has_sequence_privilege(p.proowner, found.sequence, 'USAGE'), true))
UNION ALL
SELECT 'VIEW', v.oid::regclass::text, pg_get_userbyid(v.relowner)::text, pg_get_userbyid(found.owner)::text
FROM found JOIN pg_class AS v ON v.relnamespace = found.schema AND v.relkind = 'v'
WHERE NOT (has_schema_privilege(v.relowner, found.schema, 'USAGE')
  AND has_table_privilege(v.relowner, found.messages, 'SELECT'))
ORDER BY 1, 2
