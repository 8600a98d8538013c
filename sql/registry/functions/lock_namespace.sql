-- Takes the lock under which a namespace is deleted: on its table first, as everybody does who uses it, so that nobody who
-- holds the table waits for somebody who holds its sequence. Does nothing where there is no such table.
CREATE OR REPLACE FUNCTION evtool.lock_namespace(schema_name text)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF to_regclass(format('%I.messages', schema_name)) IS NOT NULL THEN
    EXECUTE format('LOCK TABLE %I.messages IN ACCESS EXCLUSIVE MODE', schema_name);
  END IF;
END;
$$;
