"""letKD's loss and student, and the statistics that they read."""
