-- Makes the LOGIN role that existing Message DB clients connect as, without a password, a member of a namespace's
-- writers. Returns whether it is one now; where the caller may not, a NOTICE says so.
CREATE OR REPLACE FUNCTION evtool.ensure_client_role(role_name text, schema_name text)
RETURNS boolean
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  _writer name := evtool.role_name(schema_name, 'writer');
BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role_name) THEN
    BEGIN
      EXECUTE format('CREATE ROLE %I LOGIN', role_name);
    EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
    END;
  END IF;
  IF EXISTS (SELECT FROM pg_roles WHERE rolname = role_name AND NOT rolcanlogin) THEN
    RAISE NOTICE 'The role %, which Message DB''s clients connect as, may not log in', quote_ident(role_name)
      USING HINT = format('ALTER ROLE %I LOGIN', role_name);
  END IF;
  IF EXISTS (SELECT FROM pg_roles WHERE rolname = role_name AND rolsuper)
    OR pg_has_role(role_name, _writer, 'MEMBER') THEN
    RETURN true;
  END IF;
  EXECUTE format('GRANT %I TO %I', _writer, role_name);
  RETURN true;
EXCEPTION
  WHEN insufficient_privilege OR undefined_object THEN
    RAISE NOTICE 'Not allowed to set up the role %, which Message DB''s clients connect as', quote_ident(role_name)
      USING HINT = 'Run evtool migrate again as a role with CREATEROLE.';
    RETURN false;
END;
$$;
