"""Fit letKD's statistics for a config."""
