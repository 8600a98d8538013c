-- Holes in the positions of streams: how many streams have any, how many messages are lacking, and the same for those
-- that no import on record explains, with the first of those streams. An import of a part of a store leaves holes: the
-- message behind such a hole is one that an import placed. The index messages_stream alone finds the holes.
WITH holes AS MATERIALIZED (
  SELECT stream_name, position, position - before - 1 AS lacking
  FROM (
    SELECT stream_name, position, lag(position, 1, -1::bigint) OVER (PARTITION BY stream_name ORDER BY position) AS before
    FROM :"ns".messages
  ) AS pairs
  WHERE position <> before + 1
), judged AS (
  SELECT h.stream_name, h.lacking, EXISTS (
      SELECT FROM :"ns".imports AS i WHERE m.global_position BETWEEN i.first_position AND i.last_position
    ) AS imported
  FROM holes AS h JOIN :"ns".messages AS m ON m.stream_name = h.stream_name AND m.position = h.position
)
SELECT count(DISTINCT stream_name), COALESCE(sum(lacking), 0)::bigint,
  count(DISTINCT stream_name) FILTER (WHERE NOT imported),
  COALESCE(sum(lacking) FILTER (WHERE NOT imported), 0)::bigint,
  min(stream_name) FILTER (WHERE NOT imported)
FROM judged
