"""Data sets of recipes, and how much of a setting fits few images."""
