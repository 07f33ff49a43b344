"""Adapter from a loss on tensors to a torchdistill mid-level loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from operator import add
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..._checks import check_choice, check_keywords, named_keywords
from .io_dict import IO_TYPES, MODEL_OUTPUT, IODict, captured_tensor

WANTS = ("logits", "features", "feature_lists", "logit_ensemble", "feature_ensemble", "student_tensors")
PATH_KEYWORDS = ("student_module_path", "student_module_io", "teacher_module_path", "teacher_module_io")
TARGETS_PATH = "targets_module_path"
"""Keyword of losses with labels: a student's module whose output replaces the labels of the batch."""
PROPOSALS = "points.proposals"
"""Path of a detector's class logits, see :class:`~kd_plugins.host.detection.student.DetectionStudent`."""


class MidLevelLoss(nn.Module):
    """Base of the losses that torchdistill builds from a config; made by :func:`mid_level_loss`.

    ``wants`` is ``"logits"`` (one pair, by default the models' outputs), ``"features"`` (a pair of paths, or lists of
    equal length: the sum over the pairs), ``"feature_lists"`` (lists of equal length; the loss gets two lists of
    tensors), ``"logit_ensemble"`` (a list of the teachers' paths; the loss gets one tensor and a list),
    ``"feature_ensemble"`` (likewise; the student's path may be a list too, one longer) or ``"student_tensors"`` (none).
    """

    tensor_loss: ClassVar[type[nn.Module]]
    wants: ClassVar[str] = "logits"
    uses_targets: ClassVar[bool] = False  # whether the loss takes the labels as a third argument
    student_tensors: ClassVar[tuple[str, ...]] = ()  # paths of outputs that the loss takes as last arguments
    sees_untransformed: ClassVar[bool] = False  # whether it also takes the tensors before the transforms
    requires: ClassVar[Mapping[str, str]] = {}  # config sections that the loss needs, and their content

    def __init__(
        self,
        student_module_path: str | Sequence[str] | None = None,
        student_module_io: str = "output",
        teacher_module_path: str | Sequence[str] | None = None,
        teacher_module_io: str = "output",
        targets_module_path: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        known = [*self.path_keywords(), *named_keywords(self.tensor_loss)[0]]
        check_keywords(type(self).__name__, kwargs, known)
        self.student_module_path = self._path("student_module_path", student_module_path)
        self.teacher_module_path = self._path("teacher_module_path", teacher_module_path)
        check_choice("student_module_io", student_module_io, IO_TYPES)
        check_choice("teacher_module_io", teacher_module_io, IO_TYPES)
        self.student_module_io, self.teacher_module_io = student_module_io, teacher_module_io
        if targets_module_path is not None and not (self.uses_targets and isinstance(targets_module_path, str)):
            rule = "must be one module path" if self.uses_targets else "is for losses that take labels; remove it"
            raise ValueError(f"{TARGETS_PATH} of {type(self).__name__} {rule}, found {targets_module_path!r}")
        self.targets_module_path = targets_module_path
        self._check_lengths()
        self.loss = self.tensor_loss(**kwargs)

    @classmethod
    def path_keywords(cls) -> tuple[str, ...]:
        """Return the keywords that name module paths."""
        return (*PATH_KEYWORDS, TARGETS_PATH) if cls.uses_targets else PATH_KEYWORDS

    def _path(self, argument: str, path: Any) -> Any:
        owner = type(self).__name__
        if self.wants == "student_tensors":
            if path is not None:
                raise ValueError(
                    f"{owner} takes no {argument}: it reads the student's {', '.join(self.student_tensors)}; remove it"
                )
            return None
        many = self.wants.endswith("_ensemble") and argument == "teacher_module_path"
        one = self.wants == "logits" or (self.wants == "logit_ensemble" and not many)
        if path is None:
            if one:
                return MODEL_OUTPUT
            if many:
                raise ValueError(
                    f"{owner} learns from several teachers: set {argument} to a list with one path per teacher, such "
                    "as [teachers.0, teachers.1] for a teacher_ensemble"
                )
            raise ValueError(f"{owner} compares features: give {argument}, the path of the module to hook")
        if one and not isinstance(path, str):
            raise ValueError(f"{argument} of {owner} must be one module path, found {path!r}")
        if (many or self.wants == "feature_lists") and isinstance(path, str):
            raise ValueError(f"{argument} of {owner} must be a list of module paths, found {path!r}")
        if isinstance(path, str):
            return path
        if not isinstance(path, Sequence) or not path or not all(isinstance(one, str) for one in path):
            one_or = "" if many or self.wants == "feature_lists" else "one module path or "
            raise ValueError(f"{argument} of {owner} must be {one_or}a list of module paths, found {path!r}")
        return list(path)

    def _check_lengths(self) -> None:
        if self.wants == "student_tensors":
            return
        paths = self.student_module_path, self.teacher_module_path
        student, teacher = (0 if isinstance(path, str) else len(path) for path in paths)
        if self.wants.endswith("_ensemble"):
            if student not in (0, teacher + 1):
                raise ValueError(
                    f"student_module_path must be one path, or a list of {teacher + 1} paths: the regressors' input, "
                    f"then one regressor for each of the {teacher} teachers; found {paths[0]!r}"
                )
            return
        if bool(student) != bool(teacher):
            raise ValueError(
                "student_module_path and teacher_module_path must both be one path or both be lists, found "
                f"{paths[0]!r} and {paths[1]!r}"
            )
        if student != teacher:
            raise ValueError(
                f"student_module_path and teacher_module_path must be lists of equal length, found {student} and "
                f"{teacher} paths"
            )

    def _paths(self) -> list[tuple[Any, Any]]:
        """Return the pairs of paths that the loss compares; for ``feature_lists`` the two lists are one pair."""
        if self.wants == "student_tensors":
            return []
        if self.wants == "features" and not isinstance(self.student_module_path, str):
            return list(zip(self.student_module_path, self.teacher_module_path, strict=True))
        return [(self.student_module_path, self.teacher_module_path)]

    def _pairs(self, student_io_dict: IODict, teacher_io_dict: IODict) -> list[tuple[Any, Any]]:
        pairs = []
        for student, teacher in self._paths():
            own = _tensors(student_io_dict, "student", student, self.student_module_io)
            pairs.append((own, _tensors(teacher_io_dict, "teacher", teacher, self.teacher_module_io)))
        return pairs

    def forward(
        self,
        student_io_dict: IODict,
        teacher_io_dict: IODict,
        targets: Tensor | None = None,
        *,
        untransformed: tuple[IODict, IODict] | None = None,
    ) -> Tensor:
        """Read the tensors from the io dicts and return the loss, a scalar."""
        pairs = self._pairs(student_io_dict, teacher_io_dict)
        if self.targets_module_path is not None:
            targets = captured_tensor(student_io_dict, "student", self.targets_module_path, "output")
        more: list[Any] = [targets] if self.uses_targets else []
        more += [captured_tensor(student_io_dict, "student", path, "output") for path in self.tensor_paths()]
        if self.wants == "student_tensors":
            return self.loss(*more)
        before: list[dict[str, Any]] = [{} for _ in pairs]
        if untransformed is not None:
            before = [{"untransformed": pair} for pair in self._pairs(*untransformed)]
        if self.wants in ("logits", "logit_ensemble"):
            return self.loss(*pairs[0], *more, **before[0])
        return reduce(add, (self._term(*each, more) for each in zip(self._paths(), pairs, before, strict=True)))

    @property
    def shows_match(self) -> bool:
        """Whether the loss on proposals is read against its value at a student that equals the teacher."""
        return self.teacher_module_path == PROPOSALS and getattr(self.loss, "has_floor", False)

    @torch.no_grad()
    def at_match(self, teacher_io_dict: IODict) -> Tensor:
        """Return the loss of the teacher against itself."""
        teacher = captured_tensor(teacher_io_dict, "teacher", self.teacher_module_path, self.teacher_module_io)
        return self.loss(teacher, teacher)

    def tensor_paths(self) -> tuple[str, ...]:
        """Return the ``student_tensors`` that the loss reads with its current hyperparameters."""
        return self.student_tensors[: getattr(self.loss, "extra_tensors", None)]

    def tensor_weights(self) -> dict[str, float]:
        """Return path -> weight of the ``student_tensors`` whose sums the loss adds."""
        weights = zip(self.student_tensors, getattr(self.loss, "tensor_weights", ()), strict=False)
        return {path: weight for path, weight in weights if weight is not None}

    def _term(self, paths: tuple[Any, Any], pair: tuple[Any, Any], keywords: dict[str, Any], more: list[Any]) -> Tensor:
        try:
            return self.loss(*pair, *more, **keywords)
        except ValueError as error:
            raise ValueError(self._in_pair(paths, pair, error)) from error

    def _in_pair(self, paths: tuple[Any, Any], pair: tuple[Any, Any], error: ValueError) -> str:
        """Return an error's message with the pair's paths and shapes and the layout to declare."""
        ios = (self.student_module_io, self.teacher_module_io)
        sides = list(zip(("student", "teacher"), paths, ios, pair, strict=True))
        found = " and ".join(f"the {side}'s {path!r} {io} {_shapes(x)}" for side, path, io, x in sides)
        flat = [(*place, x.ndim) for *place, x in sides if isinstance(x, Tensor) and x.ndim in (2, 3)]
        return ". ".join([f"{type(self).__name__} of {found}: {error}", *(_layout_advice(*each) for each in flat)])

    def extra_repr(self) -> str:
        """Show which tensors are compared."""
        if self.wants == "student_tensors":
            return f"student={', '.join(self.tensor_paths())}"
        return (
            f"student={self.student_module_path!r} {self.student_module_io}, "
            f"teacher={self.teacher_module_path!r} {self.teacher_module_io}"
        )


def _tensors(io_dict: IODict, side: str, path: Any, io: str) -> Tensor | list[Tensor]:
    if isinstance(path, str):
        return captured_tensor(io_dict, side, path, io)
    return [captured_tensor(io_dict, side, one, io) for one in path]


def _shapes(found: Tensor | list[Tensor]) -> str:
    return str(tuple(found.shape)) if isinstance(found, Tensor) else ", ".join(map(_shapes, found))


def _layout_advice(side: str, path: str, io: str, ndim: int) -> str:
    wrapper = {"student": "FeatureStudent", "teacher": "FrozenTeacher"}[side]
    layout = {2: "layout: NC", 3: "layout: NLC, prefix_tokens: 1"}[ndim]
    tokens = " (prefix_tokens: the number of tokens before the patches)" if ndim == 3 else ""
    return (
        f"The {side}'s tensor has {ndim} dimensions: declare its layout{tokens} under train.{side}: "
        f"auxiliary_model_wrapper: {{key: {wrapper}, kwargs: {{points: [{{name: mid, path: {path}, io: {io}, "
        f"{layout}}}]}}}} and forward_hook: {{output: [points.mid]}}, and {side}_module_path: points.mid in the loss; "
        f"or wrap the loss in TransformedLoss with transforms: [{{key: to_feature_map, side: {side}, {layout}}}]"
    )


def mid_level_loss(
    tensor_loss: type[nn.Module],
    *,
    wants: str = "logits",
    uses_targets: bool = False,
    student_tensors: Sequence[str] = (),
    sees_untransformed: bool = False,
    requires: Mapping[str, str] | None = None,
) -> type[MidLevelLoss]:
    """Return a torchdistill mid-level loss class that feeds ``tensor_loss`` from the io dicts.

    The class takes torchdistill's four path keywords, with labels also ``targets_module_path``, and the keywords of
    ``tensor_loss``, and no others. An error about features names the pair, its shapes and, if a layout is missing, what
    to write. ``tensor_loss`` is a module with ``forward(student, teacher[, targets, *student_tensors])``, or
    ``forward(*student_tensors)`` if it reads nothing else. The keywords are the attributes of :class:`MidLevelLoss`.

    Example:
        >>> from kd_plugins.losses import LSKDLoss
        >>> loss = mid_level_loss(LSKDLoss)(temperature=2.0)
        >>> logits = torch.tensor([[1.0, 3.0, 2.0]])
        >>> loss({".": {"output": 5 * logits}}, {".": {"output": logits}}).abs() < 1e-6
        tensor(True)
    """
    check_choice("wants", wants, WANTS)
    members = {
        "tensor_loss": tensor_loss,
        "wants": wants,
        "uses_targets": uses_targets,
        "student_tensors": tuple(student_tensors),
        "sees_untransformed": sees_untransformed,
        "requires": requires or {},
        "__doc__": f":class:`{tensor_loss.__name__}` fed from torchdistill's io dicts.",
        "__module__": __name__,
    }
    made = type(tensor_loss.__name__, (MidLevelLoss,), members)
    # Pickle looks the class up by name in this module.
    made.__qualname__ = tensor_loss.__name__
    globals().setdefault(tensor_loss.__name__, made)
    return made
