-- A day of the calendar as YYYY-MM-DD, of the years 0001 to 9999; null for anything else, such as now or 01/02/2024.
-- The pattern knows the lengths of the months and the leap years: PostgreSQL would raise.
CREATE OR REPLACE FUNCTION :"ns".as_date(value text)
RETURNS date
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN length(value) = 10 AND value ~ (
  '^(?!0000)([0-9]{4}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)'
  || '|02-(0[1-9]|1[0-9]|2[0-8]))|([0-9]{2}(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)-02-29)$')
  THEN value::date END;
