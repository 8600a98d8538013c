-- As as_bigint, in the range of an integer.
CREATE OR REPLACE FUNCTION :"ns".as_integer(value text)
RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN value ~ '^(0|-?[1-9][0-9]{0,9})$' THEN
  CASE WHEN value::bigint BETWEEN -2147483648 AND 2147483647 THEN value::integer END END;
