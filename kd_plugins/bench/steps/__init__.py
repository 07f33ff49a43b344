"""Training steps that are timed and weighed."""
