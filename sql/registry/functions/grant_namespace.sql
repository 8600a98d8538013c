-- Makes the group roles of a namespace where it may, and gives them their privileges; PUBLIC loses all.
-- Returns whether the roles are there. Where the caller may not create roles, it says so in a NOTICE, returns false,
-- and the namespace is its owner's alone until a run by somebody who may.
--
-- Readers SELECT and call what reads. Writers do too and call what writes, which is SECURITY DEFINER: they have no
-- INSERT, so no message gets around the lock or to a position of its writer's choice.
--
-- What is right already is not touched: each change of a privilege leaves a dead row in the catalog. The objects of a
-- schema are found by pg_depend's index, for pg_proc and pg_class have none by schema, and grow with every namespace.
CREATE OR REPLACE FUNCTION evtool.grant_namespace(schema_name text)
RETURNS boolean
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  _reader constant name := evtool.role_name(schema_name, 'reader');
  _writer constant name := evtool.role_name(schema_name, 'writer');
  _schema constant oid := quote_ident(schema_name)::regnamespace;
  _has_groups boolean := true;
  _role name;
  _object record;
BEGIN
  FOREACH _role IN ARRAY ARRAY[_reader, _writer] LOOP
    IF NOT evtool.ensure_group(_role) THEN
      RAISE NOTICE 'Not allowed to create the role %: only the owner can use the schema % for now',
        quote_ident(_role), quote_ident(schema_name)
        USING HINT = 'Run evtool migrate again as a role with CREATEROLE.';
      _has_groups := false;
      EXIT;
    END IF;
  END LOOP;

  FOR _object IN
    WITH objects AS (
      SELECT 'SCHEMA' AS kind, quote_ident(nspname) AS object, COALESCE(nspacl, acldefault('n', nspowner)) AS acl,
        'USAGE' AS privilege, true AS reads
      FROM pg_namespace WHERE oid = _schema
      UNION ALL
      SELECT CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, c.oid::regclass::text,
        COALESCE(c.relacl, acldefault(CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", c.relowner)),
        -- the watermark reads the sequence; SELECT does not allow nextval or setval
        'SELECT', true
      FROM pg_depend AS d JOIN pg_class AS c ON c.oid = d.objid
      WHERE d.refclassid = 'pg_namespace'::regclass AND d.refobjid = _schema AND d.classid = 'pg_class'::regclass
        AND c.relkind IN ('r', 'v', 'm', 'f', 'p', 'S')
      UNION ALL
      SELECT 'ROUTINE', p.oid::regprocedure::text, COALESCE(p.proacl, acldefault('f', p.proowner)),
        'EXECUTE', p.proname NOT IN ('write_message', 'write_messages', 'acquire_lock')
      FROM pg_depend AS d JOIN pg_proc AS p ON p.oid = d.objid
      WHERE d.refclassid = 'pg_namespace'::regclass AND d.refobjid = _schema AND d.classid = 'pg_proc'::regclass
    )
    SELECT kind, object, privilege, reads, held.grantees
    FROM objects,
      LATERAL (
        SELECT COALESCE(array_agg(acl.grantee || ' ' || acl.privilege_type
            || CASE WHEN acl.is_grantable THEN '*' ELSE '' END ORDER BY 1), '{}') AS privileges,
          COALESCE(string_agg(DISTINCT COALESCE(quote_ident(r.rolname), 'PUBLIC'), ', '), '') AS grantees
        FROM aclexplode(objects.acl) AS acl LEFT JOIN pg_roles AS r ON r.oid = acl.grantee
        WHERE acl.grantee = 0 OR r.rolname IN (_reader, _writer)
      ) AS held,
      LATERAL (
        SELECT COALESCE(array_agg(oid || ' ' || objects.privilege ORDER BY 1), '{}') AS privileges
        FROM pg_roles
        WHERE _has_groups AND (rolname = _writer OR (rolname = _reader AND objects.reads))
      ) AS wanted
    WHERE held.privileges <> wanted.privileges
      OR (kind = 'TABLE' AND EXISTS (
        SELECT FROM pg_attribute, aclexplode(attacl) AS acl LEFT JOIN pg_roles AS r ON r.oid = acl.grantee
        WHERE attrelid = object::regclass AND (acl.grantee = 0 OR r.rolname IN (_reader, _writer))))
  LOOP
    EXECUTE format('REVOKE ALL ON %s %s FROM PUBLIC', _object.kind, _object.object);
    CONTINUE WHEN NOT _has_groups;
    IF _object.grantees NOT IN ('', 'PUBLIC') OR _object.kind = 'TABLE' THEN
      EXECUTE format('REVOKE ALL ON %s %s FROM %I, %I', _object.kind, _object.object, _reader, _writer);
    END IF;
    EXECUTE format('GRANT %s ON %s %s TO %I', _object.privilege, _object.kind, _object.object, _writer)
      || CASE WHEN _object.reads THEN format(', %I', _reader) ELSE '' END;
  END LOOP;

  IF NOT _has_groups THEN
    RETURN false;
  END IF;
  PERFORM evtool.grant_registry(_reader);
  PERFORM evtool.grant_registry(_writer);
  RETURN true;
END;
$$;
