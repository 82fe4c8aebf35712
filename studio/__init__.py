"""Requests, the worker, the doors: everything a person touches. Imports no torch; `studio.backends` alone does."""
