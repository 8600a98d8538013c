-- The indexes that Message DB's table lacks, built while it is written to. Each is a statement outside of transactions;
-- the migrations that make them in other namespaces find them there.

-- serves exports by time
CREATE INDEX CONCURRENTLY IF NOT EXISTS messages_time ON :"ns".messages
  USING brin (time, type text_bloom_ops (n_distinct_per_range = 200)) WITH (pages_per_range = 32);

-- serves list_streams: Message DB's own index is in the order of the database's locale, in which the streams of a prefix
-- need not be neighbours
CREATE INDEX CONCURRENTLY IF NOT EXISTS messages_stream_bytes ON :"ns".messages (stream_name COLLATE "C", position);
