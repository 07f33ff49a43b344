"""Data sets of recipes, and settings for few images."""
