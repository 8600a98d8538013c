-- The messages of a stream from a position on, in the order of their positions.
--
-- position: the first position wanted (NULL: 0). batch_size: how many at the most; -1 for all, NULL for 1000.
-- condition: SQL over the columns of messages, where the setting message_store.sql_condition allows it.
--
-- The plans are settled in the header: generic, since planning costs more than reading a page, and in the order of an
-- index, since a session keeps its plan, and one that sorts, made while the table was small, would stay as it grows.
CREATE OR REPLACE FUNCTION :"ns".get_stream_messages(
  stream_name varchar,
  "position" bigint DEFAULT 0,
  batch_size bigint DEFAULT 1000,
  condition varchar DEFAULT NULL
)
RETURNS SETOF :"ns".message
LANGUAGE plpgsql STABLE
SET search_path = :"ns", pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_sort = off
AS $$
DECLARE
  _limit bigint;
  _from text;
  _check refcursor;
BEGIN
  IF is_category(get_stream_messages.stream_name) THEN
    RAISE EXCEPTION 'Must be a stream name: %', get_stream_messages.stream_name
      USING CONSTRAINT = 'stream_name';
  END IF;

  get_stream_messages.position := COALESCE(get_stream_messages.position, 0);
  batch_size := COALESCE(batch_size, 1000);
  _limit := NULLIF(batch_size, -1);

  IF get_stream_messages.condition IS NOT NULL
    AND COALESCE(current_setting('message_store.sql_condition', true), 'off') = 'off' THEN
    RAISE EXCEPTION 'Retrieval with SQL condition is not activated'
      USING CONSTRAINT = 'sql_condition';
  END IF;

  IF current_setting('message_store.debug_get', true) = 'on' OR current_setting('message_store.debug', true) = 'on' THEN
    RAISE NOTICE '» get_stream_messages';
    RAISE NOTICE 'stream_name ($1): %', get_stream_messages.stream_name;
    RAISE NOTICE 'position ($2): %', get_stream_messages.position;
    RAISE NOTICE 'batch_size ($3): %', batch_size;
    RAISE NOTICE 'condition ($4): %', get_stream_messages.condition;
  END IF;

  IF get_stream_messages.condition IS NULL THEN
    RETURN QUERY
    SELECT m.id::varchar, m.stream_name::varchar, m.type::varchar, m.position, m.global_position,
      m.data::varchar, m.metadata::varchar, m.time
    FROM messages AS m
    WHERE m.stream_name = get_stream_messages.stream_name
      AND m.position >= get_stream_messages.position
    ORDER BY m.position
    LIMIT _limit;
    RETURN;
  END IF;

  -- The condition is somebody's text. It filters a subquery that already holds just this stream, so nothing that
  -- stays inside the WHERE can widen it; and what would leave the WHERE (UNION, a second statement, a comment) does
  -- not parse as an operand of CASE, which it is held against first, without reading a row. A cursor does that,
  -- because it takes a single statement, where EXECUTE would run a second one.
  _from := ' FROM (SELECT * FROM messages WHERE stream_name = $1 AND position >= $2) AS messages ';
  OPEN _check FOR EXECUTE
    'SELECT CASE WHEN (' || get_stream_messages.condition || E'\n) THEN true END' || _from || 'LIMIT 0'
  USING get_stream_messages.stream_name, get_stream_messages.position, _limit;
  CLOSE _check;
  RETURN QUERY EXECUTE
    'SELECT id::varchar, stream_name::varchar, type::varchar, position, global_position,'
    ' data::varchar, metadata::varchar, time' || _from
    || 'WHERE (' || get_stream_messages.condition || E'\n) ORDER BY messages.position LIMIT $3'
  USING get_stream_messages.stream_name, get_stream_messages.position, _limit;
END;
$$;
