"""Checks of arguments and shapes.

Every message names the argument, the rule, what was found and what to do.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeGuard

import torch
from torch import Tensor

# Re-exported: callers import all checks from here.
from ._names import nearest, suggestion, unknown_name  # noqa: F401

_NUMBER = re.compile(r"([-+]?)(\d+\.?\d*|\.\d+)(?:([eE])([-+]?)(\d+))?")


def unquoted_number(value: object) -> str:
    """Return a number-like string as YAML must write the number; empty for other values.

    Example:
        >>> unquoted_number("1e-3"), unquoted_number("0.05"), unquoted_number("high"), unquoted_number(0.05)
        ('1.0e-3', '0.05', '', '')
    """
    found = _NUMBER.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        return ""
    sign, digits, e, e_sign, exponent = found.groups()
    if not e:
        return sign + digits
    return f"{sign}{digits if '.' in digits else digits + '.0'}e{e_sign or '+'}{exponent}"


def found_number(value: object) -> str:
    """Return the end of an error message about a value that is not a valid number."""
    plain = unquoted_number(value)
    return f"found {value!r}" + (f", which YAML reads as a string: write {plain}" if plain else "")


def check_choice(argument: str, value: object, choices: Iterable[object]) -> None:
    """Raise ``ValueError`` unless ``value`` is one of ``choices``."""
    names = list(choices)
    if value not in names:
        raise ValueError(f"{argument} must be one of {', '.join(map(repr, names))}, found {value!r}")


def check_positive(argument: str, value: object) -> None:
    """Raise ``ValueError`` unless ``value`` is a finite number above zero."""
    if not _is_finite(value) or value <= 0:
        raise ValueError(f"{argument} must be a finite number above 0, {found_number(value)}")


def check_at_least(argument: str, value: object, low: float) -> None:
    """Raise ``ValueError`` unless ``value`` is a finite number of at least ``low``."""
    if not _is_finite(value) or value < low:
        raise ValueError(f"{argument} must be a finite number of at least {low:g}, {found_number(value)}")


def check_whole(argument: str, value: object, low: int) -> None:
    """Raise ``ValueError`` unless ``value`` is a whole number of at least ``low``."""
    if not isinstance(value, int) or isinstance(value, bool) or value < low:
        raise ValueError(f"{argument} must be a whole number of at least {low}, found {value!r}")


def map_size(argument: str, value: Any) -> tuple[int, int]:
    """Return (H, W) of a number or a pair.

    Raises:
        ValueError: if it is neither, or not positive.

    Example:
        >>> map_size("size", 8), map_size("size", [4, 6])
        ((8, 8), (4, 6))
    """
    pair = list(value) if isinstance(value, Sequence) else [value, value]
    if len(pair) != 2 or not all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in pair):
        raise ValueError(f"{argument} must be a whole number or [H, W], above 0, found {value!r}")
    return pair[0], pair[1]


def check_finite(argument: str, value: object) -> None:
    """Raise ``ValueError`` unless ``value`` is a finite number."""
    if not _is_finite(value):
        raise ValueError(f"{argument} must be a finite number, {found_number(value)}")


def check_logits(argument: str, logits: object, *, min_classes: int = 2) -> None:
    """Raise ``ValueError`` unless ``logits`` is a floating (B, C) tensor with enough classes."""
    if not isinstance(logits, Tensor):
        raise ValueError(
            f"{argument} must be a tensor of shape (B, C), found {type(logits).__name__}; "
            "for a model with several outputs, name the path of the one to use"
        )
    if not logits.is_floating_point():
        raise ValueError(f"{argument} must hold floating-point logits, found {logits.dtype}")
    if logits.ndim != 2 or logits.shape[0] < 1 or logits.shape[1] < min_classes:
        raise ValueError(
            f"{argument} must have shape (B, C) with B >= 1 and C >= {min_classes}, found {tuple(logits.shape)}"
        )


def check_logit_pair(student: Tensor, teacher: Tensor, *, min_classes: int = 2) -> None:
    """Raise ``ValueError`` unless both logits have the same shape (B, C) and device."""
    check_logits("student", student, min_classes=min_classes)
    check_logits("teacher", teacher, min_classes=min_classes)
    if student.shape != teacher.shape:
        raise ValueError(
            "student and teacher must have logits of the same shape (B, C), "
            f"found {tuple(student.shape)} and {tuple(teacher.shape)}; "
            "do both have the same number of classes?"
        )
    if student.device != teacher.device:
        raise ValueError(f"student and teacher must be on one device, found {student.device} and {teacher.device}")


def check_class_indices(loss: str, targets: object, *, batch: int, classes: int) -> Tensor:
    """Return ``targets`` as int64; raise ``ValueError`` unless they hold one class index per sample.

    Narrower types overflow in arithmetic, and uint8 indexing is a mask. The range is checked on the CPU only, where
    the check is cheap; on other devices and in compiled code, the kernel reports indices out of range.
    """
    if targets is None:
        raise ValueError(f"{loss} needs the labels of the batch as targets, found None")
    if not isinstance(targets, Tensor):
        raise ValueError(f"targets of {loss} must be a tensor of class indices, found {type(targets).__name__}")
    if not is_index(targets):
        raise ValueError(
            f"targets of {loss} must be class indices of shape (B,), found {targets.dtype} of shape "
            f"{tuple(targets.shape)}; mixup, cutmix and one-hot labels have no single target class: remove them from "
            "the data pipeline, or use a loss without labels, such as SoftTargetLoss or LSKDLoss"
        )
    if len(targets) != batch:
        raise ValueError(f"targets of {loss} must hold one index per sample ({batch}), found {len(targets)}")
    if targets.device.type == "cpu" and not torch.compiler.is_compiling():
        low, high = (int(bound) for bound in targets.aminmax())
        if low < 0 or high >= classes:
            raise ValueError(
                f"targets of {loss} must lie in 0..{classes - 1}, the classes of the logits, found {low}..{high}; "
                "does num_classes of the models match the data set?"
            )
    return targets.long()


def index_labels(labels: object, *, batch: int) -> Tensor:
    """Return integer labels of any dtype as int64 class indices (B,).

    Args:
        labels: collated labels of a data set.
        batch: number of samples B.

    Raises:
        ValueError: for other shapes, floats or booleans.

    Example:
        >>> index_labels(torch.tensor([2, 0], dtype=torch.uint8), batch=2)
        tensor([2, 0])
    """
    if isinstance(labels, Tensor) and is_index(labels) and len(labels) == batch:
        return labels.long()
    found = f"{labels.dtype} of shape {tuple(labels.shape)}" if isinstance(labels, Tensor) else type(labels).__name__
    raise ValueError(
        f"accuracy needs one class index per image, integers of shape ({batch},), found {found}; convert one-hot "
        "labels by argmax; for several labels per image, set metric: multilabel at the top level of the config"
    )


def widened_indices(labels: Tensor) -> Tensor:
    """Return class indices of any integer dtype as int64; other labels unchanged."""
    return labels.long() if is_index(labels) else labels


def is_index(labels: Tensor) -> bool:
    """Tell whether labels are one integer per sample, shape (B,)."""
    whole = not (labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool)
    return whole and labels.ndim == 1


def named_keywords(callee: Callable[..., Any]) -> tuple[dict[str, inspect.Parameter], bool]:
    """Return the keyword parameters of ``callee``, and whether it has ``**kwargs``."""
    parameters = inspect.signature(callee).parameters
    named = {
        name: p
        for name, p in parameters.items()
        if p.kind in (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    }
    return named, any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())


def check_keywords(owner: str, keywords: Mapping[str, object], known: Iterable[str], *, where: str = "") -> None:
    """Raise ``ValueError`` on the first keyword that ``owner`` does not take."""
    names = list(known)
    place = f" at {where}" if where else ""
    for keyword in keywords:
        if keyword not in names:
            raise ValueError(f"{owner} takes no keyword {keyword!r}{place}; {suggestion(keyword, names)}")


def _is_finite(value: object) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < float("inf")
