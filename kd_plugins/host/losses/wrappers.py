"""Loss wrappers that apply transforms before any mid-level loss, torchdistill's own included."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torchdistill.losses.mid_level import DISTLoss, KDLoss

from .before_projection import BeforeProjection
from .io_dict import IODict
from .reads import reads_of
from .transform_steps import Step, steps_of

READS_MINUS_INF = (KDLoss, DISTLoss)
"""torchdistill's losses that use the teacher's logits only through a softmax; ours have ``takes_minus_inf``."""


class TransformedLoss(nn.Module):
    """Apply transforms, in order, to the tensors that a mid-level loss reads; the loss itself does not change.

    The base loss gets copies of the io dicts with the transformed tensors, so other terms of the criterion, such as the
    cross-entropy, read the original ones. ``MLKDLoss`` gets both: transforms apply to its divergences, not to its Gram
    matrices.

    If the base loss reads a projection of the teacher (``CCKDLoss``, ``CRDLoss``), transforms on the teacher's side
    apply to the projection's input, by a hook on the projection. They then apply to every term that reads the
    projection, and need ``pre_epoch_process: kd_pre_epoch``.

    Args:
        mid_level_loss: the base loss, built by torchdistill from ``criterion``.
        transforms: list of ``{key: NAME, **keywords of the transform}``. Each may also say ``side`` (``both``,
            ``student`` or ``teacher``) and the tensor: ``student_module_path``, ``student_module_io``,
            ``teacher_module_path``, ``teacher_module_io``. By default all tensors that the base loss reads. A path is
            needed if these cannot be found, or are of several kinds (logits and features).

    Raises:
        ValueError: on an unknown transform or keyword, a tensor that the base loss does not read (if need be, in the
            first forward pass), an invalid side or fill, or a base loss that also computes a cross-entropy with the
            labels on the same logits.

    Example:
        >>> import torch
        >>> from torchdistill.losses.mid_level import KDLoss
        >>> base = KDLoss(".", "output", ".", "output", temperature=1.0, beta=1.0)
        >>> loss = TransformedLoss(base, [{"key": "standardize"}])
        >>> logits = torch.tensor([[1.0, 3.0, 2.0]])
        >>> loss({".": {"output": 5 * logits}}, {".": {"output": logits}}).abs() < 1e-6
        tensor(True)
    """

    def __init__(self, mid_level_loss: nn.Module, transforms: Sequence[Mapping[str, Any]]) -> None:
        super().__init__()
        owner = type(self).__name__
        _refuse_low_level(mid_level_loss, owner)
        if isinstance(transforms, (str, Mapping)) or not isinstance(transforms, Sequence) or not transforms:
            raise ValueError(
                f"transforms of {owner} must be a non-empty list such as [{{key: standardize}}], found {transforms!r}"
            )
        self.mid_level_loss = mid_level_loss
        base = _innermost(mid_level_loss)
        self.steps = [step for entry in transforms for step in steps_of(entry, base, owner)]
        projections = {read.path for read in reads_of(base, "teacher") or () if read.projected}
        self.raw_steps = [step for step in self.steps if step.side == "teacher" and step.module_path in projections]
        self.before_projection = BeforeProjection()
        self.known_to_be_read = False
        for step in self.steps:
            _refuse_cross_entropy(base, step, owner)
        _refuse_unreadable_fill(base, self.steps, owner)

    def listen_to(self, teacher: nn.Module) -> None:
        """Register the transforms as hooks on the projections of ``teacher`` that the base loss reads."""
        changes: dict[str, list[Callable[[Tensor], Tensor]]] = {}
        for step in self.raw_steps:
            changes.setdefault(step.module_path, []).append(step.change)
        if changes:
            self.before_projection.connect(teacher, changes)

    def forward(self, student_io_dict: IODict, teacher_io_dict: IODict, targets: Tensor | None = None) -> Tensor:
        """Transform copies of the io dicts and return the base loss on them, a scalar."""
        if self.raw_steps and self.before_projection.teacher is None:
            raise ValueError(
                f"{type(self).__name__} over {type(self.mid_level_loss).__name__} changes the input of the teacher's "
                f"projection {self.raw_steps[0].module_path!r}, but is not connected to the teacher: set "
                "pre_epoch_process: kd_pre_epoch under train, which connects them"
            )
        io_dicts = {"student": student_io_dict, "teacher": teacher_io_dict}
        steps = [step for step in self.steps if step not in self.raw_steps]
        for step in steps:
            io_dicts[step.side] = step.apply(io_dicts[step.side])
        watched: dict[tuple[str, str], Watched] = {}
        if not self.known_to_be_read:
            for side, path in dict.fromkeys((step.side, step.module_path) for step in steps):
                watched[side, path] = Watched(io_dicts[side][path])
                io_dicts[side] = {**io_dicts[side], path: watched[side, path]}
        sees_both = getattr(self.mid_level_loss, "sees_untransformed", False)
        before = {"untransformed": (student_io_dict, teacher_io_dict)} if sees_both else {}
        loss = self.mid_level_loss(io_dicts["student"], io_dicts["teacher"], targets, **before)
        if watched:
            self._refuse_unread(steps, watched)
        self.known_to_be_read = True
        return loss

    def _refuse_unread(self, steps: Sequence[Step], watched: Mapping[tuple[str, str], Watched]) -> None:
        """Refuse a transform whose result the base loss did not read."""
        for step in steps:
            if step.io not in watched[step.side, step.module_path].asked:
                raise ValueError(
                    f"{type(self).__name__}: transform {step.key} has no effect, because "
                    f"{type(_innermost(self.mid_level_loss)).__name__} did not read the {step.side}'s "
                    f"{step.module_path!r} {step.io}; set {step.side}_module_path and {step.side}_module_io to a "
                    "tensor that it reads"
                )

    def extra_repr(self) -> str:
        """Show the transforms in order."""
        return "; ".join(map(str, self.steps))


class LogitStandardization(TransformedLoss):
    """Standardize the logits of both sides before any logit loss: LSKD as the paper's pre-process.

    Args:
        mid_level_loss: the base loss, built by torchdistill from ``criterion``.
        temperature: divides the Z-scores; keep 1.0 when the base has a temperature of its own.
        correction: 0 divides the variance by C (the paper), 1 by C - 1 (the authors' code).

    References:
        Sun et al., Logit Standardization in Knowledge Distillation, CVPR 2024, Algorithm 1.

    Example:
        >>> from torchdistill.losses.mid_level import KDLoss
        >>> LogitStandardization(KDLoss(".", "output", ".", "output", temperature=2.0, beta=1.0)).extra_repr()
        "standardize(temperature=1.0, correction=0) on student '.' output; standardize(temperature=1.0, ...
    """

    def __init__(self, mid_level_loss: nn.Module, *, temperature: float = 1.0, correction: int = 0) -> None:
        step = {"key": "standardize", "temperature": temperature, "correction": correction}
        super().__init__(mid_level_loss, [step])


class SalientFeatureMask(TransformedLoss):
    """Keep the teacher's K largest entries before any loss: SFKD as the paper's pre-process.

    Args:
        mid_level_loss: the base loss, built by torchdistill from ``criterion``.
        keep: a fraction in (0, 1], or an int, the number of entries.
        by: ``"value"`` or ``"magnitude"``.
        fill: ``"zero"``, or ``"-inf"`` if the base loss supports it.

    References:
        Efficient Knowledge Distillation via Salient Feature Masking (SFKD), authors anonymous, under review, Eq. (5).

    Example:
        >>> from torchdistill.losses.mid_level import KDLoss
        >>> SalientFeatureMask(KDLoss(".", "output", ".", "output", 4.0, beta=1.0), keep=0.5).extra_repr()
        "keep_salient(keep=0.5, by='value', fill='zero') on teacher '.' output"
    """

    def __init__(self, mid_level_loss: nn.Module, *, keep: float | int, by: str = "value", fill: str = "zero") -> None:
        super().__init__(mid_level_loss, [{"key": "keep_salient", "keep": keep, "by": by, "fill": fill}])


class Watched(Mapping[str, Any]):
    """Captured tensors of one module, as in an io dict; ``asked`` holds the keys that were read."""

    def __init__(self, captured: Mapping[str, Any]) -> None:
        self.captured = captured
        self.asked: set[str] = set()

    def __getitem__(self, io: str) -> Any:
        self.asked.add(io)
        return self.captured[io]

    def __iter__(self) -> Iterator[str]:
        return iter(self.captured)

    def __len__(self) -> int:
        return len(self.captured)


def _innermost(loss: nn.Module) -> nn.Module:
    while isinstance(loss, TransformedLoss):
        loss = loss.mid_level_loss
    return loss


def _refuse_low_level(base: nn.Module, owner: str) -> None:
    first = next(iter(inspect.signature(base.forward).parameters), "")
    if first != "student_io_dict":
        raise ValueError(
            f"{owner} wraps losses that read io dicts, such as KDLoss or LSKDLoss, found "
            f"{type(base).__name__}; transformed logits must not reach a loss against the labels"
        )


def _refuse_cross_entropy(base: nn.Module, step: Step, owner: str) -> None:
    """Refuse torchdistill's losses that add a cross-entropy on the student's logits, as ``KDLoss`` with ``alpha``."""
    hard_label_weight = getattr(base, "alpha", 1.0) if hasattr(base, "cross_entropy_loss") else None
    if hard_label_weight and step.side == "student":
        raise ValueError(
            f"{owner} would also apply {step.key} to the logits of the cross-entropy in {type(base).__name__} "
            f"(alpha={hard_label_weight}); remove alpha, set beta: 1.0, and add the cross-entropy as its own term "
            "(CrossEntropyLoss with SimpleLossWrapper)"
        )


def _refuse_unreadable_fill(base: nn.Module, steps: Sequence[Step], owner: str) -> None:
    """Refuse logits of minus infinity if they would become NaN."""
    for number, step in enumerate(steps):
        if step.kwargs.get("fill") != "-inf":
            continue
        place = (step.side, step.module_path, step.io)
        later = next((s for s in steps[number + 1 :] if (s.side, s.module_path, s.io) == place), None)
        if later is not None:
            raise ValueError(
                f"{owner}: transform {later.key} cannot follow {step.key} with fill: -inf; move {step.key} to the "
                "end of transforms, or use fill: zero"
            )
        if not getattr(getattr(base, "loss", base), "takes_minus_inf", type(base) in READS_MINUS_INF):
            raise ValueError(
                f"{owner}: {type(base).__name__} does not support fill: -inf, which sets masked logits to minus "
                "infinity; use fill: zero, or one of SoftTargetLoss, MLKDLoss, SFKDLoss (its own fill), "
                + ", ".join(stock.__name__ for stock in READS_MINUS_INF)
            )
