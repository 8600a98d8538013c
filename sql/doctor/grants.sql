-- Where the privileges in a namespace are not what evtool.grant_namespace gives: what is wrong (public, group, missing,
-- direct, role), the object, the role, the privileges, and the REVOKE that takes back what is too much.
WITH roles AS (
  SELECT evtool.role_name(:'ns', 'reader') AS reader, evtool.role_name(:'ns', 'writer') AS writer
), objects AS (
  SELECT 'SCHEMA' AS kind, quote_ident(nspname) AS object, COALESCE(nspacl, acldefault('n', nspowner)) AS acl,
    nspowner AS owner, 'USAGE' AS privilege, true AS reads
  FROM pg_namespace WHERE oid = to_regnamespace(quote_ident(:'ns'))
  UNION ALL
  SELECT CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, c.oid::regclass::text,
    COALESCE(c.relacl, acldefault(CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", c.relowner)),
    c.relowner, 'SELECT', true
  FROM pg_class AS c
  WHERE c.relnamespace = to_regnamespace(quote_ident(:'ns')) AND c.relkind IN ('r', 'v', 'm', 'f', 'p', 'S')
  UNION ALL
  SELECT 'ROUTINE', p.oid::regprocedure::text, COALESCE(p.proacl, acldefault('f', p.proowner)),
    p.proowner, 'EXECUTE', p.proname NOT IN ('write_message', 'write_messages', 'acquire_lock')
  FROM pg_proc AS p
  WHERE p.pronamespace = to_regnamespace(quote_ident(:'ns'))
), held AS (
  SELECT o.kind, o.object, o.owner, o.privilege, o.reads, a.grantee, a.privilege_type, a.is_grantable, false AS in_column
  FROM objects AS o, aclexplode(o.acl) AS a
  UNION ALL
  SELECT o.kind, o.object, o.owner, o.privilege, o.reads, a.grantee, a.privilege_type, a.is_grantable, true
  FROM objects AS o JOIN pg_attribute AS t ON t.attrelid = o.object::regclass, aclexplode(t.attacl) AS a
  WHERE o.kind = 'TABLE'
), judged AS (
  SELECT held.*, r.rolname,
    CASE
      WHEN held.grantee = held.owner THEN NULL
      WHEN held.grantee = 0 THEN 'public'
      WHEN r.rolname IN (roles.reader, roles.writer) THEN
        CASE WHEN held.in_column OR held.is_grantable OR held.privilege_type <> held.privilege
          OR (r.rolname = roles.reader AND NOT held.reads) THEN 'group' END
      WHEN (held.kind = 'TABLE' AND held.privilege_type IN ('INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'TRIGGER'))
        OR (held.kind = 'SEQUENCE' AND held.privilege_type IN ('USAGE', 'UPDATE'))
        OR (held.kind = 'SCHEMA' AND held.privilege_type = 'CREATE') THEN 'direct'
    END AS wrong
  FROM roles, held LEFT JOIN pg_roles AS r ON r.oid = held.grantee
)
SELECT wrong, lower(kind) || ' ' || object AS what, COALESCE(rolname, 'PUBLIC')::text AS role,
  string_agg(DISTINCT privilege_type, ', ' ORDER BY privilege_type) AS privileges,
  format('REVOKE %s ON %s %s FROM %s', string_agg(DISTINCT privilege_type, ', ' ORDER BY privilege_type), kind, object,
    COALESCE(quote_ident(rolname), 'PUBLIC')) AS revoke
FROM judged
WHERE wrong IS NOT NULL
GROUP BY wrong, kind, object, rolname
UNION ALL
SELECT 'missing', lower(o.kind) || ' ' || o.object, r.rolname::text, o.privilege, NULL
FROM roles, objects AS o, pg_roles AS r
WHERE (r.rolname = roles.writer OR (r.rolname = roles.reader AND o.reads))
  AND NOT EXISTS (
    SELECT FROM aclexplode(o.acl) AS a WHERE a.grantee = r.oid AND a.privilege_type = o.privilege)
UNION ALL
SELECT 'no group', 'role ' || quote_ident(wanted.role_name), wanted.role_name, NULL, NULL
FROM roles, unnest(ARRAY[roles.reader, roles.writer]) AS wanted (role_name)
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted.role_name)
UNION ALL
SELECT 'role', 'role ' || quote_ident(r.rolname) || CASE WHEN r.rolcanlogin THEN ' can log in' ELSE ' is privileged' END,
  r.rolname::text, '',
  format('ALTER ROLE %I NOLOGIN NOSUPERUSER NOCREATEROLE NOCREATEDB NOREPLICATION NOBYPASSRLS', r.rolname)
FROM roles, pg_roles AS r
WHERE r.rolname IN (roles.reader, roles.writer)
  AND (r.rolcanlogin OR r.rolsuper OR r.rolcreaterole OR r.rolcreatedb OR r.rolreplication OR r.rolbypassrls)
UNION ALL
SELECT 'role', 'role ' || quote_ident(roles.reader) || ' is a writer', roles.reader, '',
  format('REVOKE %I FROM %I', roles.writer, roles.reader)
FROM roles JOIN pg_auth_members AS m
  ON m.roleid = to_regrole(quote_ident(roles.writer)) AND m.member = to_regrole(quote_ident(roles.reader))
UNION ALL
SELECT 'no look', 'role ' || quote_ident(r.rolname), r.rolname::text, NULL, NULL
FROM roles, pg_roles AS r
WHERE r.rolname IN (roles.reader, roles.writer) AND NOT EXISTS (
  SELECT FROM pg_auth_members WHERE roleid = to_regrole('evtool_reader') AND member = r.oid)
ORDER BY 1, 2, 3
