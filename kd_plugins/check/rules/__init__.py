"""The rules of a check, one file per part of the config."""
