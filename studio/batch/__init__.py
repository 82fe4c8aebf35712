"""Prompt files: sources -> rows or faults (`readers`) -> jobs (`plan`) -> pictures in a folder (`runner`, `folder`)."""
