"""LAKD's student wrapper: its cuts, and the teacher module that each part learns from."""
