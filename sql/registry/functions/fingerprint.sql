-- A digest of what the functions and views of a schema are now, to be compared with the one taken when they were
-- installed: they differ when somebody changed one by hand. The pinned path makes every name in it qualified.
CREATE OR REPLACE FUNCTION evtool.fingerprint(schema_name text)
RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
SET quote_all_identifiers = off
AS $$
  SELECT md5(COALESCE(string_agg(definition, E'\n' ORDER BY definition COLLATE "C"), ''))
  FROM (
    SELECT pg_get_functiondef(oid) AS definition
    FROM pg_proc
    WHERE pronamespace = to_regnamespace(quote_ident(schema_name)) AND prokind IN ('f', 'p')
    UNION ALL
    SELECT relname || ': ' || pg_get_viewdef(oid)
    FROM pg_class
    WHERE relnamespace = to_regnamespace(quote_ident(schema_name)) AND relkind = 'v'
  ) AS objects;
$$;
