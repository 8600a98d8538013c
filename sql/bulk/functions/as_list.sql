-- The elements of a JSON array, as texts; null for what isn't one, or has arrays or objects in it. With strings_only
-- each element is a string or null.
CREATE OR REPLACE FUNCTION :"ns".as_list(value text, strings_only boolean)
RETURNS text[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  _element jsonb;
BEGIN
  IF value IS NULL OR value !~ '^\s*\[' THEN
    RETURN NULL;
  END IF;
  FOR _element IN SELECT jsonb_array_elements(value::jsonb) LOOP
    IF jsonb_typeof(_element) IN ('array', 'object')
      OR (strings_only AND jsonb_typeof(_element) NOT IN ('string', 'null'))
    THEN
      RETURN NULL;
    END IF;
  END LOOP;
  RETURN ARRAY(SELECT jsonb_array_elements_text(value::jsonb));
EXCEPTION
  WHEN data_exception OR program_limit_exceeded THEN
    RETURN NULL;
END;
$$;
