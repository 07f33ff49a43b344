"""LAKD's student: where it is cut, and which of the teacher's modules each part learns from."""
