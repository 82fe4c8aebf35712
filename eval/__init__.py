"""Features, statistics, metrics and the table that they make."""

from studio.backends.loading import silence

silence()
