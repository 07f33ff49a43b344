"""Rows of KD-layer scores and of teacher features, one per position."""

from __future__ import annotations

from torch import Tensor

from ..transforms.feature_map import match_size
from ..transforms.precision import widen
from ._inputs import check_features


def _check_map_or_rows(argument: str, x: object) -> None:
    check_features(argument, x, ndim=None)
    if x.ndim not in (2, 4):  # type: ignore[attr-defined]
        raise ValueError(
            f"{argument} must be a map of shape (B, c, H, W) or rows (N, c), found {tuple(x.shape)}"  # type: ignore[attr-defined]
        )


def wide_scores(scores: Tensor, count: int | None = None, what: str = "") -> Tensor:
    """Return checked scores (B, K, H, W) or (N, K), float32 at least; K must be ``count``, where that is known."""
    _check_map_or_rows("scores", scores)
    if count is not None and scores.shape[1] != count:
        raise ValueError(
            f"scores must have one entry for each of the {count} {what} of the statistics, found {scores.shape[1]}: "
            f"num_scores of the student's KD layer must be {count}"
        )
    return widen(scores)


def teacher_features(features: Tensor, channels: int) -> Tensor:
    """Return a teacher's checked map or rows, detached, float32 at least."""
    _check_map_or_rows("features", features)
    if features.shape[1] != channels:
        raise ValueError(
            f"features must have the {channels} channels that the statistics were fitted on, found shape "
            f"{tuple(features.shape)}; is this the teacher and the layer of the statistics?"
        )
    return widen(features.detach())


def pooled_to(features: Tensor, scores: Tensor) -> Tensor:
    """Return the teacher's map at the size of the scores."""
    _check_map_or_rows("features", features)
    if features.ndim != scores.ndim:
        raise ValueError(
            f"scores and features must both be maps or both be rows, found {tuple(scores.shape)} and "
            f"{tuple(features.shape)}"
        )
    size, own = list(scores.shape[2:]), list(features.shape[2:])
    if len(features) != len(scores) or any(mine > theirs for mine, theirs in zip(size, own, strict=True)):
        raise ValueError(
            "features must be of the images of the scores, on a map that is no smaller, found scores "
            f"{tuple(scores.shape)} and features {tuple(features.shape)}; compare an earlier layer of the teacher, or "
            "put the KD layer after a later one of the student"
        )
    return features if size == own else match_size(scores.detach(), widen(features.detach()))[1]
