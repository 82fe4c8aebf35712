-- What an artifact shows, in words, how sure that is, and how near the words are to those that it was made from.
ALTER TABLE pictures ADD COLUMN caption TEXT NOT NULL DEFAULT '';
ALTER TABLE pictures ADD COLUMN sure REAL;
ALTER TABLE pictures ADD COLUMN round_trip REAL;
