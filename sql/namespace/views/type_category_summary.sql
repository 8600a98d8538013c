-- How many messages each type has in each category, and their share of all in percent.
CREATE OR REPLACE VIEW :"ns".type_category_summary AS
SELECT
  type,
  :"ns".category(stream_name) AS category,
  count(*) AS message_count,
  round(count(*) / sum(count(*)) OVER () * 100, 2) AS percent
FROM :"ns".messages
GROUP BY type, category
ORDER BY type, category;
