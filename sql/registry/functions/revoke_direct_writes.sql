-- Takes back what lets a role write into an adopted table around its functions: INSERT, and the sequence. Returns whether
-- anybody had it. Run it when no transaction is left that has begun before the functions were replaced, for Message DB's
-- own write_message inserts with its caller's rights. What a DBA gave besides is left, and told.
CREATE OR REPLACE FUNCTION evtool.revoke_direct_writes(schema_name text)
RETURNS boolean
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  _class record;
  _any boolean := false;
BEGIN
  FOR _class IN
    SELECT DISTINCT c.relname, c.relkind, a.grantee::regrole AS role, a.privilege_type AS privilege
    FROM pg_class AS c, aclexplode(c.relacl) AS a
    WHERE c.relnamespace = to_regnamespace(quote_ident(schema_name))
      AND c.relname IN ('messages', 'messages_global_position_seq')
      AND a.grantee NOT IN (0, c.relowner) AND a.privilege_type <> 'SELECT'
    ORDER BY 1, 3, 4
  LOOP
    IF _class.relkind = 'S' THEN
      EXECUTE format('REVOKE %s ON SEQUENCE %I.%I FROM %s', _class.privilege, schema_name, _class.relname, _class.role);
      _any := true;
    ELSIF _class.privilege = 'INSERT' THEN
      EXECUTE format('REVOKE INSERT ON %I.%I FROM %s', schema_name, _class.relname, _class.role);
      _any := true;
    ELSE
      RAISE NOTICE 'The role % keeps % on %.messages, which goes around the functions',
        _class.role, _class.privilege, quote_ident(schema_name)
        USING HINT = format('REVOKE %s ON %I.messages FROM %s', _class.privilege, schema_name, _class.role);
    END IF;
  END LOOP;
  RETURN _any;
END;
$$;
