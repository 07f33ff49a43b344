"""Teacher wrapper for detectors: its pyramid, and its scores of the student's proposals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ...models import freeze
from ..transparent import POINTS, TransparentWrapper
from .anatomy import levels_of, pyramid_of
from .same_sizes import SizesOfStudent

PROPOSALS, LABELS, FPN = "proposals", "proposal_labels", "fpn"
MOST_LEVELS = 6


class DetectionTeacher(TransparentWrapper):
    """Run only the backbone of a frozen detector, on the images as the student sees them.

    Losses read the teacher's maps at ``points.fpn.0`` (the finest) and so on, and its class logits of the student's
    proposals at ``points.proposals``; the config need not hook these paths. The student's wrapper,
    :class:`~kd_plugins.host.detection.student.DetectionStudent`, asks for the logits. The images have the student's
    sizes and the teacher's normalisation. RPN and other heads do not run.

    Module paths and the state dict are the wrapped teacher's.

    Args:
        teacher_model: a detector of torchvision's kind, given by torchdistill like the rest, which is unused.

    Raises:
        ValueError: if the model is no such detector.

    Example:
        In a config::

            teacher:
              forward_proc: forward_batch_only
              requires_grad: False
              auxiliary_model_wrapper: {key: DetectionTeacher, kwargs: {}}
    """

    inside = "teacher_model"

    def __init__(
        self,
        teacher_model: nn.Module,
        device: torch.device | None = None,
        device_ids: list[int] | None = None,
        distributed: bool = False,
    ) -> None:
        super().__init__(freeze(teacher_model))
        self.levels = levels_of(teacher_model)
        # In a tuple, because it stays in training mode and must not be a submodule.
        self._sizes: tuple[SizesOfStudent, ...] = ()
        self.forget()
        self.eval()

    @classmethod
    def own_paths(cls, kwargs: Mapping[str, Any]) -> dict[str, list[str]]:
        """Return the names under ``points`` that losses can read."""
        return {POINTS: [PROPOSALS, *(f"{FPN}.{number}" for number in range(MOST_LEVELS))]}

    def train(self, mode: bool = True) -> DetectionTeacher:
        """Stay in eval mode; ``mode`` is ignored."""
        del mode
        super().train(False)
        return self

    def follow(self, student: Any) -> None:
        """Resize images as the detector ``student`` does in training."""
        self._sizes = (SizesOfStudent(student.transform, self.teacher_model.transform).train(),)

    def forget(self) -> None:
        """Drop what is kept of a batch."""
        self._pyramid: dict[str, Tensor] = {}
        self._io_dict: dict[str, Any] = {}

    @torch.no_grad()
    def forward(self, images: Sequence[Tensor], *_targets: Any) -> dict[str, Tensor]:
        """Return the pyramid of a list of images (3, H, W)."""
        if not self._sizes:
            raise ValueError(
                "DetectionTeacher is not connected to a student: set pre_epoch_process: kd_pre_epoch under train, and "
                "train.student.auxiliary_model_wrapper: {key: DetectionStudent, kwargs: {}}"
            )
        self.eval()
        self.forget()
        sizes = self._sizes[0]
        sizes.drawn.clear()
        self._pyramid = pyramid_of(self.teacher_model.backbone(sizes(list(images))[0].tensors))
        return self._pyramid

    def secondary_forward(self, io_dict: dict[str, Any]) -> None:
        """Put the maps into the io dict that the criterion gets, and keep it for the logits."""
        self._io_dict = io_dict
        for number, level in enumerate(self._pyramid.values()):
            io_dict[f"{POINTS}.{FPN}.{number}"] = {"output": level}

    def take_sizes(self) -> list[int]:
        """Return and drop the sizes that were drawn for the last batch."""
        (sizes,) = self._sizes
        drawn, sizes.drawn = sizes.drawn, []
        return drawn

    @torch.no_grad()
    def score(self, boxes: list[Tensor], image_sizes: list[tuple[int, int]]) -> None:
        """Put the class logits of boxes, a tensor (m, 4) per image, into the io dict of this batch."""
        if not self._pyramid:
            return  # the teacher did not see this batch
        heads: Any = self.teacher_model.roi_heads
        pooled = heads.box_roi_pool(self._pyramid, boxes, image_sizes)
        self._io_dict[f"{POINTS}.{PROPOSALS}"] = {"output": heads.box_predictor(heads.box_head(pooled))[0]}
        self.forget()
