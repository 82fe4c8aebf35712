-- Ratings of pairs, and which artifacts were downloaded. Both outlive the artifacts, so they name them by sha256.
CREATE TABLE ratings (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  prompt TEXT NOT NULL,
  first TEXT NOT NULL,                     -- sha256 of an artifact
  second TEXT NOT NULL,
  left_side TEXT NOT NULL CHECK (left_side IN ('first', 'second')),
  choice TEXT NOT NULL CHECK (choice IN ('first', 'second', 'tie', 'bad')),
  kind TEXT NOT NULL CHECK (kind IN ('ordinary', 'repeat', 'equal')),
  created REAL NOT NULL,
  first_digest TEXT NOT NULL,              -- of the model's weights
  second_digest TEXT NOT NULL
);
CREATE TABLE downloads (sha256 TEXT PRIMARY KEY, created REAL NOT NULL) WITHOUT ROWID;
CREATE INDEX artifacts_prompt ON artifacts (prompt, number);
