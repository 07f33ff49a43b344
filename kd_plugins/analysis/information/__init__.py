"""Bounds of the information that a feature has about images and labels."""
