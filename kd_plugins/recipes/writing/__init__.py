"""The text of a config."""
