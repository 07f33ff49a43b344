"""Image sizes that a detector draws in training, given to a second detector."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torchvision.models.detection.transform import GeneralizedRCNNTransform


class SizesOfStudent(GeneralizedRCNNTransform):
    """Resizes images as a student does in training, and normalises them as its teacher.

    A detector with several ``min_size`` draws one per image in training and takes the last in eval mode, so a frozen
    teacher would see other sizes than its student. Each size of a batch is drawn here, kept in ``drawn``, and
    :func:`replayed` there.
    """

    def __init__(self, student: Any, teacher: Any) -> None:
        super().__init__(
            student.min_size, student.max_size, teacher.image_mean, teacher.image_std, student.size_divisible,
            student.fixed_size, _skip_resize=student._skip_resize,
        )  # fmt: skip
        self.drawn: list[int] = []

    def torch_choice(self, k: Sequence[int]) -> int:
        """Draw a size, and keep it."""
        self.drawn.append(super().torch_choice(list(k)))
        return self.drawn[-1]


@contextmanager
def replayed(transform: Any, sizes: Sequence[int]) -> Iterator[None]:
    """Let a detector's transform take these sizes instead of drawing, so that no random number is used twice."""
    if not sizes:
        yield
        return
    left = iter(sizes)
    transform.torch_choice = lambda _choices: next(left)
    try:
        yield
    finally:
        del transform.torch_choice
