"""Top-1 and top-5 accuracy over a loader, in full precision, over all processes."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from ..models.logits import describe_output
from .distributed import Processes, own_samples, unwrapped
from .failures import explained

TOP5_CLASSES = 5


@torch.inference_mode()
def evaluate(model: nn.Module, loader: DataLoader, processes: Processes, *, title: str = "test") -> dict[str, float]:
    """Return the accuracy of a classifier in percent.

    The model runs in eval mode and float32, whatever precision it is trained in, and gets its mode back.

    Args:
        model: maps a batch (B, c, H, W) to logits (B, C).
        loader: yields ``(batch, labels)``, or ``(batch, labels, supplement)``.
        processes: of the run; each evaluates its share and all get the sum.
        title: of the progress bar.

    Returns:
        ``top1``, ``top5`` where there are at least five classes, and ``samples``.

    Raises:
        ValueError: when the output is no (B, C) tensor, or a label is no class of the model.
    """
    model = unwrapped(model)
    was_training = model.training
    model.eval()
    device = processes.device
    counts = torch.zeros(4, dtype=torch.int64, device=device)  # top-1, top-5, samples, labels out of range
    left = own_samples(loader)
    classes = 0
    quiet = None if processes.is_main else True
    for batch, labels, *_ in tqdm(loader, desc=title, leave=False, disable=quiet, unit="batch"):
        if left is not None:
            batch, labels = batch[:left], labels[:left]
            left -= len(labels)
        if not len(labels):
            continue
        place = f"{type(model).__name__} on a batch of shape {tuple(batch.shape)}"
        with explained(place):
            logits = model(batch.to(device, non_blocking=True))
        if not isinstance(logits, Tensor) or logits.ndim != 2:
            raise ValueError(
                f"{type(model).__name__} must return logits of shape (B, C) to be evaluated, found "
                + describe_output(logits)
            )
        classes = logits.shape[1]
        counts += _correct(logits, labels.to(device, non_blocking=True))
    model.train(was_training)
    top1, top5, samples, bad = processes.sum(counts).tolist()
    if bad:
        raise ValueError(
            f"{bad} of {samples} labels are no class of {type(model).__name__}, which has {classes}; set num_classes "
            "in the model's kwargs"
        )
    if not samples:
        raise ValueError("the loader to evaluate on is empty; check its dataset and drop_last")
    result = {"top1": 100.0 * top1 / samples}
    if classes >= TOP5_CLASSES:
        result["top5"] = 100.0 * top5 / samples
    return {**result, "samples": samples}


def _correct(logits: Tensor, labels: Tensor) -> Tensor:
    classes = logits.shape[1]
    best = logits.topk(min(TOP5_CLASSES, classes), dim=1).indices
    hits = best == labels[:, None]
    bad = (labels < 0) | (labels >= classes)
    size = torch.tensor(len(labels), device=logits.device)
    return torch.stack([hits[:, 0].sum(), hits.any(1).sum(), size, bad.sum()])
