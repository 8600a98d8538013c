-- The messages of all streams from a global position on, in the order of their global positions. Not in Message DB.
--
-- position: the first global position wanted (NULL: 1). batch_size: how many at the most; -1 for all, NULL for 1000.
-- Gap-safe: it reads up to the watermark, so a message with a smaller position can't appear later. It waits for
-- writers that are busy when it is called (see watermark), and needs READ COMMITTED, for each of its statements must
-- see what was committed before it. For the plans see get_stream_messages.
CREATE OR REPLACE FUNCTION :"ns".get_all_messages(
  "position" bigint DEFAULT 1,
  batch_size bigint DEFAULT 1000
)
RETURNS SETOF :"ns".message
LANGUAGE plpgsql VOLATILE
SET search_path = :"ns", pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_sort = off
AS $$
DECLARE
  _watermark bigint;
  _limit bigint := NULLIF(COALESCE(batch_size, 1000), -1);
BEGIN
  get_all_messages.position := COALESCE(get_all_messages.position, 1);

  IF current_setting('message_store.debug_get', true) = 'on' OR current_setting('message_store.debug', true) = 'on' THEN
    RAISE NOTICE '» get_all_messages';
    RAISE NOTICE 'position ($1): %', get_all_messages.position;
    RAISE NOTICE 'batch_size ($2): %', batch_size;
  END IF;

  _watermark := watermark();

  RETURN QUERY
  SELECT m.id::varchar, m.stream_name::varchar, m.type::varchar, m.position, m.global_position,
    m.data::varchar, m.metadata::varchar, m.time
  FROM messages AS m
  WHERE m.global_position >= get_all_messages.position
    AND m.global_position <= _watermark
  ORDER BY m.global_position
  LIMIT _limit;
END;
$$;
