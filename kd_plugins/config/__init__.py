"""Configs: how they are read, checked, and built."""
