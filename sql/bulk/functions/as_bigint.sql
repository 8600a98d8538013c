-- A whole number without leading zeros, spaces, plus or point, in the range of a bigint; null for anything else.
CREATE OR REPLACE FUNCTION :"ns".as_bigint(value text)
RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN value ~ '^(0|-?[1-9][0-9]{0,18})$' THEN
  CASE WHEN value::numeric BETWEEN -9223372036854775808 AND 9223372036854775807 THEN value::bigint END END;
