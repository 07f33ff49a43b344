"""Make a torchdistill mid-level loss of any loss that takes tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor, nn

from .._checks import check_choice, check_keywords, named_keywords
from .io_dict import IO_TYPES, MODEL_OUTPUT, IODict, captured_tensor

PATH_KEYWORDS = ("student_module_path", "student_module_io", "teacher_module_path", "teacher_module_io")


class MidLevelLoss(nn.Module):
    """Base of the losses that torchdistill builds from a config; made by :func:`mid_level_loss`.

    Attributes:
        tensor_loss: the loss that gets the tensors.
        wants: ``"logits"`` (one pair, by default the models' outputs), ``"features"`` (one pair, both paths
            given) or ``"feature_lists"`` (lists of paths of one length; the loss gets two lists of tensors).
        uses_targets: whether the loss takes the labels as a third argument.
        student_tensors: paths of student modules whose outputs the loss takes as last arguments.
        requires: sections of a stage that the loss cannot do without, and what to write there:
            ``{"student.auxiliary_model_wrapper": "{key: CTKDStudent, ...}"}``.
        sees_untransformed: whether the loss also takes, as ``untransformed``, what it would read without the
            transforms before it; with it a loss keeps them to a part of itself.
    """

    tensor_loss: ClassVar[type[nn.Module]]
    wants: ClassVar[str]
    uses_targets: ClassVar[bool]
    student_tensors: ClassVar[tuple[str, ...]]
    sees_untransformed: ClassVar[bool]
    requires: ClassVar[Mapping[str, str]]

    def __init__(
        self,
        student_module_path: str | Sequence[str] | None = None,
        student_module_io: str = "output",
        teacher_module_path: str | Sequence[str] | None = None,
        teacher_module_io: str = "output",
        **kwargs: Any,
    ) -> None:
        super().__init__()
        known = [*PATH_KEYWORDS, *named_keywords(self.tensor_loss)[0]]
        check_keywords(type(self).__name__, kwargs, known)
        self.student_module_path = self._path("student_module_path", student_module_path)
        self.teacher_module_path = self._path("teacher_module_path", teacher_module_path)
        check_choice("student_module_io", student_module_io, IO_TYPES)
        check_choice("teacher_module_io", teacher_module_io, IO_TYPES)
        self.student_module_io = student_module_io
        self.teacher_module_io = teacher_module_io
        if self.wants == "feature_lists" and len(self.student_module_path) != len(self.teacher_module_path):
            raise ValueError(
                "student_module_path and teacher_module_path must be lists of one length, found "
                f"{len(self.student_module_path)} and {len(self.teacher_module_path)} paths"
            )
        self.loss = self.tensor_loss(**kwargs)

    def _path(self, argument: str, path: Any) -> Any:
        owner = type(self).__name__
        if path is None:
            if self.wants == "logits":
                return MODEL_OUTPUT
            raise ValueError(f"{owner} compares features: give {argument}, the path of the module to hook")
        if self.wants == "feature_lists":
            if isinstance(path, str) or not isinstance(path, Sequence) or not path:
                raise ValueError(f"{argument} of {owner} must be a list of module paths, found {path!r}")
            return list(path)
        if not isinstance(path, str):
            raise ValueError(f"{argument} of {owner} must be one module path, found {path!r}")
        return path

    def _side(self, io_dict: IODict, side: str, path: Any, io: str) -> Tensor | list[Tensor]:
        if self.wants == "feature_lists":
            return [captured_tensor(io_dict, side, one, io) for one in path]
        return captured_tensor(io_dict, side, path, io)

    def _pair(self, student_io_dict: IODict, teacher_io_dict: IODict) -> tuple[Any, Any]:
        student = self._side(student_io_dict, "student", self.student_module_path, self.student_module_io)
        teacher = self._side(teacher_io_dict, "teacher", self.teacher_module_path, self.teacher_module_io)
        return student, teacher

    def forward(
        self,
        student_io_dict: IODict,
        teacher_io_dict: IODict,
        targets: Tensor | None = None,
        *,
        untransformed: tuple[IODict, IODict] | None = None,
    ) -> Tensor:
        """Take the tensors out of the io dicts and return the loss, a scalar."""
        arguments = list(self._pair(student_io_dict, teacher_io_dict))
        if self.uses_targets:
            arguments.append(targets)
        arguments += [captured_tensor(student_io_dict, "student", path, "output") for path in self.student_tensors]
        if untransformed is not None:
            return self.loss(*arguments, untransformed=self._pair(*untransformed))
        return self.loss(*arguments)

    def extra_repr(self) -> str:
        """Show which tensors are compared."""
        return (
            f"student={self.student_module_path!r} {self.student_module_io}, "
            f"teacher={self.teacher_module_path!r} {self.teacher_module_io}"
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

    The class takes torchdistill's four path keywords beside those of ``tensor_loss``, and refuses any other.

    Args:
        tensor_loss: a module with ``forward(student, teacher[, targets, *student_tensors])``.
        wants: which tensors it takes: ``"logits"``, ``"features"`` or ``"feature_lists"``.
        uses_targets: whether it takes the labels too.
        student_tensors: paths of student modules, hooked by the config, whose outputs it takes too.
        sees_untransformed: whether it takes ``untransformed=(student, teacher)`` too.
        requires: sections of a stage that it cannot do without, and what to write there; for the check of a config.

    Raises:
        ValueError: on another ``wants``.

    Example:
        >>> import torch
        >>> from kd_plugins.losses import LSKDLoss
        >>> loss = mid_level_loss(LSKDLoss)(temperature=2.0)
        >>> logits = torch.tensor([[1.0, 3.0, 2.0]])
        >>> loss({".": {"output": 5 * logits}}, {".": {"output": logits}}).abs() < 1e-6
        tensor(True)
    """
    check_choice("wants", wants, ("logits", "features", "feature_lists"))
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
    # A class that can be looked up by its name in this module can be pickled.
    made.__qualname__ = tensor_loss.__name__
    globals().setdefault(tensor_loss.__name__, made)
    return made
