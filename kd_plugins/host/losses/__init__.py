"""Losses as torchdistill's configs build them, and the transforms before them."""
