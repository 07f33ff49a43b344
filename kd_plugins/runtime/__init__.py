"""Processes, seeds, evaluation, and files that survive a crash."""
