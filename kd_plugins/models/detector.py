"""Faster R-CNN with a feature pyramid over any timm backbone."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any

import torch
from torch import Tensor, nn

from .._checks import check_keywords, check_whole, named_keywords
from .checkpoint import load_checkpoint
from .frozen import freeze
from .pretrained import known_name
from .timm import create

STRIDES = (4, 8, 16, 32)
"""Strides of the backbone's maps below the pyramid; its last level, pooled, has 64."""

RATIOS = (0.5, 1.0, 2.0)
GIVEN = ("backbone", "num_classes", "rpn_anchor_generator", "box_roi_pool", "box_head", "box_predictor")
"""Keywords of torchvision's FasterRCNN that come from those of :func:`timm_detector`."""


class TimmPyramid(nn.Module):
    """A timm backbone (``features_only=True``) with a pyramid: maps of strides 4 to 64, ``0`` to ``3`` and ``pool``."""

    def __init__(self, body: nn.Module, channels: int) -> None:
        from torchvision.ops import FeaturePyramidNetwork
        from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

        super().__init__()
        self.body, self.out_channels = body, channels
        info: Any = body.feature_info
        strides = {stride: number for number, stride in enumerate(info.reduction())}
        missing = [stride for stride in STRIDES if stride not in strides]
        if missing:
            raise ValueError(
                f"model_name must be a backbone with maps of strides {list(STRIDES)}, found {list(strides)}; choose a "
                "convolutional network such as resnet18"
            )
        self.numbers = [strides[stride] for stride in STRIDES]
        widths = [info.channels()[number] for number in self.numbers]
        self.fpn = FeaturePyramidNetwork(widths, channels, LastLevelMaxPool())
        self.is_nhwc = str(getattr(body, "output_fmt", "NCHW")).endswith("NHWC")

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Return the pyramid of images (B, 3, H, W)."""
        maps = self.maps(images)
        return self.fpn(OrderedDict((str(level), maps[number]) for level, number in enumerate(self.numbers)))

    def maps(self, images: Tensor) -> list[Tensor]:
        """Return all maps of the backbone as (B, c, H, W)."""
        maps = self.body(images)
        return [x.permute(0, 3, 1, 2) for x in maps] if self.is_nhwc else list(maps)


def timm_detector(
    *,
    model_name: str,
    num_classes: int,
    pretrained: bool = False,
    checkpoint: str | PathLike[str] | None = None,
    channels: int = 256,
    representation: int = 1024,
    pooled_size: int = 7,
    anchors: Sequence[int] = (32, 64, 128, 256, 512),
    frozen_stages: int = 2,
    frozen_norms: bool = True,
    frozen: bool = False,
    **kwargs: Any,
) -> nn.Module:
    """Build Faster R-CNN with a feature pyramid over a timm backbone.

    The anchors have three aspect ratios, 1:2, 1:1 and 2:1. The defaults are those of detectron2's ResNets.

    Args:
        model_name: a timm name with feature maps of strides 4, 8, 16 and 32, such as ``resnet18``.
        num_classes: number of classes + 1, as in torchvision: class 0 is the background.
        pretrained: whether to load timm's weights of the backbone, from its cache or by download.
        checkpoint: file with weights of the whole detector.
        channels: channels of the pyramid.
        representation: width of the box head.
        pooled_size: height and width to which a proposal is pooled.
        anchors: side of the anchors of each of the five levels, in pixels.
        frozen_stages: parts of the backbone that are not trained: 0 none, 1 the stem (stride 2), 2 also the first stage
            (stride 4), and so on, up to 5.
        frozen_norms: fix the statistics and weights of the backbone's batch norms.
        frozen: keep the model in eval mode without gradients, as for a teacher.
        kwargs: passed to torchvision's ``FasterRCNN``, such as ``min_size``, ``max_size`` and
            ``box_batch_size_per_image``.

    Returns:
        torchvision's ``FasterRCNN``: from images (3, H, W) in 0..1, and in training targets, to losses in training and
        detections otherwise. It normalises the images as the backbone needs.

    Raises:
        ValueError: on an unknown name or keyword, a backbone without these maps, a number that is too small, or weights
            that do not fit.

    References:
        Ren et al., Faster R-CNN, NeurIPS 2015; Lin et al., Feature Pyramid Networks for Object Detection, CVPR 2017.

    Example:
        >>> detector = timm_detector(
        ...     model_name="test_resnet", num_classes=11, channels=32, representation=64, min_size=64, max_size=64
        ... ).eval()
        >>> sorted(detector([torch.rand(3, 64, 64)])[0])
        ['boxes', 'labels', 'scores']
    """
    from torchvision.models.detection import FasterRCNN
    from torchvision.models.detection.anchor_utils import AnchorGenerator
    from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
    from torchvision.ops import MultiScaleRoIAlign

    check_whole("channels", channels, 1)
    check_whole("representation", representation, 1)
    check_whole("pooled_size", pooled_size, 1)
    check_whole("num_classes", num_classes, 2)
    if len(anchors) != len(STRIDES) + 1:
        raise ValueError(f"anchors must be five sides, one per level of the pyramid, found {list(anchors)}")
    check_keywords("timm_detector", kwargs, [name for name in named_keywords(FasterRCNN)[0] if name not in GIVEN])
    body = create(known_name(model_name), pretrained, {"features_only": True})
    backbone = TimmPyramid(body, channels)
    _freeze_stages(backbone, frozen_stages)
    if frozen_norms:
        from timm.utils.model import freeze_batch_norm_2d

        backbone.body = freeze_batch_norm_2d(body)
    expected = getattr(body, "pretrained_cfg", None)
    if isinstance(expected, Mapping):
        kwargs = {"image_mean": list(expected["mean"]), "image_std": list(expected["std"]), **kwargs}
    levels = [str(level) for level in range(len(STRIDES))]
    model = FasterRCNN(
        backbone,
        rpn_anchor_generator=AnchorGenerator(tuple((side,) for side in anchors), (RATIOS,) * len(anchors)),
        box_roi_pool=MultiScaleRoIAlign(levels, pooled_size, sampling_ratio=2),
        box_head=TwoMLPHead(channels * pooled_size**2, representation),
        box_predictor=FastRCNNPredictor(representation, num_classes),
        **kwargs,
    )
    if checkpoint is not None:
        load_checkpoint(model, checkpoint)
    return freeze(model) if frozen else model


def _freeze_stages(backbone: TimmPyramid, stages: int) -> None:
    """Freeze the parameters on which the map of stride 2^stages depends."""
    check_whole("frozen_stages", stages, 0)
    if not stages:
        return
    strides = list(backbone.body.feature_info.reduction())  # type: ignore[operator, union-attr]
    if 2**stages not in strides:
        raise ValueError(
            f"frozen_stages must be a number whose stride, 2^n, the backbone has, found {stages}; strides: {strides}"
        )
    parameters = list(backbone.body.parameters())
    backbone.body.eval()
    with torch.enable_grad():
        found = backbone.maps(torch.zeros(1, 3, 64, 64))[strides.index(2**stages)]
        reached = torch.autograd.grad(found.sum(), parameters, allow_unused=True)
    backbone.body.train()
    for parameter, gradient in zip(parameters, reached, strict=True):
        parameter.requires_grad_(gradient is None)
