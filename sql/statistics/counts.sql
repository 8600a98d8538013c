-- How many messages there are of each category, of each type and in each span of time, and how many bytes their data and
-- metadata take as they are stored. One pass over the table; what is kept out of line is not fetched.
SELECT CASE GROUPING(category, type, start) WHEN 3 THEN 'category' WHEN 5 THEN 'type' ELSE 'span' END AS kind,
  COALESCE(category, type, to_char(start, 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), '') AS name,
  count(*) AS messages, sum(size)::bigint AS bytes
FROM (
  SELECT :"ns".category(stream_name) AS category, type, date_trunc(:'unit', time) AS start,
    COALESCE(pg_column_size(data), 0) + COALESCE(pg_column_size(metadata), 0) AS size
  FROM :"ns".messages
) AS message
GROUP BY GROUPING SETS ((category), (type), (start))
