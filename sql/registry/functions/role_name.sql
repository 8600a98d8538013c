-- The name of a namespace's group role; kind is 'reader' or 'writer'.
-- A name ends at 63 bytes (NAMEDATALEN - 1), and PostgreSQL would cut a longer one silently, so that two schemas
-- could share a role: a schema whose role's name would be longer gets one by its md5. So does the schema pg, for
-- names of roles that begin with pg_ are PostgreSQL's own, and a schema that is named like such a role.
CREATE OR REPLACE FUNCTION evtool.role_name(schema_name text, kind text)
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
  WHEN octet_length(schema_name || '_' || kind) <= 63 AND schema_name <> 'pg'
    AND schema_name !~ '^evtool_[0-9a-f]{32}$' THEN schema_name || '_' || kind
  ELSE 'evtool_' || md5(schema_name) || '_' || kind
END;
