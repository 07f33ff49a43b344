"""The pass over the images: every model runs once on each batch, for all analyses together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from .._checks import index_labels
from .._errors import ConfigError
from ..data.loading import batches
from ..models.logits import describe_output
from ..models.points.probe import submodule
from ..runtime.failures import explained
from .base import Batch, Key, Pass, Reading, Subject, Values


@torch.inference_mode()
def run_models(
    subjects: Sequence[Subject], loader: DataLoader, device: torch.device, readings: Mapping[Key, Reading]
) -> Pass:
    """Run every model over the loader, in eval mode and float32; modes and hooks are restored, also after an error.

    Raises:
        ValueError: unless all models return logits of the same classes, and the labels are among these.
    """
    labels: list[Tensor] = []
    logits: dict[str, list[Tensor]] = {subject.name: [] for subject in subjects}
    found = Pass(kept={key: [] for key in readings})
    with evaluating([subject.model for subject in subjects]):
        bar = tqdm(batches(loader), total=len(loader), desc="images", leave=False, disable=None, unit="batch")
        for images, targets, *_ in bar:
            images = images.to(device, non_blocking=True)
            truth = index_labels(targets, batch=len(images)).to(device)
            for subject in subjects:
                wanted = {key: reading for key, reading in readings.items() if key[1] == subject.name}
                answer, values = run_model(subject, images, wanted)
                batch = Batch(images, truth, answer)
                for key, reading in wanted.items():
                    kept = reading.keep(batch, values[key])
                    found.kept[key].append({name: value.cpu() for name, value in kept.items()})
                logits[subject.name].append(answer.float().cpu())
            labels.append(truth.cpu())
    if not labels:
        raise ConfigError("there is no image to run the models on")
    found.labels = torch.cat(labels)
    found.logits = {name: torch.cat(parts) for name, parts in logits.items()}
    _check_classes(found)
    return found


@contextmanager
def evaluating(models: Sequence[nn.Module]) -> Iterator[None]:
    """Keep models in eval mode inside the block, then restore the mode of every module."""
    modes = {module: module.training for model in models for module in model.modules()}
    try:
        for model in models:
            model.eval()
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def run_model(subject: Subject, images: Tensor, wanted: Mapping[Key, Reading]) -> tuple[Tensor, dict[Key, Values]]:
    """Return the logits of a batch, and the values at the places of every reading; the hooks are removed."""
    values: dict[Key, Values] = {key: {} for key in wanted}
    handles = []
    try:
        for key, reading in wanted.items():
            for name, ((path, io), reduce) in reading.places.items():

                def read(tensor: Any, key: Key = key, name: str = name, reduce: Any = reduce) -> None:
                    values[key][name] = reduce(tensor)

                module = submodule(subject.inside, path)
                if io == "input":
                    handles.append(module.register_forward_pre_hook(lambda _m, args, read=read: read(args[0])))
                else:
                    handles.append(module.register_forward_hook(lambda _m, _args, output, read=read: read(output)))
        with explained(f"{subject.title} on a batch of shape {tuple(images.shape)}"):
            answer = subject.model(images)
    finally:
        for handle in handles:
            handle.remove()
    if not isinstance(answer, Tensor) or answer.ndim != 2:
        raise ConfigError(
            f"{subject.title} must return logits of shape (B, C) to be analysed, found {describe_output(answer)}"
        )
    return answer, values


def _check_classes(found: Pass) -> None:
    counts = {name: logits.shape[1] for name, logits in found.logits.items()}
    if len(set(counts.values())) > 1:
        shown = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise ConfigError(f"the models must have the same classes to be compared, found numbers of classes: {shown}")
    classes = next(iter(counts.values()))
    low, high = (int(bound) for bound in found.labels.aminmax())
    if low < 0 or high >= classes:
        raise ConfigError(
            f"labels must lie in 0..{classes - 1}, the classes of the models, found {low}..{high}; set num_classes in "
            "the models' kwargs"
        )
