-- How many messages each type has, and their share of all in percent.
CREATE OR REPLACE VIEW :"ns".type_summary AS
SELECT
  type,
  count(*) AS message_count,
  round(count(*) / sum(count(*)) OVER () * 100, 2) AS percent
FROM :"ns".messages
GROUP BY type
ORDER BY type;
