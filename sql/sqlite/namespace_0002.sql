-- What was imported: a row for each batch, written in its transaction. An import that was interrupted goes on behind the
-- last one, and an increment across one that placed messages below its beginning is refused.
CREATE TABLE imports (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  imported_at TEXT NOT NULL,
  source TEXT NOT NULL,
  fingerprint TEXT,
  options TEXT NOT NULL,
  last_line INTEGER NOT NULL,
  imported INTEGER NOT NULL,
  skipped INTEGER NOT NULL,
  first_position INTEGER,
  last_position INTEGER,
  replaced INTEGER NOT NULL,
  complete INTEGER NOT NULL
) STRICT;

-- serves an import that is resumed
CREATE INDEX imports_fingerprint ON imports (fingerprint, number) WHERE fingerprint IS NOT NULL;
