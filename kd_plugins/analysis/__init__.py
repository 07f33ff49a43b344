"""Analyse a trained student: accuracy, comparison with the teacher, sub-classes, pictures."""
