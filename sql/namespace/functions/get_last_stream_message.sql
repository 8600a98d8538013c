-- The last message of a stream, or the last of a type in it; no row where there is none.
-- The name isn't checked, and '' is a type like any other. For the plans see get_stream_messages.
CREATE OR REPLACE FUNCTION :"ns".get_last_stream_message(
  stream_name varchar,
  type varchar DEFAULT NULL
)
RETURNS SETOF :"ns".message
LANGUAGE plpgsql STABLE
SET search_path = :"ns", pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_sort = off
AS $$
BEGIN
  IF current_setting('message_store.debug_get', true) = 'on' OR current_setting('message_store.debug', true) = 'on' THEN
    RAISE NOTICE '» get_last_message';
    RAISE NOTICE 'stream_name ($1): %', get_last_stream_message.stream_name;
    RAISE NOTICE 'type ($2): %', get_last_stream_message.type;
  END IF;

  IF get_last_stream_message.type IS NULL THEN
    RETURN QUERY
    SELECT m.id::varchar, m.stream_name::varchar, m.type::varchar, m.position, m.global_position,
      m.data::varchar, m.metadata::varchar, m.time
    FROM messages AS m
    WHERE m.stream_name = get_last_stream_message.stream_name
    ORDER BY m.position DESC
    LIMIT 1;
  ELSE
    RETURN QUERY
    SELECT m.id::varchar, m.stream_name::varchar, m.type::varchar, m.position, m.global_position,
      m.data::varchar, m.metadata::varchar, m.time
    FROM messages AS m
    WHERE m.stream_name = get_last_stream_message.stream_name
      AND m.type = get_last_stream_message.type
    ORDER BY m.position DESC
    LIMIT 1;
  END IF;
END;
$$;
