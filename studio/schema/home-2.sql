-- A question is asked for its answer (JSON), and is no job of anybody's list.
ALTER TABLE jobs ADD COLUMN question INTEGER NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN answer TEXT;
CREATE INDEX jobs_questions ON jobs (place) WHERE question;
