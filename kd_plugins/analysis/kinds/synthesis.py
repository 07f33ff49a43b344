"""Images that were computed from a teacher: do they look like its data to it, and are they varied?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..._errors import ConfigError
from ..._tables import text_table
from ...config.config import read_config
from ...data.inside import normalisation
from ..base import TEACHER, Analysis, Study, Subject
from ..drawing import PALETTE, add_title, bare, class_ticks, first_of_classes, frame, new_figure, shortened
from ..study import build_study, drawn, training_set
from ._synthetic_images import (
    FEATURE,
    KEY,
    STATISTICS,
    beside_running,
    first_batch_norm,
    looked_at,
    nearest_distances,
    noise_like,
    pixel_distances,
    real_images,
    running_statistics,
    synthetic_images,
    teacher_reading,
)

MOST = 2000
"""Largest number of images between which distances are computed."""
SHOWN, COLUMNS = 40, 10
BINS = 30
SYNTHETIC, REAL, NOISE = "synthetic", "test images", "noise"
SHADES = {SYNTHETIC: PALETTE[0], REAL: PALETTE[2], NOISE: "#999999"}
NO_NORM = "the teacher has no batch norm with running statistics"
AGREEMENT = "a high agreement does not show that images are useful for training"


class Synthesis(Analysis):
    """Agreement, balance, first-layer statistics and diversity of the training images of ``kd-plugins synthesize``.

    Distances to the nearest other image depend on the number of images. They are therefore computed for as many test
    images, and for as many images of noise with the mean and deviation of the synthetic images' channels.

    Args:
        judge: a config whose teacher also classifies the images.

    References:
        Yin et al., Dreaming to Distill: Data-free Knowledge Transfer via DeepInversion, CVPR 2020.
    """

    name = "synthesis"
    title = "synthetic training images"
    needs_teacher = True
    needs_images = False

    def __init__(self, *, judge: str | None = None) -> None:
        self.judge = judge

    def compute(self, study: Study) -> dict[str, Any]:
        """Return the numbers of the images; ``data`` and ``images`` are those of the training set."""
        judge = self._judge(study)
        data = synthetic_images(study)
        rows = drawn(len(data), study.images_wanted, study.seed)
        images = torch.from_numpy(data.data)[rows].permute(0, 3, 1, 2)
        labels = torch.tensor(data.targets)[rows]
        if len(images) < 2 or len(study.dataset) < 2:
            raise ConfigError("synthesis needs at least two synthetic and two test images; raise --images")
        teacher = _teacher_of(study)
        reading = teacher_reading(teacher)
        whole = looked_at(study, teacher, images, labels, reading)
        logits = {TEACHER: whole.logits[TEACHER]}
        if judge is not None:
            logits["judge"] = looked_at(judge, _teacher_of(judge), images, labels).logits[TEACHER]
            sizes = [one.shape[1] for one in logits.values()]
            if len(set(sizes)) > 1:
                raise ConfigError(f"--judge {self.judge}: its teacher has {sizes[1]} classes, the config's {sizes[0]}")
        count = min(len(images), len(study.dataset), MOST)
        part = drawn(len(images), count, study.seed)
        sets = {
            SYNTHETIC: images[part],
            REAL: real_images(study, count, (images.shape[2], images.shape[3])),
            NOISE: noise_like(images[part], study.seed),
        }
        none = torch.zeros(count, dtype=torch.long)
        passes = {name: looked_at(study, teacher, sets[name], none, reading) for name in (REAL, NOISE)}
        features = {SYNTHETIC: whole.of(KEY, TEACHER, FEATURE)[part]}
        features |= {name: found.of(KEY, TEACHER, FEATURE) for name, found in passes.items()}
        values = images.double() / 255
        return {
            "data": str(training_set(study)[0]),
            "images": len(images),
            "size": list(images.shape[2:]),
            "classes": data.classes,
            "counts": labels.bincount(minlength=len(data.classes)),
            "judge": judge and {"config": self.judge, "architecture": _teacher_of(judge).title},
            "agreement": {name: agreement_with(one, labels, len(data.classes)) for name, one in logits.items()},
            "channels": {"mean": values.mean((0, 2, 3)), "std": values.std((0, 2, 3))},
            "normalisation": normalisation(study.dataset),
            "first_bn": self._first_bn(study, {SYNTHETIC: whole, **passes}),
            "neighbours": {
                "images": count,
                "pixels": {name: distances(pixel_distances(one)) for name, one in sets.items()},
                "features": {name: distances(nearest_distances(one)) for name, one in features.items()},
            },
            "shown": shown(rows, labels, logits[TEACHER].argmax(1)),
        }

    def _judge(self, study: Study) -> Study | None:
        if self.judge is None:
            return None
        judge = build_study(read_config(self.judge), study.procs, runs={}, images=1, seed=study.seed)
        _teacher_of(judge)
        return judge

    def _first_bn(self, study: Study, passes: Mapping[str, Any]) -> dict[str, Any] | None:
        norm = first_batch_norm(_teacher_of(study))
        if norm is None:
            return None
        sets = {name: beside_running(found.of(KEY, TEACHER, STATISTICS), norm[1]) for name, found in passes.items()}
        return {"layer": norm[0], **running_statistics(norm[1]), "sets": sets}

    def table(self, result: Mapping[str, Any]) -> list[str]:
        """Return a row per model, then a row per set of images."""
        rows = [["model", "agreement with the labels, %", "lowest class", "its agreement, %"]]
        for name, found in result["agreement"].items():
            classes = {c: share for c, share in enumerate(found["per_class"]) if share is not None}
            low = min(classes, key=classes.__getitem__)
            rows.append([name, f"{100 * found['all']:.2f}", result["classes"][low], f"{100 * classes[low]:.2f}"])
        lines = [*text_table(rows), AGREEMENT]
        counts = result["counts"]
        count = f"{min(counts)}" if min(counts) == max(counts) else f"{min(counts)} to {max(counts)}"
        lines.append(f"{count} images in each of {len(counts)} classes")
        mean, std = (" ".join(f"{x:.3f}" for x in result["channels"][key]) for key in ("mean", "std"))
        lines.append(f"channels: mean {mean}, sd {std}")
        if result["normalisation"]:
            mean, std = (" ".join(f"{x:.3f}" for x in values) for values in result["normalisation"])
            lines[-1] += f"; the config's Normalize: mean {mean}, sd {std}"
        norm, near = result["first_bn"], result["neighbours"]
        heads = ["images", "distance of means at the first BN, sd", "ratio of sds", "nearest other: pixels", "features"]
        table = [heads]
        for name in near["pixels"]:
            own = norm and norm["sets"][name]
            table.append([
                name, *((f"{own['mean_distance']:.3f}", f"{own['std_ratio']:.3f}") if own else ("", "")),
                *(f"{near[space][name]['mean']:.4f}" for space in ("pixels", "features")),
            ])  # fmt: skip
        about = f"first BN: {norm['layer']}, against its running statistics" if norm else NO_NORM
        told = f"nearest other of {near['images']} images: mean distance, pixels as root mean square of values in 0..1"
        return [*lines, *text_table(table), about, told]

    def draw(self, result: Mapping[str, Any], study: Study) -> Any:
        """Return some images with their labels, the balance of the classes, and the distances as histograms."""
        data = synthetic_images(study).data
        found = result["shown"]
        lines = -(-len(found["rows"]) // COLUMNS)
        figure = new_figure(8.0, 4.0 + 1.05 * lines)
        upper, lower = figure.subfigures(2, 1, height_ratios=[1.05 * lines, 3.4])
        grid = upper.subplots(lines, COLUMNS, squeeze=False).ravel()
        for axes in grid:
            bare(axes)
        for axes, row, label, answer in zip(grid, found["rows"], found["labels"], found["predicted"], strict=False):
            axes.imshow(data[row])
            title, seen = (shortened(result["classes"][number]) for number in (label, answer))
            axes.set_title(title, fontsize=7, pad=2)
            if answer != label:
                axes.set_xlabel(seen, fontsize=7, color=PALETTE[3], labelpad=2)
        self._draw_numbers(lower, result)
        share = 100 * result["agreement"][TEACHER]["all"]
        add_title(
            figure, result, "Synthetic images with their labels; below in red: what else the teacher sees",
            about=f"{result['data']}, {result['images']} images; teacher {result['models'][TEACHER]['architecture']} "
            f"agrees with {share:.1f} % of the labels",
        )  # fmt: skip
        return figure

    @staticmethod
    def _draw_numbers(figure: Any, result: Mapping[str, Any]) -> None:
        balance, *spaces = figure.subplots(1, 3)
        counts = np.array(result["counts"], dtype=float)
        per_class = np.array([share or 0.0 for share in result["agreement"][TEACHER]["per_class"]])
        places = np.arange(len(counts))
        balance.bar(places, counts * per_class, color=PALETTE[0], label="teacher agrees")
        balance.bar(places, counts * (1 - per_class), bottom=counts * per_class, color=PALETTE[3], label="disagrees")
        class_ticks(balance, result["classes"])
        frame(balance, "label", "images", fontsize=8)
        balance.set_ylim(0, 1.3 * counts.max())
        balance.legend(fontsize=7, frameon=False, loc="upper left", ncols=2, columnspacing=1, handlelength=1.2)
        units = {"pixels": "pixels (rms of values in 0..1)", "features": "teacher's pooled feature (Euclidean)"}
        for axes, (space, unit) in zip(spaces, units.items(), strict=True):
            near = result["neighbours"][space]
            top = max(max(one["distances"]) for one in near.values()) or 1.0
            for name, one in near.items():
                axes.hist(one["distances"], bins=np.linspace(0, top, BINS + 1), histtype="step", lw=1.4,
                          color=SHADES[name], label=name)  # fmt: skip
                axes.axvline(one["mean"], color=SHADES[name], lw=0.9, ls=":")
            frame(axes, f"distance to the nearest other image,\n{unit}", "images", fontsize=8)
        lines, names = spaces[0].get_legend_handles_labels()
        names = [f"{name} (dotted: mean)" for name in names]
        figure.legend(lines, names, loc="outside lower right", ncols=len(names), fontsize=7, frameon=False)
        for axes in (balance, *spaces):
            axes.tick_params(labelsize=7)


def _teacher_of(study: Study) -> Subject:
    if study.teacher is None:
        raise ConfigError(f"{study.config.path}: the config has no models.teacher_model")
    return study.teacher


def agreement_with(logits: Tensor, labels: Tensor, classes: int) -> dict[str, Any]:
    """Return the share of images whose prediction is the label: of ``all`` and ``per_class``, NaN without images.

    Example:
        >>> agreement_with(torch.eye(3), torch.tensor([0, 1, 0]), 3)["per_class"]
        [0.5, 1.0, nan]
    """
    right = (logits.argmax(1) == labels).float()
    return {"all": right.mean().item(), "per_class": [right[labels == c].mean().item() for c in range(classes)]}


def distances(found: Tensor) -> dict[str, Any]:
    """Return the ``distances`` of images and their ``mean``."""
    return {"mean": found.mean(), "distances": found}


def shown(rows: Tensor, labels: Tensor, predicted: Tensor) -> dict[str, Any]:
    """Return row, label and prediction of the images of the picture, by class."""
    first = first_of_classes(labels, SHOWN)
    first.sort(key=lambda number: int(labels[number]))
    return {"rows": rows[first], "labels": labels[first], "predicted": predicted[first]}
