-- The longest streams, each with the position of its last message: one pass over the index messages_stream.
SELECT stream_name, max(position) FROM :"ns".messages GROUP BY stream_name ORDER BY 2 DESC, stream_name COLLATE "C" LIMIT :'longest'
