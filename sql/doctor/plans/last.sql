-- get_last_stream_message, write_message: messages_stream
SELECT m.* FROM :"ns".messages AS m WHERE m.stream_name = $1 AND $2 IS NOT NULL ORDER BY m.position DESC LIMIT $3
