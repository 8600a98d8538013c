-- JSON that jsonb can hold; null for what isn't JSON, and for \u0000 and lone surrogates.
CREATE OR REPLACE FUNCTION :"ns".as_jsonb(value text)
RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN value::jsonb;
EXCEPTION
  WHEN data_exception OR program_limit_exceeded THEN
    RETURN NULL;
END;
$$;
