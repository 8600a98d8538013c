-- How many messages each type has in each stream, and their share of all in percent.
CREATE OR REPLACE VIEW :"ns".type_stream_summary AS
SELECT
  type,
  stream_name,
  count(*) AS message_count,
  round(count(*) / sum(count(*)) OVER () * 100, 2) AS percent
FROM :"ns".messages
GROUP BY type, stream_name
ORDER BY type, stream_name;
