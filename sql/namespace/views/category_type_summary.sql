-- How many messages of each type each category has, and their share of all in percent.
CREATE OR REPLACE VIEW :"ns".category_type_summary AS
SELECT
  :"ns".category(stream_name) AS category,
  type,
  count(*) AS message_count,
  round(count(*) / sum(count(*)) OVER () * 100, 2) AS percent
FROM :"ns".messages
GROUP BY category, type
ORDER BY category, type;
