-- What the report says of a record that the server refused for a reason that no rule foresaw.
CREATE OR REPLACE FUNCTION :"ns".explain_refusal(
  target regclass,
  state text,
  constraint_name text,
  column_name text,
  OUT field text,
  OUT code text
)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  _columns text[];
BEGIN
  SELECT ARRAY(
    SELECT a.attname::text
    FROM unnest(keys) WITH ORDINALITY AS k(number, place)
    JOIN pg_attribute a ON a.attrelid = relation AND a.attnum = k.number
    ORDER BY k.place
  ) INTO _columns
  FROM (
    SELECT conkey AS keys, conrelid AS relation FROM pg_constraint
    WHERE conrelid = target AND conname = explain_refusal.constraint_name
    UNION ALL
    SELECT i.indkey, i.indrelid FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
    WHERE i.indrelid = target AND c.relname = explain_refusal.constraint_name
  ) AS found
  LIMIT 1;
  field := COALESCE(NULLIF(column_name, ''), _columns[1]);
  code := CASE
    WHEN state = '23505' AND cardinality(_columns) > 0 THEN 'duplicate_' || array_to_string(_columns, '_')
    WHEN state = '23503' AND cardinality(_columns) > 0 THEN array_to_string(_columns, '_') || '_not_found'
    WHEN state = '23502' AND field IS NOT NULL THEN field || '_required'
    WHEN state = '23514' AND cardinality(_columns) = 1 THEN 'invalid_' || field
    WHEN state = '22001' THEN 'value_too_long'
    WHEN constraint_name <> '' THEN 'violates_' || constraint_name
    ELSE 'refused_' || state
  END;
END;
$$;
