"""Train a config and write its run folder."""
