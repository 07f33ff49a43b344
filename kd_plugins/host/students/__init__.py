"""Student wrappers."""
