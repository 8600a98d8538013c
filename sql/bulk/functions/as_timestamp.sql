-- A date and time without a zone: YYYY-MM-DD, then T or a space and HH:MM, :SS, .digits; null for anything else.
CREATE OR REPLACE FUNCTION :"ns".as_timestamp(value text)
RETURNS timestamp
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN :"ns".as_date(left(value, 10)) IS NOT NULL
  AND substr(value, 11) ~ '^([T ]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\.[0-9]{1,9})?)?)?$'
  THEN value::timestamp END;
