-- Makes those whom Message DB let into a schema members of the namespace's groups: whoever may INSERT, or was given
-- write_message, writes; whoever may only look reads. What they had stays until revoke_direct_writes.
CREATE OR REPLACE FUNCTION evtool.adopt_roles(schema_name text)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  _role name;
  _group name;
BEGIN
  FOR _role, _group IN
    SELECT r.rolname, evtool.role_name(schema_name, CASE WHEN bool_or(held.writes) THEN 'writer' ELSE 'reader' END)
    FROM (
      SELECT acl.grantee, acl.privilege_type = 'INSERT' AS writes
      FROM pg_class, aclexplode(relacl) AS acl
      WHERE oid = to_regclass(format('%I.messages', schema_name)) AND acl.privilege_type IN ('SELECT', 'INSERT')
      UNION ALL
      SELECT acl.grantee, true
      FROM pg_proc, aclexplode(proacl) AS acl
      WHERE proname = 'write_message' AND pronamespace = to_regnamespace(quote_ident(schema_name))
    ) AS held
    JOIN pg_roles AS r ON r.oid = held.grantee
    WHERE NOT r.rolsuper AND has_schema_privilege(r.oid, quote_ident(schema_name), 'USAGE')
      AND r.rolname NOT IN (evtool.role_name(schema_name, 'reader'), evtool.role_name(schema_name, 'writer'))
      AND r.oid <> (SELECT nspowner FROM pg_namespace WHERE oid = to_regnamespace(quote_ident(schema_name)))
    GROUP BY r.rolname
    ORDER BY r.rolname
  LOOP
    IF NOT pg_has_role(_role, _group, 'MEMBER') THEN
      EXECUTE format('GRANT %I TO %I', _group, _role);
    END IF;
    RAISE NOTICE 'The role % is a member of %', quote_ident(_role), quote_ident(_group);
  END LOOP;
END;
$$;
