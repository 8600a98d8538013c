-- The first 64 bits of a value's md5, as a signed big-endian integer; NULL for NULL.
CREATE OR REPLACE FUNCTION :"ns".hash_64(value varchar)
RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN ('x' || md5(value))::bit(64)::bigint;
