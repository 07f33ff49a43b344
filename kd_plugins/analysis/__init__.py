"""What came of a run: agreement of student and teacher, sub-classes, pictures."""
