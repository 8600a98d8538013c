"""Bulk jobs: a queue in PostgreSQL, and workers that may die at any moment."""
