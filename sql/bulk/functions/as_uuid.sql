-- A UUID in the form that PostgreSQL writes, any case; null for other spellings, such as {…} or without hyphens.
CREATE OR REPLACE FUNCTION :"ns".as_uuid(value text)
RETURNS uuid
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN value ~ '^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$'
  THEN value::uuid END;
