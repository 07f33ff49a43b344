"""Compose transforms with any mid-level loss, torchdistill's own included."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torchdistill.losses.mid_level import DISTLoss, KDLoss

from .._checks import check_choice, check_keywords, named_keywords, unknown_name
from ..transforms import keep_salient, standardize, to_feature_map
from ..transforms.salient import check_salient
from .before_projection import BeforeProjection
from .io_dict import IO_TYPES, MODEL_OUTPUT, IODict, captured_tensor, with_replaced
from .reads import Read, reads

SIDES = ("student", "teacher")
READS_MINUS_INF = (KDLoss, DISTLoss)
"""torchdistill's losses that see the teacher's logits through a softmax alone; ours say so themselves."""


@dataclass(frozen=True)
class Transform:
    """A transform that configs name.

    Attributes:
        function: takes a tensor and keywords.
        side: on which it works by default.
        summary: what it is.
        paper: where it comes from.
        check: raises on keywords that no tensor makes right.
        not_on_student: why it must not work on the student's side; empty where it may.
    """

    function: Callable[..., Tensor]
    side: str
    summary: str
    paper: str = ""
    check: Callable[..., None] | None = None
    not_on_student: str = ""


TRANSFORMS: dict[str, Transform] = {
    "standardize": Transform(standardize, "both", "Z-score of every sample's logits", "LSKD, Sun et al., CVPR 2024"),
    "keep_salient": Transform(
        keep_salient,
        "teacher",
        "the K largest entries of every sample, zero elsewhere",
        "SFKD, under review",
        check=check_salient,
        not_on_student=(
            "what is salient is the teacher's choice and masks the teacher's tensor; masked entries of the student "
            "would get no gradient"
        ),
    ),
    "to_feature_map": Transform(to_feature_map, "both", "tokens or channels-last features to (B, c, H, W)"),
}


@dataclass(frozen=True)
class _Step:
    """One transform at one tensor of one side."""

    key: str
    side: str
    module_path: str
    io: str
    function: Callable[..., Tensor]
    kwargs: Mapping[str, Any]

    def change(self, tensor: Tensor) -> Tensor:
        return self.function(tensor, **self.kwargs)

    def apply(self, io_dict: IODict) -> IODict:
        before = captured_tensor(io_dict, self.side, self.module_path, self.io)
        return with_replaced(io_dict, self.module_path, self.io, self.change(before))

    def __str__(self) -> str:
        kwargs = ", ".join(f"{name}={value!r}" for name, value in self.kwargs.items())
        return f"{self.key}({kwargs}) on {self.side} {self.module_path!r} {self.io}"


class TransformedLoss(nn.Module):
    """Apply transforms, in order, to what a mid-level loss reads; the loss itself stays as it is.

    The base loss gets copies of the io dicts in which the named tensors are replaced, so other terms of the
    criterion (the cross-entropy above all) see the untransformed ones. ``MLKDLoss`` gets both: transforms reach its
    divergences alone, not its Gram matrices.

    Where the base reads a projection of the teacher (``CCKDLoss``, ``CRDLoss``), the transforms of the teacher's side
    work on the raw feature that the projection takes. They lie on the projection itself then, for every term that
    reads it, and need ``pre_epoch_process: kd_pre_epoch``.

    Args:
        mid_level_loss: the base loss, built by torchdistill from ``criterion``.
        transforms: list of ``{key: NAME, **keywords of the transform}``. Each may also say ``side`` (``both``,
            ``student`` or ``teacher``) and where: ``student_module_path``, ``student_module_io``,
            ``teacher_module_path``, ``teacher_module_io``. The default is what the base loss reads, or the
            models' outputs where the base does not tell.

    Raises:
        ValueError: on an unknown transform or keyword, a tensor that the base does not read, a side or a fill that
            makes no sense, or a base that computes a cross-entropy with the labels on the same logits.

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
        self.steps = [step for entry in transforms for step in _steps(entry, mid_level_loss, owner)]
        projections = {read.path for read in reads(vars(mid_level_loss), "teacher") or () if read.projected}
        self.raw_steps = [step for step in self.steps if step.side == "teacher" and step.module_path in projections]
        self.before_projection = BeforeProjection()
        for step in self.steps:
            _refuse_cross_entropy(mid_level_loss, step, owner)
        _refuse_unreadable_fill(mid_level_loss, self.steps, owner)

    def listen_to(self, teacher: nn.Module) -> None:
        """Put the transforms of what projections of ``teacher`` take onto them, where the base reads such."""
        changes: dict[str, list[Callable[[Tensor], Tensor]]] = {}
        for step in self.raw_steps:
            changes.setdefault(step.module_path, []).append(step.change)
        if changes:
            self.before_projection.connect(teacher, changes)

    def forward(self, student_io_dict: IODict, teacher_io_dict: IODict, targets: Tensor | None = None) -> Tensor:
        """Transform copies of the io dicts and return the base loss on them, a scalar."""
        if self.raw_steps and not self.before_projection.connected:
            raise ValueError(
                f"{type(self).__name__} over {type(self.mid_level_loss).__name__} works on what the teacher's "
                f"projection {self.raw_steps[0].module_path!r} takes, and does not know the teacher: set "
                "pre_epoch_process: kd_pre_epoch under train, which connects them"
            )
        io_dicts = {"student": student_io_dict, "teacher": teacher_io_dict}
        for step in self.steps:
            if step not in self.raw_steps:
                io_dicts[step.side] = step.apply(io_dicts[step.side])
        sees_both = getattr(self.mid_level_loss, "sees_untransformed", False)
        before = {"untransformed": (student_io_dict, teacher_io_dict)} if sees_both else {}
        return self.mid_level_loss(io_dicts["student"], io_dicts["teacher"], targets, **before)

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
        fill: ``"zero"``, or ``"-inf"`` where the base can read it.

    References:
        Efficient Knowledge Distillation via Salient Feature Masking (SFKD), authors anonymous, under review, Eq. (5).

    Example:
        >>> from torchdistill.losses.mid_level import KDLoss
        >>> SalientFeatureMask(KDLoss(".", "output", ".", "output", 4.0, beta=1.0), keep=0.5).extra_repr()
        "keep_salient(keep=0.5, by='value', fill='zero') on teacher '.' output"
    """

    def __init__(self, mid_level_loss: nn.Module, *, keep: float | int, by: str = "value", fill: str = "zero") -> None:
        super().__init__(mid_level_loss, [{"key": "keep_salient", "keep": keep, "by": by, "fill": fill}])


def _steps(entry: Mapping[str, Any], base: nn.Module, owner: str) -> list[_Step]:
    if not isinstance(entry, Mapping) or "key" not in entry:
        raise ValueError(f"every transform of {owner} must be a mapping with a key, found {entry!r}")
    kwargs = dict(entry)
    key = kwargs.pop("key")
    if key not in TRANSFORMS:
        raise unknown_name("transform", key, TRANSFORMS)
    transform = TRANSFORMS[key]
    side = kwargs.pop("side", transform.side)
    check_choice(f"side of transform {key}", side, ("both", *SIDES))
    sides = SIDES if side == "both" else (side,)
    if transform.not_on_student and "student" in sides:
        raise ValueError(
            f"transform {key} works on the teacher's side alone, found side: {side}; {transform.not_on_student}"
        )
    places = {name: _places(name, kwargs, base, key) for name in sides}

    named, _ = named_keywords(transform.function)
    tensor_argument = next(iter(named))
    own = [name for name in named if name != tensor_argument]
    reserved = ["side", *(f"{name}_module_{part}" for name in sides for part in ("path", "io"))]
    check_keywords(f"transform {key}", kwargs, [*own, *reserved])
    missing = [n for n in own if named[n].default is inspect.Parameter.empty and n not in kwargs]
    if missing:
        raise ValueError(f"transform {key} needs {' and '.join(missing)}; add it beside its key")
    if transform.check is not None:
        transform.check(**kwargs)
    return [_Step(key, name, *place, transform.function, kwargs) for name in sides for place in places[name]]


def _places(side: str, kwargs: dict[str, Any], base: nn.Module, key: str) -> list[tuple[str, str]]:
    """Take the tensors that one side of a transform is about out of ``kwargs``: by default all that the base reads."""
    found = reads(vars(base), side)
    io = kwargs.pop(f"{side}_module_io", None)
    check_choice(f"{side}_module_io of transform {key}", io or "output", IO_TYPES)
    if f"{side}_module_path" not in kwargs:
        places = [(read.path, io or read.io) for read in found or [Read(MODEL_OUTPUT, "output")]]
        return list(dict.fromkeys(places))
    path = kwargs.pop(f"{side}_module_path")
    if found and path not in [read.path for read in found]:
        raise ValueError(
            f"transform {key} would change the {side}'s {path!r}, which {type(base).__name__} does not read "
            f"(it reads {', '.join(dict.fromkeys(repr(read.path) for read in found))}); set {side}_module_path "
            "accordingly"
        )
    ios = [read.io for read in found or () if read.path == path]
    return [(path, one) for one in dict.fromkeys([io] if io else ios or ["output"])]


def _refuse_low_level(base: nn.Module, owner: str) -> None:
    first = next(iter(inspect.signature(base.forward).parameters), "")
    if first != "student_io_dict":
        raise ValueError(
            f"{owner} wraps losses that read io dicts, such as KDLoss or LSKDLoss, found "
            f"{type(base).__name__}; transformed logits must not reach a loss against the labels"
        )


def _refuse_cross_entropy(base: nn.Module, step: _Step, owner: str) -> None:
    """Refuse torchdistill's losses that add their own cross-entropy on the student's logits.

    ``KDLoss`` and its relatives do so when ``alpha`` is set.
    """
    hard_label_weight = getattr(base, "alpha", 1.0) if hasattr(base, "cross_entropy_loss") else None
    if hard_label_weight and step.side == "student":
        raise ValueError(
            f"{owner} would hand {step.key} logits to the cross-entropy that {type(base).__name__} computes "
            f"with alpha={hard_label_weight}; leave alpha out of it, give beta: 1.0, and add the "
            "cross-entropy as a term of its own (CrossEntropyLoss with SimpleLossWrapper)"
        )


def _refuse_unreadable_fill(base: nn.Module, steps: Sequence[_Step], owner: str) -> None:
    """Refuse logits of minus infinity where they would become NaN."""
    for number, step in enumerate(steps):
        if step.kwargs.get("fill") != "-inf":
            continue
        later = [
            s for s in steps[number + 1 :] if (s.side, s.module_path, s.io) == (step.side, step.module_path, step.io)
        ]
        if later:
            raise ValueError(
                f"{owner}: transform {later[0].key} cannot follow {step.key} with fill: -inf, which must be the last "
                "on its tensor; put it at the end of transforms, or use fill: zero"
            )
        reads = getattr(getattr(base, "loss", base), "takes_minus_inf", type(base) in READS_MINUS_INF)
        if not reads:
            raise ValueError(
                f"{owner}: {type(base).__name__} cannot read logits of minus infinity, which fill: -inf leaves in "
                "place of what is masked; use fill: zero, or one of SoftTargetLoss, MLKDLoss, SFKDLoss (its own fill), "
                + ", ".join(stock.__name__ for stock in READS_MINUS_INF)
            )
