"""Student wrapper for local learning: each module learns from one feature map of the teacher."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..._checks import check_at_least, check_choice, check_finite
from ...losses.lakd import local_feature_loss
from ...models.points.entries import CLASS_MAPS, ShownPoint
from ...models.points.probe import watch
from ...modules.local_learning import BACKWARD, LocalLearning, check_scale
from ...transforms import activation_map, class_activation_maps, match_size
from ...transforms.precision import widen
from ..keep_in_graph import keep_in_graph
from ..teachers.channel import TeacherChannel
from ..transparent import TransparentWrapper
from .alignment import Entry, attention_sources, regressed_channels, student_points
from .anatomy import anatomy
from .cut_checks import probed_cuts
from .teacher import HeardTeacher, Maps, class_point, heard_teacher, model_inside

LOCAL_LOSSES = "local_losses"


class LAKDStudent(TransparentWrapper):
    """Cut the student into modules that each learn from the teacher, for ``LAKDLoss``.

    In training, the gradient is cut at the end of each module, and each module has a feature loss between its last map
    and a map of the teacher. The last module, which ends in the logits, also gets all other losses. The config hooks
    the outputs of three submodules: ``local_losses``, shape (n,), and ``class_maps.student`` and
    ``class_maps.teacher``, class activation maps (B, C, r, r). The student's output, module paths and state dict do not
    change. In eval mode nothing is cut, and the student has no hooks.

    With ``backward="eager"`` every module but the last is back-propagated as soon as it has run, and its activations
    are freed: less memory, the same gradients. Other losses that read a map of such a module get no gradient through
    it. It needs a single process; ``"joint"`` works everywhere.

    Args:
        student_model: the student, given by torchdistill like ``device`` and ``device_ids`` (unused).
        distributed: given by torchdistill; whether training runs in several processes.
        cuts: ends of the modules: ``"plain"``, the stages' ends; ``"shifted"``, the stages' first blocks and the last
            block; ``"every"``, all blocks; or a list of module paths and block numbers, from 1. The gradient is cut
            after all but the last of them.
        teacher: the teacher's map for every module: ``"stage_ends"``, ``"same_depth"``, or a list of module paths,
            feature points and block numbers. For tokens write ``{path: blocks.5, layout: NLC, prefix_tokens: 1}``.
        teacher_channels: channels of these maps; needed only if one differs from the student's. A 1x1 convolution then
            maps the student's to it.
        absolute: compute the attention from absolute values.
        mean_weight: weight of the channels' mean in the attention.
        max_weight: weight of the channels' maximum; with both weights 0 there is no attention.
        attention_from: teacher map that gives a module's attention: ``"own"``, the module's; ``"last"``, the last
            module's; or a list of module numbers from 1, each its own or a later one.
        class_attention: compute the class maps; without them ``LAKDLoss`` needs ``alpha: 1``.
        class_map_size: r, the size that the last maps are pooled to.
        backward: ``"joint"`` or ``"eager"``.
        probe_size: height and width of the images, or one number; None takes the model's own input size.

    Raises:
        ValueError: on a value out of range, or a cut that is not possible.

    References:
        Zhang et al., LAKD: Activation Mapping Distillation Based on Local Learning, 2024, Eq. (5) to (9).

    Example:
        In a config::

            student:
              forward_proc: forward_batch_only
              auxiliary_model_wrapper: {key: LAKDStudent, kwargs: {cuts: [1, 4, 9], backward: eager}}
              forward_hook: {output: [local_losses, class_maps.student, class_maps.teacher]}
    """

    inside = "student_model"

    @classmethod
    def own_paths(cls, kwargs: Mapping[str, Any]) -> dict[str, list[str]]:
        """Return the submodules whose outputs the loss reads."""
        return {LOCAL_LOSSES: [""], CLASS_MAPS: ["student", "teacher"]}

    def __init__(
        self,
        student_model: nn.Module,
        device: torch.device | None = None,
        device_ids: list[int] | None = None,
        distributed: bool = False,
        *,
        cuts: str | Sequence[Entry] = "shifted",
        teacher: str | Sequence[Entry] = "stage_ends",
        teacher_channels: Sequence[int] | None = None,
        absolute: bool = True,
        mean_weight: float = 0.25,
        max_weight: float = 0.75,
        attention_from: str | Sequence[int] = "own",
        class_attention: bool = True,
        class_map_size: int = 2,
        backward: str = "joint",
        probe_size: int | Sequence[int] | None = None,
    ) -> None:
        super().__init__(student_model)
        check_choice("backward", backward, BACKWARD)
        if backward == "eager" and (distributed or _several_processes()):
            raise ValueError(
                "LAKDStudent with backward='eager' needs a single process, because DistributedDataParallel expects one "
                "backward pass per forward pass; use backward: joint"
            )
        check_finite("mean_weight", mean_weight)
        check_finite("max_weight", max_weight)
        check_at_least("class_map_size", class_map_size, 1)
        parts = anatomy(student_model, probe_size)
        self.ends = student_points(parts, cuts)
        self.modules_seen = probed_cuts(parts, self.ends)
        self.head = class_point(parts, "student") if class_attention else None
        self.backward, self.wanted, self.class_map_size = backward, teacher, class_map_size
        self.absolute, self.mean_weight, self.max_weight = absolute, mean_weight, max_weight
        self.attention_from = attention_sources(attention_from, len(self.ends))
        own = [module.channels for module in self.modules_seen]
        self.channels = regressed_channels(teacher_channels, own)
        # Without regressors no random number is drawn, so the student starts as it would without the wrapper.
        self.regressors = nn.ModuleList(
            nn.Identity() if c == t else nn.Conv2d(c, t, 1) for c, t in zip(own, self.channels, strict=True)
        )
        self.local_losses = nn.Identity()
        self.class_maps = nn.ModuleDict({"student": nn.Identity(), "teacher": nn.Identity()})
        self.probe_size = parts.size
        self.channel = TeacherChannel()
        self.heard: HeardTeacher | None = None
        self.term_weight: float | None = None
        self.backward_scale: float | Tensor = 1.0
        self._scale_checked = False
        self.last_batch: int | None = None

    def listen_to(self, teacher: nn.Module) -> None:
        """Capture the maps of ``teacher``; raise ``ValueError`` if it lacks one, or the channels do not fit."""
        model = model_inside(teacher)
        if self.channel.teacher is model:
            return
        parts = anatomy(self.student_model, self.probe_size)
        self.heard = heard_teacher(
            model, parts, self.ends, self.wanted, self.channels, class_maps=self.head is not None
        )
        self.channel.connect(model, self.heard.places)

    def set_term_weights(self, weights: Mapping[str, float]) -> None:
        """Set the criterion's weights for the outputs of the student's submodules, by path."""
        if LOCAL_LOSSES not in weights:
            raise ValueError(
                f"LAKDStudent computes local losses, but no term of the criterion reads them: add LAKDLoss under "
                f"criterion.kwargs.sub_terms and set train.student.forward_hook.output: [{LOCAL_LOSSES}]"
            )
        self.term_weight = weights[LOCAL_LOSSES]
        self._scale_checked = False

    def set_backward_scale(self, scale: float | Tensor) -> None:
        """Set the factor on the criterion's value before the backward pass."""
        self.backward_scale = scale

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return the student's output; in training, also compute the local losses."""
        if not self.training or not torch.is_grad_enabled():
            return self.student_model(*args, **kwargs)
        if getattr(self, "_is_replica", False):
            raise ValueError("LAKDStudent does not support DataParallel; use one process per GPU (torchrun)")
        heard, maps = self._teacher_maps()
        teacher_classes = self._class_maps_of_teacher(heard, maps)
        last_map: list[Tensor] = []
        student = self.student_model
        learning = LocalLearning(
            [student.get_submodule(point.path) for point in self.ends],
            lambda number, output: self._local_loss(number, output, heard, maps),
            backward=self.backward,
            scale=self._eager_scale(),
        )
        with self._keeping_last_map(last_map), learning as local:
            output = student(*args, **kwargs)
        if not isinstance(output, Tensor):
            raise ValueError(f"LAKDStudent needs a student that returns logits (B, C), found {type(output).__name__}")
        self.last_batch = len(output)
        losses = self.local_losses(torch.stack(local.losses))
        self._check_scale(losses)
        if teacher_classes is not None:
            classes = self._class_maps_of(student, self.head, last_map[0], at_most=teacher_classes.shape[-1])
            self.class_maps["student"](classes)
            self.class_maps["teacher"](F.adaptive_avg_pool2d(teacher_classes, classes.shape[-1]))
        return keep_in_graph(output, losses)

    def _teacher_maps(self) -> tuple[HeardTeacher, Maps]:
        heard = self.heard
        maps = {place: self.channel.take(place) for place in (heard.places if heard is not None else ())}
        missing = [path for (path, _), value in maps.items() if value is None]
        if heard is None or missing:
            raise ValueError(
                "LAKDStudent has no feature maps of the teacher"
                + (f" at {missing[0]!r}" if missing else "")
                + ": set pre_epoch_process: kd_pre_epoch under train, which connects the two, and run the teacher first"
            )
        return heard, {place: value.detach() for place, value in maps.items()}

    def _local_loss(self, number: int, output: Tensor, heard: HeardTeacher, maps: Maps) -> Tensor:
        """Return a module's feature loss, and free the teacher maps that no later module needs."""
        student, teacher = match_size(self.ends[number].as_map(output), heard.map_of(number, maps))
        attention = None
        if self.mean_weight or self.max_weight:
            attention = activation_map(
                heard.map_of(self.attention_from[number], maps),
                absolute=self.absolute, mean_weight=self.mean_weight, max_weight=self.max_weight,
            )  # fmt: skip
        heard.forget(maps, number, self.attention_from)
        return local_feature_loss(self.regressors[number](student), teacher, attention=attention)

    def _keeping_last_map(self, kept: list[Tensor]) -> Any:
        if self.head is None:
            return contextlib.nullcontext()
        return watch(self.student_model.get_submodule(self.head.path), self.head.io, kept.append)

    def _class_maps_of_teacher(self, heard: HeardTeacher, maps: Maps) -> Tensor | None:
        point, teacher = heard.last_map, self.channel.teacher
        if point is None or teacher is None:
            return None
        with torch.no_grad():
            classes = self._class_maps_of(teacher, point, maps[point.path, point.io])
        heard.forget(maps, -1, self.attention_from)
        return classes

    def _class_maps_of(
        self, model: nn.Module, point: ShownPoint | None, captured: Tensor, *, at_most: int | None = None
    ) -> Tensor:
        """Return class activation maps (B, C, r, r), of pooled features, which is cheaper than pooling the maps."""
        if point is None or point.head is None:
            raise ValueError("class attention needs a linear head on the last map")
        features = widen(point.as_map(captured))
        size = min(self.class_map_size, at_most or self.class_map_size, *features.shape[2:])
        weight = model.get_submodule(point.head).weight
        return class_activation_maps(F.adaptive_avg_pool2d(features, size), weight.flatten(1))  # type: ignore[operator]

    def _eager_scale(self) -> float | Tensor:
        if self.backward == "joint":
            return 1.0
        if self.term_weight is None:
            raise ValueError(
                "LAKDStudent with backward='eager' does not know the weight of its losses: set "
                "pre_epoch_process: kd_pre_epoch under train, or use backward: joint"
            )
        return self.backward_scale * self.term_weight

    def _check_scale(self, losses: Tensor) -> None:
        """Check, once per epoch, the eager gradient's scale against the criterion's."""
        if self.backward == "joint" or self._scale_checked or not losses.requires_grad:
            return
        self._scale_checked = True
        check_scale(losses, self._eager_scale())

    def memory_floor(self, batch_size: int | None = None) -> int:
        """Return an estimate of the least memory of eager training, in bytes; before the first step it is an error.

        It is the memory of the largest module's saved tensors and of the teacher's maps, for ``batch_size`` images, by
        default those of the last step.
        """
        images = self.last_batch if batch_size is None else batch_size
        if self.heard is None or images is None:
            raise ValueError("memory_floor needs the size of the teacher's maps: run one training step first")
        return images * (max(module.kept for module in self.modules_seen) + self.heard.bytes_per_sample)

    def extra_repr(self) -> str:
        """Show the cuts."""
        return f"ends={[point.path for point in self.ends]}, backward={self.backward!r}"


def _several_processes() -> bool:
    distributed = torch.distributed
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1
