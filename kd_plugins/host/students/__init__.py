"""Wrappers of students."""
