CREATE TABLE pictures (
  path TEXT NOT NULL,
  space TEXT NOT NULL,
  bytes INTEGER NOT NULL,
  modified INTEGER NOT NULL,           -- nanoseconds; with the size it tells whether the file is still the same
  prompt TEXT NOT NULL,
  vector BLOB NOT NULL,                -- float16, as many as the space has
  PRIMARY KEY (path, space)
) WITHOUT ROWID;
