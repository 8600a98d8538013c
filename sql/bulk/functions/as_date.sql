-- A day of the calendar as YYYY-MM-DD, of the years 0001 to 9999; null for anything else, such as now or 01/02/2024.
-- Days that each month has need no more than a look; for the others the pattern knows the lengths of the months and
-- the leap years, where PostgreSQL would raise.
CREATE OR REPLACE FUNCTION :"ns".as_date(value text)
RETURNS date
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN length(value) <> 10 OR left(value, 4) = '0000' THEN NULL
  WHEN value ~ '^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])$' THEN value::date
  WHEN value ~ (
    '^([0-9]{4}-((0[13578]|1[02])-(29|3[01])|(0[469]|11)-(29|30))'
    || '|([0-9]{2}(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)-02-29)$')
  THEN value::date END;
