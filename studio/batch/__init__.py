"""Prompt files: rows or problems (`readers`) -> jobs (`plan`) -> pictures in a folder (`run`)."""
