-- The categories of the namespace in the order of their names' bytes, with how many streams and messages each has.
-- Not in Message DB.
--
-- One pass over the index messages_stream, which is in the order of streams: they are counted as they come.
CREATE OR REPLACE FUNCTION :"ns".list_categories()
RETURNS TABLE (category varchar, streams bigint, messages bigint)
LANGUAGE sql STABLE
SET search_path = :"ns", pg_temp
AS $$
  SELECT category(stream.stream_name), count(*), sum(stream.messages)::bigint
  FROM (SELECT m.stream_name, count(*) AS messages FROM messages AS m GROUP BY m.stream_name) AS stream
  GROUP BY category(stream.stream_name)
  ORDER BY category(stream.stream_name) COLLATE "C";
$$;
