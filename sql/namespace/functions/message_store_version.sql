-- The version of Message DB whose contract these functions keep.
CREATE OR REPLACE FUNCTION :"ns".message_store_version()
RETURNS varchar
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN '1.3.0'::varchar;
