"""Options of the optimisation of images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import yaml

from .._checks import check_at_least, check_keywords, check_positive, check_whole

PUBLIC_BATCH = 256
"""Batch size to which the weights of the total variation and of the l2 norm belong."""


@dataclass(frozen=True)
class Options:
    """How images are optimised.

    The defaults are for images of about 32x32. DeepInversion's CIFAR-10 script differs in ``bn`` 100, ``lr`` 0.1,
    ``tv`` 2.5e-5 and Adam's usual ``betas``; CMI's rerun in ``bn`` 10, ``lr`` 0.1 and ``competition`` 1.

    Args:
        steps: steps of Adam; 0 keeps the noise that the optimisation starts from.
        ce: weight of the cross-entropy of the teacher's logits with the requested labels.
        bn: weight of the batch-norm term; 0 gives DeepDream images.
        first_bn: factor of the first batch norm's part in that term.
        tv: weight of the total variation, for a batch of 256.
        l2: weight of the norm of all images, for a batch of 256.
        competition: weight of the competition with a fixed student.
        jitter: largest shift in pixels; None is a sixteenth of the height.
        flip: whether a batch is mirrored with probability 1/2; None follows the transform of the training images.
        grey: whether the three channels are equal.
        lr: learning rate.
        betas: coefficients of Adam.

    Raises:
        ValueError: if a value is out of range.

    References:
        Yin et al., Dreaming to Distill: Data-free Knowledge Transfer via DeepInversion, CVPR 2020. SFKD, section 4.4
        and appendix C.1, uses its images.

    Example:
        >>> Options(bn=0).betas
        (0.5, 0.9)
    """

    steps: int = 2000
    ce: float = 1.0
    bn: float = 1.0
    first_bn: float = 1.0
    tv: float = 1e-3
    l2: float = 0.0
    competition: float = 0.0
    jitter: int | None = None
    flip: bool | None = None
    grey: bool = False
    lr: float = 0.05
    betas: Sequence[float] = (0.5, 0.9)

    def __post_init__(self) -> None:
        check_whole("steps", self.steps, 0)
        for name in ("ce", "bn", "first_bn", "tv", "l2", "competition"):
            check_at_least(name, getattr(self, name), 0)
        check_positive("lr", self.lr)
        if self.jitter is not None:
            check_whole("jitter", self.jitter, 0)
        for name, values in (("flip", (True, False, None)), ("grey", (True, False))):
            if not any(getattr(self, name) is value for value in values):
                raise ValueError(f"{name} must be True or False, found {getattr(self, name)!r}")
        if not isinstance(self.betas, (list, tuple)) or len(self.betas) != 2:
            raise ValueError(f"betas must be two numbers such as [0.5, 0.9], found {self.betas!r}")
        for beta in self.betas:
            check_at_least("betas", beta, 0)
            if beta >= 1:
                raise ValueError(f"betas must be below 1, found {list(self.betas)}")
        object.__setattr__(self, "betas", tuple(float(beta) for beta in self.betas))
        if self.steps and not self.ce + self.bn + self.tv + self.l2 + self.competition:
            raise ValueError("ce, bn, tv, l2 and competition are all 0: set one of them, or steps: 0 for noise")

    def filled(self, *, height: int, flip: bool) -> Options:
        """Return the options with values for ``jitter`` and ``flip`` where they are None."""
        return replace(
            self,
            jitter=round(height / 16) if self.jitter is None else self.jitter,
            flip=flip if self.flip is None else self.flip,
        )


def parse_options(texts: Sequence[str], given: Mapping[str, Any] | None = None) -> Options:
    """Return the options of ``KEY=VALUE`` texts and of ``given``.

    Raises:
        ValueError: on a text without ``=``, an unknown key, a repeated key or a value out of range.

    Example:
        >>> parse_options(["bn=0", "flip=true"]).flip
        True
    """
    values: dict[str, Any] = dict(given or {})
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals:
            raise ValueError(f"--option must be KEY=VALUE such as bn=10, found {text!r}")
        check_keywords("--option", {key: value}, [field.name for field in fields(Options)])
        if key in values:
            raise ValueError(f"{key} is given twice; leave one out")
        try:
            values[key] = yaml.safe_load(value)
        except yaml.YAMLError:
            values[key] = value
    return Options(**values)
