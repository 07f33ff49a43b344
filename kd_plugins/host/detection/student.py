"""Student wrapper for detectors: class logits of its proposals, their labels, and its pyramid."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ..._checks import check_keywords, check_whole
from ...data.detection.collate import check_labels
from ..keep_in_graph import keep_in_graph
from ..students.review import SizedFusion
from ..teachers.channel import TeacherChannel
from ..transparent import POINTS, TransparentWrapper
from .anatomy import check_proposals, check_pyramids, columns_of, levels_of, pyramid_of
from .same_sizes import replayed
from .teacher import FPN, LABELS, MOST_LEVELS, PROPOSALS, DetectionTeacher

REVIEW = {"mid_channels": 256, "channels": None}
"""Keywords of ``review`` and their defaults."""


@dataclass
class _Seen:
    """What one forward pass of the student showed."""

    pyramid: dict[str, Tensor] = field(default_factory=dict)
    targets: list[dict[str, Tensor]] = field(default_factory=list)
    boxes: list[Tensor] = field(default_factory=list)
    image_sizes: list[tuple[int, int]] = field(default_factory=list)
    logits: Tensor | None = None


class DetectionStudent(TransparentWrapper):
    """Show the tensors of a detector's ordinary training pass to losses.

    The config hooks the outputs that its losses read: ``points.proposals``, the class logits (N, C + 1) of all sampled
    proposals; ``points.proposal_labels``, their labels (N,), 0 for the background; and ``points.fpn.0`` (the finest),
    ``points.fpn.1`` and so on, the levels of the pyramid. Without a hook, nothing is computed. If the proposals are
    hooked, the teacher scores the same boxes, at its own ``points.proposals``. The student's head runs once.

    The detector's output, module paths, state dict and random draws do not change. In eval mode it does nothing.

    Args:
        student_model: a detector of torchvision's kind, given by torchdistill. For the proposals it needs ``roi_heads``
            (Faster R-CNN, Mask R-CNN).
        review: ``{mid_channels: 256, channels: 256}`` fuses each level with the deeper ones before it is shown, as
            ReviewKD does. ``channels`` are the teacher's, by default the student's own.

    Raises:
        ValueError: if the model is no such detector, or ``review`` has other keywords or values.

    References:
        Zhu et al., CKD: Contrastive Knowledge Distillation from A Sample-wise Perspective, Section IV-B; Chen et al.,
        Distilling Knowledge via Knowledge Review, CVPR 2021, Section 4.3.

    Example:
        In a config::

            student:
              forward_proc: forward_batch_target
              auxiliary_model_wrapper: {key: DetectionStudent, kwargs: {review: {mid_channels: 256}}}
              forward_hook: {output: [points.proposals, points.fpn.0, points.fpn.1]}
    """

    inside = "student_model"

    def __init__(
        self,
        student_model: nn.Module,
        device: torch.device | None = None,
        device_ids: list[int] | None = None,
        distributed: bool = False,
        *,
        review: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(student_model)
        if hasattr(student_model, POINTS):
            raise ValueError(f"{type(student_model).__name__} already has an attribute {POINTS!r}; rename it")
        self.levels = levels_of(student_model)
        self.link = TeacherChannel()
        self.points = nn.ModuleDict({PROPOSALS: nn.Identity(), LABELS: nn.Identity()})
        self.points[FPN] = nn.ModuleList(nn.Identity() for _ in self.levels)
        self.fusions = nn.ModuleList()
        self.channels: int | None = None
        if review is not None:
            check_keywords("review", review, REVIEW)
            middle, channels = ({**REVIEW, **review}[name] for name in REVIEW)
            own = [level.channels for level in self.levels.values()]
            self.channels = own[0] if channels is None else channels
            check_whole("mid_channels of review", middle, 1)
            check_whole("channels of review", self.channels, 1)
            self.fusions.extend(
                SizedFusion(width, middle, self.channels, uses_attention=number < len(own) - 1)
                for number, width in enumerate(own)
            )

    @classmethod
    def own_paths(cls, kwargs: Mapping[str, Any]) -> dict[str, list[str]]:
        """Return the names of the wrapper's own modules."""
        return {POINTS: [PROPOSALS, LABELS, *(f"{FPN}.{number}" for number in range(MOST_LEVELS))]}

    def listen_to(self, teacher: nn.Module) -> None:
        """Connect to the teacher's wrapper; raise ``ValueError`` if the two detectors do not fit."""
        if not isinstance(teacher, DetectionTeacher):
            raise ValueError(
                f"DetectionStudent needs the teacher in its wrapper, found {type(teacher).__name__}: set "
                "train.teacher.auxiliary_model_wrapper: {key: DetectionTeacher, kwargs: {}}"
            )
        if self._hooked(PROPOSALS):
            check_proposals(self.student_model, teacher.teacher_model, teacher.levels)
        if self._hooked_levels():
            check_pyramids(self.levels, teacher.levels, self.channels)
        self.link.connect(teacher, ())
        teacher.follow(self.student_model)

    def forward(self, images: list[Tensor], targets: list[dict[str, Tensor]] | None = None) -> Any:
        """Return the detector's losses in training, else its detections."""
        if not self.training or targets is None:
            return self.student_model(images, targets)
        columns = columns_of(self.student_model)
        if columns is not None:
            check_labels(targets, columns)
        teacher: Any = self.link.teacher
        sizes = [] if teacher is None else teacher.take_sizes()
        with replayed(self.student_model.transform, sizes), self._observed() as seen:
            losses = self.student_model(images, targets)
        shown = self._show(seen, teacher)
        first = next(iter(losses))
        return {**losses, first: keep_in_graph(losses[first], *shown)}

    def _show(self, seen: _Seen, teacher: Any) -> list[Tensor]:
        """Call the modules under ``points`` that are hooked; return what they showed with a gradient."""
        shown: list[Tensor] = []
        if seen.logits is not None and self._hooked(PROPOSALS):
            shown.append(self.points[PROPOSALS](seen.logits))
            if teacher is not None:
                teacher.score(seen.boxes, seen.image_sizes)
        if self._hooked(LABELS):
            self.points[LABELS](self._labels(seen))
        if self._hooked_levels():
            maps = self._fused(list(seen.pyramid.values()))
            shown += [level(x) for level, x in zip(self._fpn, maps, strict=True)]
        return shown

    @torch.no_grad()
    def _labels(self, seen: _Seen) -> Tensor:
        """Return the labels of the sampled proposals, which ``select_training_samples`` does not show."""
        heads: Any = self.student_model.roi_heads
        boxes = [target["boxes"].to(seen.boxes[0].dtype) for target in seen.targets]
        labels = [target["labels"] for target in seen.targets]
        return torch.cat(heads.assign_targets_to_proposals(seen.boxes, boxes, labels)[1])

    def _fused(self, maps: list[Tensor]) -> list[Tensor]:
        """Return the maps after the fusion, if there is one, from the deepest level to the finest."""
        if not len(self.fusions):
            return maps
        residual: Tensor | None = None
        fused: list[Tensor] = []
        for number in reversed(range(len(maps))):
            x = maps[number]
            if x.shape[0] * x.shape[2] * x.shape[3] == 1:
                raise ValueError(
                    f"points.{FPN}.{number} has one position in the whole batch, too few for the fusion's batch norm: "
                    "use larger images or more of them per batch"
                )
            features, residual = self.fusions[number](x, residual)
            fused.insert(0, features)
        return fused

    @contextmanager
    def _observed(self) -> Iterator[_Seen]:
        """Keep the tensors of one forward pass."""
        seen = _Seen()

        def keep_pyramid(_module: nn.Module, _inputs: Any, output: Any) -> None:
            seen.pyramid = pyramid_of(output)

        def keep_targets(_module: nn.Module, _inputs: Any, output: Any) -> None:
            seen.targets = output[1]

        def keep_boxes(_module: nn.Module, inputs: Any) -> None:
            _, seen.boxes, seen.image_sizes = inputs

        def keep_logits(_module: nn.Module, _inputs: Any, output: Any) -> None:
            seen.logits = output[0]

        model: Any = self.student_model
        with ExitStack() as hooks:
            hooks.enter_context(model.backbone.register_forward_hook(keep_pyramid))
            hooks.enter_context(model.transform.register_forward_hook(keep_targets))
            if hasattr(model, "roi_heads"):
                hooks.enter_context(model.roi_heads.box_roi_pool.register_forward_pre_hook(keep_boxes))
                hooks.enter_context(model.roi_heads.box_predictor.register_forward_hook(keep_logits))
            yield seen

    @property
    def _fpn(self) -> Any:
        return self.points[FPN]

    def _hooked(self, name: str) -> bool:
        return bool(self.points[name]._forward_hooks)

    def _hooked_levels(self) -> bool:
        return any(level._forward_hooks for level in self._fpn)
