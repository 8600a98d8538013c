-- The greatest global position, and where the sequence of them stands; the table first, or a writer could come between.
WITH greatest AS MATERIALIZED (SELECT COALESCE(max(global_position), 0) AS position FROM :"ns".messages)
SELECT position, CASE WHEN is_called THEN last_value ELSE last_value - 1 END
FROM greatest, :"ns".messages_global_position_seq
