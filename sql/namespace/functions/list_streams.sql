-- The streams of the namespace in the order of their names' bytes, each with the position of its last message.
-- Not in Message DB.
--
-- prefix: only streams whose name begins so. after: only streams behind this name, for the next page.
-- limit: how many at the most; -1 for all, NULL for 1000.
--
-- A loose scan of the index messages_stream: one descent finds the next name, one more its last position. So it costs
-- what the listed streams cost, however many messages they have and however many streams there are besides.
-- The collation is that of the column, but in an adopted table, where the index messages_stream_bytes has it.
CREATE OR REPLACE FUNCTION :"ns".list_streams(
  prefix varchar DEFAULT '',
  after varchar DEFAULT NULL,
  "limit" bigint DEFAULT 1000
)
RETURNS TABLE (stream_name varchar, version bigint)
LANGUAGE plpgsql STABLE
SET search_path = :"ns", pg_temp
AS $$
#variable_conflict use_column
DECLARE
  _prefix text := COALESCE(prefix, '');
  _after text := after;
  _limit bigint := NULLIF(COALESCE(list_streams."limit", 1000), -1);
BEGIN
  IF _after COLLATE "C" < _prefix COLLATE "C" THEN
    _after := NULL;
  END IF;

  RETURN QUERY
  WITH RECURSIVE streams (name) AS (
    (
      SELECT m.stream_name COLLATE "C"
      FROM messages AS m
      WHERE _after IS NULL AND m.stream_name COLLATE "C" >= _prefix
      ORDER BY m.stream_name COLLATE "C"
      LIMIT 1
    )
    UNION ALL
    (
      SELECT m.stream_name COLLATE "C"
      FROM messages AS m
      WHERE m.stream_name COLLATE "C" > _after
      ORDER BY m.stream_name COLLATE "C"
      LIMIT 1
    )
    UNION ALL
    SELECT (
      SELECT m.stream_name COLLATE "C"
      FROM messages AS m
      WHERE m.stream_name COLLATE "C" > streams.name
      ORDER BY m.stream_name COLLATE "C"
      LIMIT 1
    )
    FROM streams
    WHERE starts_with(streams.name, _prefix)
  )
  SELECT
    streams.name::varchar,
    (
      SELECT m.position
      FROM messages AS m
      WHERE m.stream_name COLLATE "C" = streams.name
      ORDER BY m.position DESC
      LIMIT 1
    )
  FROM streams
  WHERE starts_with(streams.name, _prefix)
  LIMIT _limit;
END;
$$;
