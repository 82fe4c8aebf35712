CREATE TABLE jobs (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  request TEXT NOT NULL,
  company TEXT NOT NULL,               -- equal ones may be drawn together
  state TEXT NOT NULL DEFAULT 'waiting'
    CHECK (state IN ('waiting', 'running', 'done', 'failed', 'cancelled', 'aside')),
  priority INTEGER NOT NULL DEFAULT 0,
  place REAL NOT NULL,                 -- in line, among jobs of one priority
  owner TEXT NOT NULL DEFAULT '',      -- the worker that has it; only that one may report on it
  wish TEXT NOT NULL DEFAULT '' CHECK (wish IN ('', 'cancel', 'finish')),
  deaths INTEGER NOT NULL DEFAULT 0,   -- of workers, in the middle of it
  sentence TEXT NOT NULL DEFAULT '',
  submitted REAL NOT NULL,
  started REAL,
  ended REAL
);
CREATE INDEX jobs_in_line ON jobs (priority DESC, place) WHERE state = 'waiting';
CREATE INDEX jobs_place ON jobs (place);
CREATE INDEX jobs_state ON jobs (state);
CREATE INDEX jobs_running ON jobs (owner) WHERE state = 'running';
CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE pictures (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  sha256 TEXT NOT NULL UNIQUE,
  file TEXT NOT NULL,                  -- relative to the home
  bytes INTEGER NOT NULL,
  width INTEGER NOT NULL,
  height INTEGER NOT NULL,
  made REAL NOT NULL,
  job TEXT NOT NULL,
  position INTEGER NOT NULL,           -- among the job's pictures
  seed INTEGER NOT NULL,
  score REAL,
  prompt TEXT NOT NULL,
  style TEXT NOT NULL,
  model TEXT NOT NULL,
  digest TEXT NOT NULL,                -- of the model's weights
  star INTEGER NOT NULL DEFAULT 0,
  rating INTEGER NOT NULL DEFAULT 0,
  note TEXT NOT NULL DEFAULT '',
  deleted REAL,
  UNIQUE (job, position)
);
CREATE INDEX pictures_deleted ON pictures (number) WHERE deleted IS NOT NULL;
CREATE INDEX pictures_starred ON pictures (number) WHERE star;
CREATE INDEX pictures_style ON pictures (style, number);
CREATE TABLE labels (
  picture INTEGER NOT NULL REFERENCES pictures ON DELETE CASCADE,
  kind TEXT NOT NULL CHECK (kind IN ('tag', 'board')),
  name TEXT NOT NULL,
  PRIMARY KEY (kind, name, picture)
) WITHOUT ROWID;
CREATE INDEX labels_picture ON labels (picture);
CREATE TABLE thumbnails (picture INTEGER PRIMARY KEY REFERENCES pictures ON DELETE CASCADE, webp BLOB NOT NULL);
CREATE TABLE vectors (
  picture INTEGER PRIMARY KEY REFERENCES pictures ON DELETE CASCADE,
  space TEXT NOT NULL,                 -- vectors of two spaces are never compared
  vector BLOB NOT NULL                 -- 128 float16
);
CREATE VIRTUAL TABLE words USING fts5 (prompt, note, tags, tokenize = 'unicode61 remove_diacritics 2');
