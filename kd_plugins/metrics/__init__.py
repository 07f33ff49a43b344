"""Measures of similarity between student and teacher: agreement of predictions, and CKA of layers."""

from .agreement import agreement, extracurricular_knowledge
from .cka import MinibatchCKA, linear_cka

__all__ = ["MinibatchCKA", "agreement", "extracurricular_knowledge", "linear_cka"]
