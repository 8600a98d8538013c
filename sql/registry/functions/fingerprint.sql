-- A digest of what the functions and views of a schema are now, to be compared with the one taken when they were
-- installed: they differ when somebody changed one by hand. The pinned path makes every name in it qualified.
-- By pg_depend, which has an index by schema: pg_proc and pg_class grow with every namespace.
CREATE OR REPLACE FUNCTION evtool.fingerprint(schema_name text)
RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
SET quote_all_identifiers = off
AS $$
  SELECT md5(COALESCE(string_agg(definition, E'\n' ORDER BY definition COLLATE "C"), ''))
  FROM (
    SELECT pg_get_functiondef(p.oid) AS definition
    FROM pg_depend AS d JOIN pg_proc AS p ON p.oid = d.objid
    WHERE d.refclassid = 'pg_namespace'::regclass AND d.refobjid = to_regnamespace(quote_ident(schema_name))
      AND d.classid = 'pg_proc'::regclass AND p.prokind IN ('f', 'p')
    UNION ALL
    SELECT c.relname || ': ' || pg_get_viewdef(c.oid)
    FROM pg_depend AS d JOIN pg_class AS c ON c.oid = d.objid
    WHERE d.refclassid = 'pg_namespace'::regclass AND d.refobjid = to_regnamespace(quote_ident(schema_name))
      AND d.classid = 'pg_class'::regclass AND c.relkind = 'v'
  ) AS objects;
$$;
