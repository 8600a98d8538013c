-- The messages of a namespace in a SQLite store.
CREATE TABLE messages (
  -- the rowid: the next one is one more than the greatest
  global_position INTEGER PRIMARY KEY,
  position INTEGER NOT NULL,
  -- 2025-07-15T10:00:00.000000Z: as in a file of an export, and in the order of time
  time TEXT NOT NULL,
  stream_name TEXT NOT NULL,
  type TEXT NOT NULL,
  data TEXT,
  metadata TEXT,
  id TEXT NOT NULL,
  -- the category of metadata's correlationStreamName
  correlation TEXT,
  category TEXT NOT NULL GENERATED ALWAYS AS (
    CASE instr(stream_name, '-') WHEN 0 THEN stream_name ELSE substr(stream_name, 1, instr(stream_name, '-') - 1) END
  ) VIRTUAL
) STRICT;

-- serves write_message's promise that an id is written once
CREATE UNIQUE INDEX messages_id ON messages (id);
-- serves get_stream_messages, get_last_stream_message, stream_version and list_streams
CREATE UNIQUE INDEX messages_stream ON messages (stream_name, position);
-- serves get_category_messages, exports by category and list_categories; its third column answers the correlation
CREATE INDEX messages_category ON messages (category, global_position, correlation);
