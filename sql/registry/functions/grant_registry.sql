-- Lets a group look up which schema a namespace has: as a member of evtool_reader, who may read evtool.namespaces.
-- One role for all of them, since the privileges of a table are kept in its row of pg_class, which has no room for a
-- thousand groups, and which two transactions can't change at once.
CREATE OR REPLACE FUNCTION evtool.grant_registry(role_name text)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  _group constant name := 'evtool_reader';
BEGIN
  IF EXISTS (
    SELECT FROM pg_auth_members
    WHERE roleid = to_regrole(_group) AND member = to_regrole(quote_ident(role_name))
  ) AND has_schema_privilege(_group, 'evtool', 'USAGE') AND has_table_privilege(_group, 'evtool.namespaces', 'SELECT') THEN
    RETURN;
  END IF;
  -- behind the lock of the namespace, always
  PERFORM pg_advisory_xact_lock(hashtext('evtool'), hashtext(_group));
  IF NOT evtool.ensure_group(_group) THEN
    RAISE insufficient_privilege USING MESSAGE = format('permission denied to create role "%s"', _group);
  END IF;
  IF NOT has_schema_privilege(_group, 'evtool', 'USAGE') THEN
    GRANT USAGE ON SCHEMA evtool TO evtool_reader;
  END IF;
  IF NOT has_table_privilege(_group, 'evtool.namespaces', 'SELECT') THEN
    GRANT SELECT ON evtool.namespaces TO evtool_reader;
  END IF;
  IF NOT EXISTS (
    SELECT FROM pg_auth_members WHERE roleid = to_regrole(_group) AND member = to_regrole(quote_ident(role_name))
  ) THEN
    EXECUTE format('GRANT %I TO %I', _group, role_name);
  END IF;
EXCEPTION
  WHEN insufficient_privilege THEN
    RAISE NOTICE 'Not allowed to let % look up namespaces: evtool does not find the schema for its members',
      quote_ident(role_name)
      USING HINT = format('As a superuser: GRANT %I TO %I', _group, role_name);
END;
$$;
