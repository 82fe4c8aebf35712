ALTER TABLE previews RENAME COLUMN png TO image;
