"""Wrappers of teachers, and teachers as models."""
