"""Features, statistics, metrics and the table that they make."""

from models.quiet import silence

silence()
