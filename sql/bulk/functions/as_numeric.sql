-- A number as JSON writes it; null for anything else, NaN and Infinity included. The exponent has three digits at the
-- most, and the whole ten thousand, so that no spelling is out of PostgreSQL's range.
CREATE OR REPLACE FUNCTION :"ns".as_numeric(value text)
RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN length(value) <= 10000 AND value ~ '^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]{1,3})?$'
  THEN value::numeric END;
