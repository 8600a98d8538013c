-- get_stream_messages: messages_stream
SELECT m.* FROM :"ns".messages AS m WHERE m.stream_name = $1 AND m.position >= $2 ORDER BY m.position LIMIT $3
