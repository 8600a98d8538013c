-- Drops the group roles of a namespace that is being deleted. Call it after its schema is gone.
-- A role stays, with a NOTICE, where another database of the cluster still uses it or the caller may not drop it.
CREATE OR REPLACE FUNCTION evtool.drop_namespace_roles(schema_name text)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  _role name;
BEGIN
  FOREACH _role IN ARRAY ARRAY[evtool.role_name(schema_name, 'reader'), evtool.role_name(schema_name, 'writer')] LOOP
    CONTINUE WHEN NOT EXISTS (SELECT FROM pg_roles WHERE rolname = _role AND NOT rolcanlogin AND NOT rolsuper);
    IF shobj_description((SELECT oid FROM pg_roles WHERE rolname = _role), 'pg_authid') IS DISTINCT FROM 'made by evtool' THEN
      RAISE NOTICE 'The role % stays: it was there before the namespace', quote_ident(_role);
      CONTINUE;
    END IF;
    BEGIN
      EXECUTE format('DROP ROLE %I', _role);
    EXCEPTION
      WHEN dependent_objects_still_exist OR insufficient_privilege OR undefined_object THEN
        RAISE NOTICE 'The role % stays: %', quote_ident(_role), SQLERRM;
    END;
  END LOOP;
END;
$$;
