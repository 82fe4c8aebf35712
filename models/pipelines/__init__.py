"""Pipelines, one a medium: the parts of a model behind one call."""
