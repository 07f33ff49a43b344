"""What synthetic images are compared with, and how far apart images are."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from ..._errors import ConfigError
from ...data import SyntheticImages
from ...data.inside import base_datasets, normalisation
from ..base import Pass, Reading, Study, Subject
from ..drawing import displayed
from ..passes import run_models
from ..study import drawn, training_set

FEATURE, STATISTICS = "feature", "statistics"
KEY = "synthesis"
BATCH = 128


def synthetic_images(study: Study) -> SyntheticImages:
    """Return the config's training images.

    Raises:
        ConfigError: unless they are a :class:`~kd_plugins.data.SyntheticImages`.
    """
    found = base_datasets(training_set(study)[1])[0]
    if not isinstance(found, SyntheticImages):
        raise ConfigError(
            f"{study.config.path}: synthesis needs kd_plugins.data.SyntheticImages as training images, found "
            f"{type(found).__name__}; `kd-plugins synthesize` computes them"
        )
    return found


def real_images(study: Study, count: int, size: tuple[int, int]) -> Tensor:
    """Return some test images, drawn by the seed, as uint8 of a size, shape (count, 3, H, W)."""
    rows = drawn(len(study.dataset), count, study.seed)
    images = displayed(study.images(rows.tolist()), normalisation(study.dataset))
    return as_bytes(resized(images, size))


def noise_like(images: Tensor, seed: int) -> Tensor:
    """Return normal noise with the mean and deviation of every channel of uint8 images (N, 3, H, W)."""
    values = images.float() / 255
    mean, std = values.mean((0, 2, 3)), values.std((0, 2, 3))
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(seed))
    return as_bytes(noise * std[:, None, None] + mean[:, None, None])


def as_bytes(images: Tensor) -> Tensor:
    """Return images from 0 to 1 as uint8."""
    return (255 * images.clamp(0, 1)).round().byte()


def resized(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Return images (N, c, h, w) at another size, bilinearly."""
    if tuple(images.shape[2:]) == tuple(size):
        return images
    return F.interpolate(images, size, mode="bilinear", align_corners=False, antialias=True)


def looked_at(study: Study, subject: Subject, images: Tensor, labels: Tensor, reading: Reading | None = None) -> Pass:
    """Run a model over uint8 images (N, 3, H, W), with the normalisation and the size of the study's test images."""
    known = normalisation(study.dataset)
    size = study.images([0]).shape[2:]

    def batch(rows: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        values = resized(torch.stack([image for image, _ in rows]).float() / 255, (size[0], size[1]))
        if known is not None:
            mean, std = (torch.tensor(numbers)[:, None, None] for numbers in known)
            values = (values - mean) / std
        return values, torch.stack([label for _, label in rows])

    loader: DataLoader = DataLoader(TensorDataset(images, labels), batch_size=BATCH, collate_fn=batch)
    readings = {} if reading is None else {(KEY, subject.name): reading}
    return run_models([subject], loader, study.procs.device, readings)


def first_batch_norm(subject: Subject) -> tuple[str, nn.BatchNorm2d] | None:
    """Return path and module of a model's first batch norm with running statistics; None if it has none."""
    for path, module in subject.inside.named_modules():
        if isinstance(module, nn.BatchNorm2d) and module.running_mean is not None:
            return path, module
    return None


def teacher_reading(subject: Subject) -> Reading:
    """Return a reading of the pooled feature, and of mean and mean square of the first batch norm's input."""
    pooled = subject.point("pooled")
    places: dict[str, Any] = {FEATURE: ((pooled.path, pooled.io), lambda x: pooled.as_map(x).mean((2, 3)))}
    norm = first_batch_norm(subject)
    if norm is not None:
        places[STATISTICS] = ((norm[0], "input"), _moments)
    return Reading(places)


def _moments(x: Tensor) -> Tensor:
    x = x.double()
    return torch.stack([x.mean((2, 3)), x.square().mean((2, 3))], dim=1)


def beside_running(moments: Tensor, norm: nn.BatchNorm2d) -> dict[str, Any]:
    """Return statistics of a batch norm's input beside its running ones.

    Args:
        moments: mean and mean square of every image and channel, shape (N, 2, C).
        norm: the batch norm.

    Returns:
        ``mean`` and ``std`` of every channel; ``mean_distance``, the mean over channels of the absolute difference of
        the means in running deviations; ``std_ratio``, the mean over channels of the ratio of the deviations.
    """
    mean, square = moments.double().mean(0)
    std = (square - mean.square()).clamp_min(0).sqrt()
    running, spread = running_statistics(norm).values()
    return {
        "mean": mean,
        "std": std,
        "mean_distance": ((mean - running).abs() / spread).mean(),
        "std_ratio": (std / spread).mean(),
    }


def running_statistics(norm: nn.BatchNorm2d) -> dict[str, Tensor]:
    """Return ``running_mean`` and ``running_std`` of a batch norm."""
    buffers = {name: buffer.double().cpu() for name, buffer in norm.named_buffers()}
    return {"running_mean": buffers["running_mean"], "running_std": (buffers["running_var"] + norm.eps).sqrt()}


def nearest_distances(rows: Tensor) -> Tensor:
    """Return the Euclidean distance of every row (N, d) to the nearest other one, shape (N,).

    Example:
        >>> nearest_distances(torch.tensor([[0.0], [1.0], [5.0]]))
        tensor([1., 1., 4.])
    """
    # Imported here because scikit-learn takes a second to import.
    from sklearn.neighbors import NearestNeighbors

    distances, _ = NearestNeighbors(n_neighbors=1).fit(rows.numpy()).kneighbors()  # without a query: other rows only
    return torch.from_numpy(distances[:, 0]).to(rows.dtype)


def pixel_distances(images: Tensor) -> Tensor:
    """Return the distance of every uint8 image to the nearest other one: root mean square of pixel values from 0 to 1.

    Example:
        >>> pixel_distances(torch.tensor([[0], [255], [51]], dtype=torch.uint8)).round(decimals=4)
        tensor([0.2000, 0.8000, 0.2000])
    """
    rows = images.flatten(1).float() / 255
    return nearest_distances(rows) / rows.shape[1] ** 0.5
