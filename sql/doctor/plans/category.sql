-- get_category_messages: messages_category
SELECT m.* FROM :"ns".messages AS m
WHERE :"ns".category(m.stream_name) >= $1 AND :"ns".category(m.stream_name) <= $1 AND m.global_position >= $2
ORDER BY :"ns".category(m.stream_name), m.global_position LIMIT $3
