-- get_all_messages, exports: messages_pkey
SELECT m.* FROM :"ns".messages AS m WHERE m.global_position >= $2 AND $1 IS NOT NULL ORDER BY m.global_position LIMIT $3
