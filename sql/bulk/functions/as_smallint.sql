-- As as_bigint, in the range of a smallint.
CREATE OR REPLACE FUNCTION :"ns".as_smallint(value text)
RETURNS smallint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN value ~ '^(0|-?[1-9][0-9]{0,4})$' THEN
  CASE WHEN value::integer BETWEEN -32768 AND 32767 THEN value::smallint END END;
