"""Measurements of time and memory, started by ``kd-plugins bench``."""
