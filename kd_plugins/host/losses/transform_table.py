"""The transforms that configs can name, as data: nothing here imports torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Transform:
    """A transform that a config can name."""

    path: str  # "module:name" of a function of a tensor and keywords; the name is the key
    side: str  # by default
    summary: str  # for listings
    paper: str = ""
    check: str = ""  # path of a function that raises on invalid keywords, before any tensor is seen
    not_on_student: str = ""  # reason why the student's side is not allowed


_TRANSFORMS = (
    Transform(
        "kd_plugins.transforms:standardize", "both", "Z-score of every sample's logits", "LSKD, Sun et al., CVPR 2024"
    ),
    Transform(
        "kd_plugins.transforms:keep_salient",
        "teacher",
        "the K largest entries of every sample, zero elsewhere",
        "SFKD, under review",
        check="kd_plugins.transforms.salient:check_salient",
        not_on_student=(
            "the mask is computed from the teacher's tensor and applies to it; masked entries of the student would "
            "get no gradient"
        ),
    ),
    Transform("kd_plugins.transforms:to_feature_map", "both", "tokens or channels-last features to (B, c, H, W)"),
)

TRANSFORMS: dict[str, Transform] = {transform.path.rpartition(":")[2]: transform for transform in _TRANSFORMS}
