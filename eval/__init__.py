"""Features, statistics, metrics and the table that they make."""
