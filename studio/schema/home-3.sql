-- Artifacts of any kind: images, clips, texts.
ALTER TABLE pictures ADD COLUMN kind TEXT NOT NULL DEFAULT 'image';
ALTER TABLE pictures ADD COLUMN media_type TEXT NOT NULL DEFAULT 'image/png';
ALTER TABLE pictures ADD COLUMN frames INTEGER NOT NULL DEFAULT 1;
ALTER TABLE pictures ADD COLUMN seconds REAL NOT NULL DEFAULT 0;
ALTER TABLE pictures ADD COLUMN text TEXT NOT NULL DEFAULT '';
CREATE INDEX pictures_kind ON pictures (kind, number);
