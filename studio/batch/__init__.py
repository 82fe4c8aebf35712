"""Prompt files: `sources` -> rows or problems (`readers`, `fields`) -> jobs (`plan`) -> pictures (`run`, `folder`)."""
