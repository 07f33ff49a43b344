"""Teacher wrappers, and teachers as config models."""
