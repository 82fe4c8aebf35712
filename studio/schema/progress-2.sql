-- What is read of a prompt that is not read word for word.
ALTER TABLE progress ADD COLUMN read_as TEXT NOT NULL DEFAULT '';
