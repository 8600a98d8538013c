-- The registry of a SQLite store: which namespaces there are, and the file of each.
CREATE TABLE namespaces (
  name TEXT NOT NULL PRIMARY KEY,
  schema_name TEXT NOT NULL UNIQUE,
  -- new for every namespace that is made, so that a file left over by a crash is never taken for another's
  file TEXT NOT NULL UNIQUE,
  created_at TEXT NOT NULL
) STRICT;
