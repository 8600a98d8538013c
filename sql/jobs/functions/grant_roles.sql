-- Makes the three group roles of the queue where it may, and gives them their privileges; PUBLIC loses all.
-- Returns whether the roles are there; where the caller may not create roles, it says so in a NOTICE and returns false.
--
-- evtool_jobs_reader looks: status, errors. evtool_jobs_submitter does too, and submits, cancels, retries and purges.
-- evtool_jobs_worker does what workers do. Nobody but the owner writes the tables: the functions are SECURITY DEFINER.
-- What a job reads and writes is done with the worker's own rights on its tables.
CREATE OR REPLACE FUNCTION evtool_jobs.grant_roles()
RETURNS boolean
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  _role name;
  _function record;
  _roles name[] := ARRAY['evtool_jobs_reader', 'evtool_jobs_submitter', 'evtool_jobs_worker'];
BEGIN
  REVOKE ALL ON SCHEMA evtool_jobs FROM PUBLIC;
  -- default privileges of the owner may have given PUBLIC more than PostgreSQL does
  REVOKE ALL ON ALL TABLES IN SCHEMA evtool_jobs FROM PUBLIC;
  REVOKE ALL ON ALL SEQUENCES IN SCHEMA evtool_jobs FROM PUBLIC;
  REVOKE ALL ON ALL FUNCTIONS IN SCHEMA evtool_jobs FROM PUBLIC;

  FOREACH _role IN ARRAY _roles LOOP
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = _role AND (rolcanlogin OR rolsuper)) THEN
      RAISE EXCEPTION 'The role % exists and is not a group: it can log in, or is a superuser', quote_ident(_role)
        USING ERRCODE = 'duplicate_object', CONSTRAINT = 'role_is_not_a_group', HINT = 'Rename that role.';
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = _role) THEN
      BEGIN
        EXECUTE format('CREATE ROLE %I NOLOGIN', _role);
        EXECUTE format('COMMENT ON ROLE %I IS %L', _role, 'made by evtool');
      EXCEPTION
        -- roles belong to the cluster: somebody may have made it for another database just now
        WHEN duplicate_object OR unique_violation THEN NULL;
        WHEN insufficient_privilege THEN
          RAISE NOTICE 'Not allowed to create the role %: only the owner can use the queue for now', quote_ident(_role)
            USING HINT = 'Run evtool bulk jobs --init again as a role with CREATEROLE.';
          RETURN false;
      END;
    END IF;
    EXECUTE format('REVOKE ALL ON ALL TABLES IN SCHEMA evtool_jobs FROM %I', _role);
    EXECUTE format('REVOKE ALL ON ALL FUNCTIONS IN SCHEMA evtool_jobs FROM %I', _role);
    EXECUTE format('GRANT USAGE ON SCHEMA evtool_jobs TO %I', _role);
    EXECUTE format('GRANT SELECT ON ALL TABLES IN SCHEMA evtool_jobs TO %I', _role);
  END LOOP;

  FOR _function IN
    SELECT oid::regprocedure AS name, proname FROM pg_proc WHERE pronamespace = 'evtool_jobs'::regnamespace
  LOOP
    IF _function.proname IN ('submit', 'cancel', 'retry', 'purge') THEN
      EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO evtool_jobs_submitter', _function.name);
    ELSIF _function.proname IN (
      'claim', 'evict', 'heartbeat', 'found_source', 'record_batch', 'finish', 'fail', 'release') THEN
      EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO evtool_jobs_worker', _function.name);
    END IF;
  END LOOP;
  RETURN true;
END;
$$;
