-- Raises unless the structure of a namespace is at the given version, which the functions to be installed need.
CREATE OR REPLACE FUNCTION evtool.check_structure(schema_name text, structure text)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  _structure text;
BEGIN
  EXECUTE format('SELECT version_num FROM %I.evtool_version', schema_name) INTO _structure;
  IF _structure IS DISTINCT FROM structure THEN
    RAISE EXCEPTION 'The schema % has structure %, and these functions need %',
      quote_ident(schema_name), _structure, structure
      USING CONSTRAINT = 'structure_differs', HINT = 'Run evtool migrate of this version first.';
  END IF;
END;
$$;
