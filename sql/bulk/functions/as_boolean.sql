-- true or false, spelt so; null for anything else: PostgreSQL itself would take yes, on, 1 and t.
CREATE OR REPLACE FUNCTION :"ns".as_boolean(value text)
RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE value WHEN 'true' THEN true WHEN 'false' THEN false END;
