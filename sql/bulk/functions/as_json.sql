-- JSON, its spelling kept; null for what isn't JSON.
CREATE OR REPLACE FUNCTION :"ns".as_json(value text)
RETURNS json
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN value::json;
EXCEPTION
  WHEN data_exception OR program_limit_exceeded THEN
    RETURN NULL;
END;
$$;
