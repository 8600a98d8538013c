-- Makes a group role where there is none of that name. Returns whether it is there then: false where the caller may not
-- make it. Raises where the name is a person's.
CREATE OR REPLACE FUNCTION evtool.ensure_group(role_name text)
RETURNS boolean
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF EXISTS (SELECT FROM pg_roles WHERE rolname = role_name AND (rolcanlogin OR rolsuper)) THEN
    RAISE EXCEPTION 'The role % exists and is not a group: it can log in, or is a superuser', quote_ident(role_name)
      USING ERRCODE = 'duplicate_object', CONSTRAINT = 'role_is_not_a_group',
        HINT = 'Rename that role, or give the namespace another schema.';
  END IF;
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role_name) THEN
    EXECUTE format('CREATE ROLE %I NOLOGIN', role_name);
    -- what drop_namespace_roles knows it by: a role that was there before is not evtool's to drop
    EXECUTE format('COMMENT ON ROLE %I IS %L', role_name, 'made by evtool');
  END IF;
  RETURN true;
EXCEPTION
  -- roles belong to the cluster: a migration of another database may have made it just now
  WHEN unique_violation THEN RETURN true;
  WHEN duplicate_object THEN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = role_name AND (rolcanlogin OR rolsuper)) THEN
      RAISE;
    END IF;
    RETURN true;
  WHEN insufficient_privilege THEN RETURN false;
END;
$$;
