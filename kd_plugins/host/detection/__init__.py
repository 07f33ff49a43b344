"""Wrappers of detectors: the student's proposals and both pyramids, for any loss."""
