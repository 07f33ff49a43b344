"""A picture of test images with the true boxes and those that detectors find."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from ...analysis.drawing import FOUND, LEAST_SCORE, TRUE, draw_boxes, new_figure
from ...config.build import build_config, build_models, quiet_torchdistill
from ...config.config import read_config
from ...data.detection import CanvasDigits
from ...runtime.checkpoint import load_best
from ...runtime.distributed import Processes

IMAGES = 5


def save_boxes(runs: Mapping[str, tuple[Path, Path]], path: Path) -> None:
    """Write a PNG file: a row per detector, the truth first, a column per test image.

    Args:
        runs: title -> config and run folder of a detector.
        path: of the file.
    """
    data = CanvasDigits(train=False, images=IMAGES)
    images = [data[index][0] for index in range(IMAGES)]
    rows: dict[str, list[Mapping[str, Tensor]]] = {"truth": [data[index][1] for index in range(IMAGES)]}
    for title, (config, folder) in runs.items():
        rows[title] = _detections(config, folder, images)
    figure = new_figure(1.7 * IMAGES + 1.2, 1.8 * len(rows))
    axes = figure.subplots(len(rows), IMAGES, squeeze=False)
    for line, (title, found) in zip(axes, rows.items(), strict=True):
        for place, image, one in zip(line, images, found, strict=True):
            place.imshow(image.permute(1, 2, 0).numpy())
            place.set_xticks([])
            place.set_yticks([])
            names = [data.classes[label - 1] for label in one["labels"].tolist()]
            draw_boxes(place, one["boxes"].tolist(), names, TRUE if title == "truth" else FOUND)
        line[0].set_ylabel(title)
    figure.suptitle(f"Digits on canvases: true boxes, and detections with a score of at least {LEAST_SCORE}")
    figure.savefig(path, dpi=120)


@torch.inference_mode()
def _detections(config_path: Path, folder: Path, images: list[Tensor]) -> list[Mapping[str, Tensor]]:
    """Return the sure detections of a run's best weights."""
    config = read_config(config_path)
    with quiet_torchdistill():
        built = build_config(config)
        models = {name: section for name, section in built["models"].items() if name != "teacher_model"}
        _, model, _ = build_models(config, {**built, "models": models}, Processes(0, 1, torch.device("cpu")))
    model.load_state_dict(load_best(folder)["model"])
    found = model.eval()(images)
    return [{name: value[one["scores"] >= LEAST_SCORE] for name, value in one.items()} for one in found]
