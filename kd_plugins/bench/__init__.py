"""Measurements that a user starts; none of them is a test."""
