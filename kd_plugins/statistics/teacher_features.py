"""Stream of a teacher's features, computed batch by batch in every pass."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from .._checks import is_index
from ..data.loading import batches
from ..transforms.feature_map import match_size
from ..transforms.precision import widen
from .artefact import StatisticsError
from .streaming import Block, Shape


class TeacherFeatures:
    """Features of a teacher's layer over a data set, in a fixed random order.

    The order is random because many data sets are sorted by class, which single-pass algorithms do not support.

    Args:
        teacher: runs in eval mode without gradient; its mode is restored after each pass.
        layer: the module with the feature map.
        dataset: returns (image, label), or images alone.
        io: ``"output"`` or ``"input"`` of the module.
        map_size: (H, W) of the student's map, to which larger maps are average-pooled; None keeps the teacher's.
        seed: seed of the order.
        batch_size: number of images at a time.
        num_workers: number of processes that read images.
        device: device of the teacher.
        progress: show a progress bar, unless stderr is a file or a pipe.

    Raises:
        StatisticsError: if the data set is empty or the layer returns no map.
    """

    def __init__(
        self,
        teacher: nn.Module,
        layer: nn.Module,
        dataset: Dataset,
        *,
        io: str = "output",
        map_size: tuple[int, int] | None = None,
        seed: int = 0,
        batch_size: int = 64,
        num_workers: int = 0,
        device: torch.device | str = "cpu",
        progress: bool = False,
    ) -> None:
        self.teacher, self.layer, self.io = teacher, layer, io
        self.map_size, self.progress = map_size, progress
        self.device = torch.device(device)
        self.seconds: float | None = None
        images = len(dataset)  # type: ignore[arg-type]
        if not images:
            raise StatisticsError("the training data set is empty: there is nothing to fit")
        order = torch.randperm(images, generator=torch.Generator().manual_seed(seed)).tolist()
        self.loader: DataLoader = DataLoader(
            dataset, batch_size=batch_size, sampler=order, num_workers=num_workers,
            pin_memory=self.device.type == "cuda",
        )  # fmt: skip
        first, _ = _image_and_label(next(batches(DataLoader(dataset, batch_size=1))))
        with self._capturing() as run:
            maps, logits = run(first)
        self.classes = logits.shape[1] if isinstance(logits, Tensor) and logits.ndim == 2 else 0
        self.shape = Shape(images, maps.shape[2], maps.shape[3], maps.shape[1])

    def blocks(self, title: str) -> Iterator[Block]:
        """Run the teacher over the data set once."""
        started = time.perf_counter()
        with self._capturing() as run, tqdm(
            total=self.shape.images, desc=title, unit="image", leave=False, disable=None if self.progress else True
        ) as bar:  # fmt: skip
            for batch in batches(self.loader):
                images, labels = _image_and_label(batch)
                maps, _ = run(images)
                features = widen(maps).flatten(2).transpose(1, 2).contiguous()
                if not torch.isfinite(features).all():
                    advice = "check that its checkpoint holds a trained model"
                    raise StatisticsError(f"the teacher's features contain infinite values or NaN; {advice}")
                yield Block(features, self._checked(labels))
                bar.update(len(images))
        self.seconds = time.perf_counter() - started

    @contextmanager
    def _capturing(self) -> Iterator[Callable[[Tensor], tuple[Tensor, Any]]]:
        captured: list[Any] = []

        def hook(_module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            captured[:] = (args[:1] or [None]) if self.io == "input" else [output]

        def run(images: Tensor) -> tuple[Tensor, Any]:
            captured[:] = [None]
            with torch.inference_mode():
                logits = self.teacher(images.to(self.device, non_blocking=True))
                return self._pooled(captured[0]), logits

        was_training = self.teacher.training
        handle = self.layer.register_forward_hook(hook)
        try:
            self.teacher.eval()
            yield run
        finally:
            handle.remove()
            self.teacher.train(was_training)

    def _pooled(self, maps: Any) -> Tensor:
        if not isinstance(maps, Tensor) or maps.ndim != 4:
            found = tuple(maps.shape) if isinstance(maps, Tensor) else type(maps).__name__
            raise StatisticsError(
                f"teacher_module_path must lead to a feature map (B, c, H, W), found {found}; for features of another "
                "layout use points of FrozenTeacher"
            )
        if self.map_size is None:
            return maps
        student = maps.new_zeros(()).expand(len(maps), 1, *self.map_size)
        return match_size(student, maps)[1]

    def _checked(self, labels: Tensor | None) -> Tensor | None:
        if labels is not None and self.classes:
            low, high = (int(bound) for bound in labels.aminmax())
            if low < 0 or high >= self.classes:
                raise StatisticsError(
                    f"labels must lie in 0..{self.classes - 1}, the classes of the teacher, found {low}..{high}; does "
                    "the teacher's num_classes fit the data set?"
                )
        return None if labels is None else labels.to(self.device)


def _image_and_label(batch: Any) -> tuple[Tensor, Tensor | None]:
    if isinstance(batch, Tensor):
        return batch, None
    if not isinstance(batch, (list, tuple)) or not batch or not isinstance(batch[0], Tensor):
        raise StatisticsError(
            f"the data set to fit on must give (image, class index) with images as tensors, found "
            f"{type(batch).__name__}; name one that does as fit_dataset_id"
        )
    labels = batch[1] if len(batch) > 1 else None
    # Other labels, such as one-hot ones, are ignored; statistics that need labels raise an error later.
    return batch[0], labels.long() if isinstance(labels, Tensor) and is_index(labels) else None
