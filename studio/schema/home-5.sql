-- Plain names for columns and tables. `jobs` is copied because its CHECKs name the values of columns.
-- Answers to interactive jobs are a cache under ids that have changed, so they are left out.
CREATE TABLE new_jobs (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  request TEXT NOT NULL,                   -- JSON
  batch_key TEXT NOT NULL,                 -- jobs of equal keys may be drawn together
  state TEXT NOT NULL DEFAULT 'waiting'
    CHECK (state IN ('waiting', 'running', 'done', 'failed', 'cancelled', 'quarantined')),
  priority INTEGER NOT NULL DEFAULT 0,
  position REAL NOT NULL,                  -- among waiting jobs of one priority
  owner TEXT NOT NULL DEFAULT '',          -- the worker that holds it; only that one may report on it
  stop_request TEXT NOT NULL DEFAULT '' CHECK (stop_request IN ('', 'cancel', 'finish')),
  crash_count INTEGER NOT NULL DEFAULT 0,  -- of workers, while they did it
  message TEXT NOT NULL DEFAULT '',        -- why it failed, JSON
  submitted REAL NOT NULL,
  started REAL,
  ended REAL,
  interactive INTEGER NOT NULL DEFAULT 0,  -- somebody waits for its answer
  answer TEXT                              -- JSON
);
-- A `guided_from` of 0 is not a part of a resolved request any more.
INSERT INTO new_jobs SELECT number, id,
  iif(json_valid(request) AND json_extract(request, '$.guided_from') = 0, json_remove(request, '$.guided_from'), request),
  company, iif(state = 'aside', 'quarantined', state), priority, place, owner, wish, deaths, sentence,
  submitted, started, ended, 0, NULL
  FROM jobs WHERE NOT question;
DELETE FROM sqlite_sequence WHERE name = 'new_jobs';
INSERT INTO sqlite_sequence SELECT 'new_jobs', seq FROM sqlite_sequence WHERE name = 'jobs';
DROP TABLE jobs;
ALTER TABLE new_jobs RENAME TO jobs;
CREATE INDEX jobs_in_line ON jobs (priority DESC, position) WHERE state = 'waiting';
CREATE INDEX jobs_position ON jobs (position);
CREATE INDEX jobs_state ON jobs (state);
CREATE INDEX jobs_running ON jobs (owner) WHERE state = 'running';
CREATE INDEX jobs_interactive ON jobs (position) WHERE interactive;

ALTER TABLE pictures RENAME TO artifacts;
ALTER TABLE artifacts RENAME COLUMN made TO created;
ALTER TABLE labels RENAME COLUMN picture TO artifact;
ALTER TABLE thumbnails RENAME COLUMN picture TO artifact;
ALTER TABLE vectors RENAME COLUMN picture TO artifact;
DROP INDEX pictures_deleted;
DROP INDEX pictures_starred;
DROP INDEX pictures_style;
DROP INDEX pictures_kind;
DROP INDEX labels_picture;
CREATE INDEX artifacts_deleted ON artifacts (number) WHERE deleted IS NOT NULL;
CREATE INDEX artifacts_starred ON artifacts (number) WHERE star;
CREATE INDEX artifacts_style ON artifacts (style, number);
CREATE INDEX artifacts_kind ON artifacts (kind, number);
CREATE INDEX labels_artifact ON labels (artifact);
