"""Processes, seeds, evaluation and crash-safe files."""
