-- Whether a namespace's schema is to be made: true where it is new, false where this very namespace has it already.
-- Raises where the schema belongs to another namespace, is reserved, or exists and is not ours, and where the
-- namespace has another schema.
CREATE OR REPLACE FUNCTION evtool.check_schema_name(schema_name text, namespace text)
RETURNS boolean
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  _owner text;
  _schema text;
BEGIN
  IF schema_name = '' OR octet_length(schema_name) > 63 THEN
    RAISE EXCEPTION 'A schema''s name has 1 to 63 bytes; this one has %', octet_length(schema_name)
      USING CONSTRAINT = 'schema_name_length';
  END IF;
  IF starts_with(schema_name, 'pg_') OR schema_name IN ('evtool', 'information_schema', 'public') THEN
    RAISE EXCEPTION 'The schema name % is reserved', quote_ident(schema_name)
      USING CONSTRAINT = 'schema_reserved';
  END IF;

  SELECT name INTO _owner FROM evtool.namespaces WHERE namespaces.schema_name = check_schema_name.schema_name;
  IF _owner = namespace AND to_regnamespace(quote_ident(schema_name)) IS NOT NULL THEN
    RETURN false;
  ELSIF _owner IS NOT NULL THEN
    RAISE EXCEPTION 'The schema % belongs to the namespace %', quote_ident(schema_name), quote_literal(_owner)
      USING CONSTRAINT = 'schema_taken';
  END IF;

  SELECT namespaces.schema_name INTO _schema FROM evtool.namespaces WHERE name = namespace;
  IF _schema IS NOT NULL THEN
    RAISE EXCEPTION 'The namespace % lives in the schema %', quote_literal(namespace), quote_ident(_schema)
      USING CONSTRAINT = 'namespace_taken';
  ELSIF to_regnamespace(quote_ident(schema_name)) IS NOT NULL THEN
    RAISE EXCEPTION 'The schema % exists and is not a namespace of evtool', quote_ident(schema_name)
      USING CONSTRAINT = 'schema_not_ours';
  END IF;
  RETURN true;
END;
$$;
