"""A weakly and a strongly augmented view of every image, in one batch."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset, Subset, default_collate


class TwoViews(Dataset):
    """Give two augmentations of each image of a data set, which :func:`collate_two_views` brings into one batch.

    The data set itself is left as it is: the wrapper reads through a copy without a transform that shares its data.

    Args:
        dataset: torchvision-style data set with a ``transform``, or a ``Subset`` of one.
        strong: augmentation of the strong view, from the raw image to a tensor.
        weak: augmentation of the weak view; by default the data set's own transform.

    Raises:
        ValueError: when the data set has no transform to take apart, or none is given for the weak view.

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
            raise ValueError("TwoViews needs a weak augmentation: give the data set a transform, or weak here")
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

    Every term of the criterion sees both views: the mean cross-entropy over them is half of the sum of the two that
    the authors' code has, so that its weight 0.1 is 0.2 here. Batch norms see both views together as well, where
    that code runs the student once a view.

    Args:
        samples: B samples of :class:`TwoViews`.

    Returns:
        Images (2B, c, H, W), labels (2B,) and the supplementary dict.

    Raises:
        ValueError: on samples that are not two views.

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
            f"weak and strong views must have one shape, found {tuple(weak.shape[1:])} and {tuple(strong.shape[1:])}"
        )
    labels = default_collate(list(targets))
    return torch.cat([weak, strong]), torch.cat([labels, labels]), default_collate(list(supplement))


def _without_transform(dataset: Any) -> tuple[Any, Any]:
    """Return a copy of a data set that gives raw images, sharing its data, and the transform that is gone."""
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
    # What torchvision's folders and VisionDataset pair both transforms in.
    if getattr(raw, "transforms", None) is not None:
        raw.transforms = copy.copy(raw.transforms)
        raw.transforms.transform = None
    return raw, dataset.transform
