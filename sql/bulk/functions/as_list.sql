-- The elements of a JSON array, as texts. Each must be of the kind that is named, string, number or boolean, or null; of
-- any kind they are texts of JSON. Arrays in the array make it one of several dimensions, if they are of one length;
-- null for what is no such array.
CREATE OR REPLACE FUNCTION :"ns".as_list(value text, kind text)
RETURNS text[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = :"ns", pg_temp
AS $$
DECLARE
  _kinds text[];
BEGIN
  IF value IS NULL OR value !~ '^\s*\[' THEN
    RETURN NULL;
  END IF;
  _kinds := ARRAY(SELECT DISTINCT json_typeof(element) FROM json_array_elements(value::json) AS element);
  IF kind = 'any' THEN
    RETURN ARRAY(
      SELECT CASE WHEN json_typeof(element) <> 'null' THEN element::text END
      FROM json_array_elements(value::json) WITH ORDINALITY AS e(element, place)
      ORDER BY place
    );
  ELSIF _kinds <@ ARRAY[kind, 'null'] THEN
    RETURN ARRAY(SELECT json_array_elements_text(value::json));
  ELSIF _kinds = ARRAY['array'] THEN
    RETURN (
      SELECT array_agg(as_list(element::text, kind) ORDER BY place)
      FROM json_array_elements(value::json) WITH ORDINALITY AS e(element, place)
    );
  END IF;
  RETURN NULL;
EXCEPTION
  WHEN data_exception OR program_limit_exceeded THEN
    RETURN NULL;
END;
$$;
