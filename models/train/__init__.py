"""One training loop and a table of recipes."""
