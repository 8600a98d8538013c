-- A table's name with its schema, quoted where it needs to be, so that two spellings of one table are the same text.
-- What is no name of a table stays as it is.
CREATE OR REPLACE FUNCTION evtool_jobs.table_named(name text, schema_name text)
RETURNS text
LANGUAGE plpgsql IMMUTABLE
SET search_path = evtool_jobs, pg_temp
AS $$
DECLARE
  _parts text[];
BEGIN
  -- not above, where the EXCEPTION below would not hold for it
  _parts := parse_ident(name);
  RETURN CASE cardinality(_parts)
    WHEN 1 THEN format('%I.%I', schema_name, _parts[1])
    WHEN 2 THEN format('%I.%I', _parts[1], _parts[2])
    ELSE name
  END;
EXCEPTION WHEN invalid_parameter_value THEN
  RETURN name;
END;
$$;
