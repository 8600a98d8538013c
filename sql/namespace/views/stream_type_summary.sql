-- How many messages of each type each stream has, and their share of all in percent.
CREATE OR REPLACE VIEW :"ns".stream_type_summary AS
SELECT
  stream_name,
  type,
  count(*) AS message_count,
  round(count(*) / sum(count(*)) OVER () * 100, 2) AS percent
FROM :"ns".messages
GROUP BY stream_name, type
ORDER BY stream_name, type;
