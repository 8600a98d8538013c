-- Makes the group roles of a namespace where it may, and gives them their privileges; PUBLIC loses all.
-- Returns whether the roles are there. Where the caller may not create roles, it says so in a NOTICE, returns false,
-- and the namespace is its owner's alone until a run by somebody who may.
--
-- Readers SELECT and call what reads. Writers do too and call what writes, which is SECURITY DEFINER: they have no
-- INSERT, so no message gets around the lock or to a position of its writer's choice.
CREATE OR REPLACE FUNCTION evtool.grant_namespace(schema_name text)
RETURNS boolean
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  _reader name := evtool.role_name(schema_name, 'reader');
  _writer name := evtool.role_name(schema_name, 'writer');
  _role name;
  _function regprocedure;
BEGIN
  EXECUTE format('REVOKE ALL ON SCHEMA %I FROM PUBLIC', schema_name);
  -- default privileges of the owner may have given PUBLIC more than PostgreSQL does
  EXECUTE format('REVOKE ALL ON ALL TABLES IN SCHEMA %I FROM PUBLIC', schema_name);
  EXECUTE format('REVOKE ALL ON ALL SEQUENCES IN SCHEMA %I FROM PUBLIC', schema_name);
  EXECUTE format('REVOKE ALL ON ALL FUNCTIONS IN SCHEMA %I FROM PUBLIC', schema_name);

  FOREACH _role IN ARRAY ARRAY[_reader, _writer] LOOP
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = _role AND (rolcanlogin OR rolsuper)) THEN
      RAISE EXCEPTION 'The role % exists and is not a group: it can log in, or is a superuser', quote_ident(_role)
        USING ERRCODE = 'duplicate_object', CONSTRAINT = 'role_is_not_a_group',
          HINT = 'Rename that role, or give the namespace another schema.';
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = _role) THEN
      BEGIN
        EXECUTE format('CREATE ROLE %I NOLOGIN', _role);
        -- what drop_namespace_roles knows it by: a role that was there before is not evtool's to drop
        EXECUTE format('COMMENT ON ROLE %I IS %L', _role, 'made by evtool');
      EXCEPTION
        -- roles belong to the cluster: a migration of another database may have made it just now
        WHEN duplicate_object OR unique_violation THEN NULL;
        WHEN insufficient_privilege THEN
          RAISE NOTICE 'Not allowed to create the role %: only the owner can use the schema % for now',
            quote_ident(_role), quote_ident(schema_name)
            USING HINT = 'Run evtool migrate again as a role with CREATEROLE.';
          RETURN false;
      END;
    END IF;
  END LOOP;

  EXECUTE format('REVOKE ALL ON SCHEMA %I FROM %I, %I', schema_name, _reader, _writer);
  EXECUTE format('REVOKE ALL ON ALL TABLES IN SCHEMA %I FROM %I, %I', schema_name, _reader, _writer);
  EXECUTE format('REVOKE ALL ON ALL SEQUENCES IN SCHEMA %I FROM %I, %I', schema_name, _reader, _writer);
  EXECUTE format('REVOKE ALL ON ALL FUNCTIONS IN SCHEMA %I FROM %I, %I', schema_name, _reader, _writer);

  EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I, %I', schema_name, _reader, _writer);
  EXECUTE format('GRANT SELECT ON ALL TABLES IN SCHEMA %I TO %I, %I', schema_name, _reader, _writer);
  -- the watermark reads the sequence; SELECT does not allow nextval or setval
  EXECUTE format('GRANT SELECT ON ALL SEQUENCES IN SCHEMA %I TO %I, %I', schema_name, _reader, _writer);
  FOR _function IN
    SELECT oid FROM pg_proc WHERE pronamespace = quote_ident(schema_name)::regnamespace AND prokind = 'f'
  LOOP
    EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO %I', _function, _writer);
    IF (SELECT proname FROM pg_proc WHERE oid = _function) NOT IN ('write_message', 'write_messages', 'acquire_lock') THEN
      EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO %I', _function, _reader);
    END IF;
  END LOOP;

  -- so that evtool finds a namespace's schema for them
  EXECUTE format('GRANT USAGE ON SCHEMA evtool TO %I, %I', _reader, _writer);
  EXECUTE format('GRANT SELECT ON evtool.namespaces TO %I, %I', _reader, _writer);
  RETURN true;
END;
$$;
