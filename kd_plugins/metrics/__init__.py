"""How alike a student and its teacher are: in what they answer, and in what their layers compute."""

from .agreement import agreement, extracurricular_knowledge
from .cka import MinibatchCKA, linear_cka

__all__ = ["MinibatchCKA", "agreement", "extracurricular_knowledge", "linear_cka"]
