-- What `evtool ns adopt` finds in a schema: 'message_db' for a store that Message DB 1.3.0 installed, 'evtool' for one
-- that evtool made and the registry does not know (a restored backup), 'registered' for one that the namespace has.
-- Raises with the reason where it is none of them, or where the caller lacks what adopting takes. Runs none of the
-- functions that it looks at.
CREATE OR REPLACE FUNCTION evtool.check_adoptable(schema_name text, namespace text)
RETURNS text
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  _schema constant oid := to_regnamespace(quote_ident(schema_name));
  _table oid;
  _role constant name := current_user;
  _found text;
  _owner name;
BEGIN
  -- by name alone, and the functions below only for who may use the schema, or they would raise
  SELECT oid INTO _table FROM pg_class WHERE relname = 'messages' AND relnamespace = _schema;
  SELECT name INTO _found FROM evtool.namespaces WHERE namespaces.schema_name = check_adoptable.schema_name;
  IF _found = namespace AND _table IS NOT NULL THEN
    RETURN 'registered';
  ELSIF _found IS NOT NULL THEN
    RAISE EXCEPTION 'The schema % belongs to the namespace %', quote_ident(schema_name), quote_literal(_found)
      USING CONSTRAINT = 'schema_taken';
  END IF;
  SELECT namespaces.schema_name INTO _found FROM evtool.namespaces WHERE name = namespace;
  IF _found IS NOT NULL THEN
    RAISE EXCEPTION 'The namespace % lives in the schema %', quote_literal(namespace), quote_ident(_found)
      USING CONSTRAINT = 'namespace_taken';
  ELSIF starts_with(schema_name, 'pg_') OR schema_name IN ('evtool', 'information_schema', 'public') THEN
    RAISE EXCEPTION 'The schema name % is reserved', quote_ident(schema_name)
      USING CONSTRAINT = 'schema_reserved';
  ELSIF _schema IS NULL THEN
    RAISE EXCEPTION 'There is no schema %', quote_ident(schema_name)
      USING CONSTRAINT = 'not_adoptable', HINT = 'evtool ns create makes one.';
  ELSIF _table IS NULL OR (SELECT relkind <> 'r' FROM pg_class WHERE oid = _table) THEN
    RAISE EXCEPTION 'The schema % has no table messages', quote_ident(schema_name)
      USING CONSTRAINT = 'not_adoptable', HINT = 'Only a store of Message DB, or of evtool, can be adopted.';
  END IF;

  -- functions that write run with their owner's rights, and evtool replaces them
  FOR _owner, _found IN
    SELECT pg_get_userbyid(nspowner), format('the schema %I', nspname) FROM pg_namespace WHERE oid = _schema
    UNION ALL
    SELECT pg_get_userbyid(relowner), oid::regclass::text FROM pg_class
    WHERE relnamespace = _schema AND relkind IN ('r', 'v', 'S')
    UNION ALL
    SELECT pg_get_userbyid(proowner), oid::regprocedure::text FROM pg_proc WHERE pronamespace = _schema
  LOOP
    IF NOT pg_has_role(_owner, 'USAGE') THEN
      RAISE EXCEPTION '% belongs to %, and % is not a member of that role', _found, quote_ident(_owner), quote_ident(_role)
        USING ERRCODE = 'insufficient_privilege', HINT = format('GRANT %I TO %I', _owner, _role);
    END IF;
  END LOOP;
  IF has_schema_privilege('public', _schema, 'USAGE') THEN
    RAISE EXCEPTION 'Everybody may use the schema %, and a namespace has members instead', quote_ident(schema_name)
      USING CONSTRAINT = 'not_adoptable', HINT = format('GRANT USAGE ON SCHEMA %1$I TO whoever needs it, then REVOKE '
        'USAGE ON SCHEMA %1$I FROM PUBLIC.', schema_name);
  END IF;

  IF to_regclass(format('%I.evtool_version', schema_name)) IS NOT NULL THEN
    RETURN 'evtool';
  END IF;

  SELECT string_agg(attname || ' ' || format_type(atttypid, atttypmod), ', ' ORDER BY attnum) INTO _found
  FROM pg_attribute WHERE attrelid = _table AND attnum > 0 AND NOT attisdropped;
  IF _found <> 'global_position bigint, position bigint, time timestamp without time zone, stream_name text, type text, '
    'data jsonb, metadata jsonb, id uuid' THEN
    RAISE EXCEPTION 'The table %.messages is not Message DB''s: its columns are %', quote_ident(schema_name), _found
      USING CONSTRAINT = 'not_adoptable';
  ELSIF pg_get_serial_sequence(format('%I.messages', schema_name), 'global_position')
    IS DISTINCT FROM format('%I.messages_global_position_seq', schema_name) THEN
    RAISE EXCEPTION 'The global positions of %.messages do not come from its own sequence', quote_ident(schema_name)
      USING CONSTRAINT = 'not_adoptable';
  END IF;

  SELECT string_agg(signature, ', ') INTO _found
  FROM unnest(ARRAY[
    'acquire_lock(varchar)', 'cardinal_id(varchar)', 'category(varchar)', 'hash_64(varchar)', 'id(varchar)',
    'get_category_messages(varchar,bigint,bigint,varchar,bigint,bigint,varchar)', 'is_category(varchar)',
    'get_last_stream_message(varchar,varchar)', 'get_stream_messages(varchar,bigint,bigint,varchar)',
    'message_store_version()', 'stream_version(varchar)', 'write_message(varchar,varchar,varchar,jsonb,jsonb,bigint)'
  ]) AS signature
  WHERE to_regprocedure(format('%I.%s', schema_name, signature)) IS NULL;
  IF _found IS NOT NULL THEN
    RAISE EXCEPTION 'The schema % lacks functions of Message DB 1.3.0: %', quote_ident(schema_name), _found
      USING CONSTRAINT = 'not_adoptable', HINT = 'Bring it to 1.3.0 by Message DB''s own update script first.';
  ELSIF (
    SELECT strpos(prosrc, '''1.3.0''') = 0 FROM pg_proc
    WHERE oid = to_regprocedure(format('%I.message_store_version()', schema_name))
  ) THEN
    RAISE EXCEPTION 'The schema % is of another version of Message DB than 1.3.0', quote_ident(schema_name)
      USING CONSTRAINT = 'not_adoptable', HINT = 'Bring it to 1.3.0 by Message DB''s own update script first.';
  END IF;

  SELECT string_agg(index, ', ') INTO _found
  FROM unnest(ARRAY['messages_pkey', 'messages_id', 'messages_stream', 'messages_category']) AS index
  WHERE NOT EXISTS (
    SELECT FROM pg_index
    WHERE indexrelid = to_regclass(format('%I.%I', schema_name, index)) AND indrelid = _table AND indisvalid
      AND (indisunique OR index = 'messages_category'));
  IF _found IS NOT NULL THEN
    RAISE EXCEPTION 'The table %.messages lacks valid indexes of Message DB: %', quote_ident(schema_name), _found
      USING CONSTRAINT = 'not_adoptable', HINT = 'Make them by Message DB''s own install script first.';
  END IF;

  IF NOT (SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = _role)
    AND (to_regrole(quote_ident(evtool.role_name(schema_name, 'reader'))) IS NULL
      OR to_regrole(quote_ident(evtool.role_name(schema_name, 'writer'))) IS NULL) THEN
    RAISE EXCEPTION '% may not create the group roles that its clients will belong to', quote_ident(_role)
      USING ERRCODE = 'insufficient_privilege', HINT = format('ALTER ROLE %I CREATEROLE, or adopt as a superuser.', _role);
  END IF;
  RETURN 'message_db';
END;
$$;
