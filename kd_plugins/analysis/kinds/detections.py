"""Detections: what detectors find on test images, beside the ground truth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from ..._tables import text_table
from ...data.loading import batches, to_device
from ...runtime.failures import explained
from ...runtime.tasks import DETECTION
from ...runtime.tasks.detection import DetectionScores
from ..base import Analysis, Study, Subject
from ..drawing import FOUND, LEAST_SCORE, TRUE, add_title, bare, draw_boxes, new_figure, shortened
from ..passes import evaluating
from ..study import drawn

SHOWN = 4
"""Images in the picture."""


class Detections(Analysis):
    """Boxes of teacher and students on a few test images, and COCO's average precision on all of them.

    The images are drawn by the seed. The picture shows boxes with a score of at least 0.5, JSON has all.

    References:
        Lin et al., Microsoft COCO: Common Objects in Context, ECCV 2014.
    """

    name = "detections"
    title = "boxes of detectors beside the ground truth"
    task = DETECTION
    needs_images = False  # a detector returns no logits: compute runs it

    def compute(self, study: Study) -> dict[str, Any]:
        """Return ``ap`` of every model, and images, ``truth`` and ``found`` boxes of the ``shown`` images."""
        numbers = sorted(drawn(len(study.chosen), SHOWN, study.seed).tolist())
        truth = [study.dataset[number][1] for number in numbers]
        ids = [int(target["image_id"]) for target in truth]
        scores, found = {}, {}
        for one in study.subjects:
            kept = run_detector(one, study.loader, study.procs.device)
            certain = sum(int((entry.scores >= LEAST_SCORE).sum()) for entry in kept.found if entry.scores is not None)
            scores[one.name] = {**kept.result(study.procs), "boxes": certain}
            by_id = {entry.image_id: entry for entry in kept.found}
            entries = [by_id[image_id] for image_id in ids]
            found[one.name] = [_described(study, e.boxes, e.labels, scores=e.scores) for e in entries]
        return {
            "least_score": LEAST_SCORE,
            "ap": scores,
            "shown": {
                "images": [study.chosen[number] for number in numbers],
                "image_ids": ids,
                "truth": [_described(study, target["boxes"], target["labels"]) for target in truth],
                "found": found,
            },
        }

    def table(self, result: Mapping[str, Any]) -> list[str]:
        """Return a row per model."""
        rows = [["model", "AP", "AP50", "AP75", f"boxes with a score of at least {result['least_score']}"]]
        for name, found in result["ap"].items():
            precisions = ["-" if found[key] is None else f"{found[key]:.2f}" for key in ("ap", "ap50", "ap75")]
            rows.append([name, *precisions, str(found["boxes"])])
        return text_table(rows)

    def draw(self, result: Mapping[str, Any], study: Study) -> Any:
        """Return a row per image, and columns for the ground truth and every model."""
        shown, least = result["shown"], result["least_score"]
        columns = {"ground truth": shown["truth"]}
        for name, found in shown["found"].items():
            ap = result["ap"][name]["ap"]
            columns[shortened(name) + ("" if ap is None else f"\nAP {ap:.1f}")] = found
        images = [study.dataset[study.chosen.index(number)][0] for number in shown["images"]]
        figure = new_figure(max(6.0, 0.4 + 1.9 * len(columns)), 1.0 + 1.9 * len(images))
        grid = figure.subplots(len(images), len(columns), squeeze=False)
        for line, image, number, entries in zip(
            grid, images, shown["images"], zip(*columns.values(), strict=True), strict=True
        ):
            for axes, entry in zip(line, entries, strict=True):
                bare(axes)
                axes.imshow(image.permute(1, 2, 0).clamp(0, 1).numpy())
                certain = [score >= least for score in entry.get("scores", [1.0] * len(entry["boxes"]))]
                boxes = [box for box, sure in zip(entry["boxes"], certain, strict=True) if sure]
                texts = [name for name, sure in zip(entry["names"], certain, strict=True) if sure]
                draw_boxes(axes, boxes, texts, FOUND if "scores" in entry else TRUE)
            line[0].set_ylabel(f"image {number}", fontsize=8)
        for axes, title in zip(grid[0], columns, strict=True):
            axes.set_title(title, fontsize=9)
        add_title(figure, result, f"Boxes with a score of at least {least}")
        return figure


@torch.inference_mode()
def run_detector(subject: Subject, loader: Any, device: torch.device) -> DetectionScores:
    """Run a detector over test images, in eval mode and float32; the modes of its modules are restored.

    Raises:
        ValueError: if it returns no list of boxes, labels and scores.
    """
    scores = DetectionScores()
    with evaluating([subject.model]):
        for images, targets, *_ in batches(loader):
            with explained(f"{subject.title} on a batch of shape {DETECTION.shape(images)}"):
                outputs = subject.model(to_device(images, device))
            scores.add(DETECTION.checked(outputs, subject.title), targets)
    return scores


def _described(study: Study, boxes: Any, labels: Any, **scores: Any) -> dict[str, Any]:
    names = [study.class_name(label) for label in labels.tolist()]
    return {"boxes": boxes, "labels": labels, **scores, "names": names}
