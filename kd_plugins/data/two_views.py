"""Data set wrapper with a weakly and a strongly augmented view of every image in one batch."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset, Subset, default_collate


class TwoViews(Dataset):
    """Return two augmentations of each image of a data set; :func:`collate_two_views` makes one batch of them.

    The data set itself does not change: the wrapper uses a shallow copy without a transform.

    Args:
        dataset: torchvision-style data set with a ``transform``, or a ``Subset`` of one.
        strong: augmentation of the strong view, from the raw image to a tensor.
        weak: augmentation of the weak view; by default the data set's own transform.

    Raises:
        ValueError: if the data set has no attribute ``transform``, or there is no weak augmentation.

    References:
        Jin, Wang, Lin, Multi-Level Logit Distillation, CVPR 2023, Section 3.1.

    Example:
        >>> from kd_plugins.data import Digits
        >>> dataset = TwoViews(Digits(train=False, transform=lambda image: "weak"), strong=lambda image: "strong")
        >>> dataset[0]
        (('weak', 'strong'), 1, {})
    """

    def __init__(
        self, dataset: Dataset, strong: Callable[[Any], Tensor], weak: Callable[[Any], Tensor] | None = None
    ) -> None:
        self.raw, own = _without_transform(dataset)
        self.weak = own if weak is None else weak
        self.strong = strong
        if not callable(self.weak):
            raise ValueError("TwoViews needs a weak augmentation: set the data set's transform, or weak of TwoViews")
        if not callable(strong):
            raise ValueError(f"strong of TwoViews must be callable on an image, found {strong!r}")

    def __len__(self) -> int:
        return len(self.raw)

    def __getitem__(self, index: int) -> tuple[tuple[Any, Any], Any, dict[str, Any]]:
        """Return both views, the label and torchdistill's supplementary dict."""
        image, target = self.raw[index]
        return (self.weak(image), self.strong(image)), target, {}


def collate_two_views(
    samples: Sequence[tuple[tuple[Tensor, Tensor], Any, dict[str, Any]]],
) -> tuple[Tensor, Tensor, Any]:
    """Return the weak views of all samples followed by the strong ones, and the labels twice.

    Every term of the criterion sees both views. The authors' code sums the cross-entropies of the two views, which is
    twice the mean over both, so its weight 0.1 is 0.2 here. Batch norms also see both views together, while that code
    runs the student once per view.

    Args:
        samples: B samples of :class:`TwoViews`.

    Returns:
        Images (2B, c, H, W), labels (2B,) and the supplementary dict.

    Raises:
        ValueError: on samples without two views.

    Example:
        >>> weak, strong = torch.zeros(1, 2, 2), torch.ones(1, 2, 2)
        >>> images, labels, _ = collate_two_views([((weak, strong), 3, {}), ((weak, strong), 5, {})])
        >>> images.mean((1, 2, 3)).tolist(), labels.tolist()
        ([0.0, 0.0, 1.0, 1.0], [3, 5, 3, 5])
    """
    views, targets, supplement = zip(*samples, strict=True)
    if not all(isinstance(pair, tuple) and len(pair) == 2 for pair in views):
        raise ValueError(
            "collate_two_views needs samples of two views; add dataset_wrapper: {key: TwoViews, ...} to the loader"
        )
    weak, strong = (default_collate(list(side)) for side in zip(*views, strict=True))
    if weak.shape != strong.shape:
        raise ValueError(
            f"weak and strong views must have the same shape, found {tuple(weak.shape[1:])} and "
            f"{tuple(strong.shape[1:])}"
        )
    labels = default_collate(list(targets))
    return torch.cat([weak, strong]), torch.cat([labels, labels]), default_collate(list(supplement))


def _without_transform(dataset: Any) -> tuple[Any, Any]:
    """Return a shallow copy of a data set without its transform, and the transform."""
    raw = copy.copy(dataset)
    if isinstance(dataset, Subset):
        raw.dataset, own = _without_transform(dataset.dataset)
        return raw, own
    if not hasattr(dataset, "transform"):
        raise ValueError(
            f"TwoViews needs a data set with a transform attribute, as torchvision's have, found "
            f"{type(dataset).__name__}"
        )
    raw.transform = None
    # torchvision also keeps both transforms as a pair in this attribute.
    if getattr(raw, "transforms", None) is not None:
        raw.transforms = copy.copy(raw.transforms)
        raw.transforms.transform = None
    return raw, dataset.transform
