-- A moment: YYYY-MM-DD, then T or a space and HH:MM, :SS, .digits, then Z or an offset; null for anything else, such
-- as now, infinity or a zone's name. Without a zone it is UTC, whatever the session's is. The first branch is what
-- files mostly hold, in one look; the others are as exact and take longer.
CREATE OR REPLACE FUNCTION :"ns".as_timestamptz(value text)
RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE
RETURN CASE
  WHEN left(value, 4) = '0000' THEN NULL
  WHEN value ~ (
    '^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])[T ]([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,9})?Z$')
  THEN value::timestamptz
  WHEN :"ns".as_date(left(value, 10)) IS NULL THEN NULL
  WHEN substr(value, 11)
    ~ '^[T ]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\.[0-9]{1,9})?)?(Z|[+-](0[0-9]|1[0-4])(:?[0-5][0-9])?)$'
  THEN value::timestamptz
  WHEN substr(value, 11) ~ '^([T ]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\.[0-9]{1,9})?)?)?$'
  THEN value::timestamp AT TIME ZONE 'UTC'
  END;
