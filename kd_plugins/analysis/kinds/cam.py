"""Class activation maps: where a model sees a class (SFKD, Fig. 3; CKD, Fig. 10)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ..._checks import check_choice
from ..._errors import ConfigError
from ..._tables import text_table
from ...models.points.entries import CLASS_MAPS, ShownPoint
from ...models.points.probe import capture, probe_images, submodule
from ..base import TEACHER, Analysis, Batch, Reading, Study, Subject, Values
from ..drawing import add_title, enlarged, first_of_classes, map_grid, shown_images, unit_range

CAM, GRADCAM = "cam", "gradcam"
LABEL, PREDICTED = "label", "predicted"
CLASS_TITLES = {LABEL: "labelled class", PREDICTED: "predicted class"}
SHOWN = 5
TOP = 0.2
"""Share of the pixels that are compared as the most active ones."""
CHUNK = 256


class Cam(Analysis):
    r"""CAM where the classifier is linear on the average of the last map, else Grad-CAM.

    .. math:: M_{hw} = \sum_k W_{jk} F_{khw}, \qquad
        G_{hw} = \max\Bigl(0, \sum_k \Bigl(\operatorname*{mean}_{h'w'} \frac{\partial y_j}{\partial F_{kh'w'}}\Bigr)
            F_{khw}\Bigr)

    - :math:`F`: last feature map of an image, :math:`y_j`: logit of class j, :math:`W`: weight of the classifier.

    With such a classifier, G is M without its negative part, divided by the number of positions.

    Args:
        method: ``"cam"`` or ``"gradcam"``; by default what suits each model.
        target: class j: the image's ``"label"``, or the ``"predicted"`` one.
        points: one feature point or module path in place of the last map, for Grad-CAM.

    References:
        Zhou et al., Learning Deep Features for Discriminative Localization, CVPR 2016. Selvaraju et al., Grad-CAM,
        ICCV 2017.
    """

    name = "cam"
    title = "class activation maps"

    def __init__(self, *, method: str | None = None, target: str = LABEL, points: list[str] | None = None) -> None:
        if method is not None:
            check_choice("--method", method, (CAM, GRADCAM))
        check_choice("--class", target, (LABEL, PREDICTED))
        if points is not None and (len(points) != 1 or method == CAM):
            raise ValueError("cam takes one of --points, for --method gradcam; CAM is of the last map")
        self.method, self.target = method, target
        self.place = points[0] if points else "last_map"
        self.used: dict[str, str] = {}

    def reads(self, study: Study, subject: Subject) -> Reading:
        """Return the map of each image."""
        point, reason = None, "--points needs Grad-CAM"
        if self.method != GRADCAM and self.place == "last_map":
            point, reason = linear_point(subject)
        if point is None and self.method == CAM:
            raise ConfigError(f"--method cam: {subject.name}: {reason}; use --method gradcam")
        self.used[subject.name] = GRADCAM if point is None else CAM
        if point is None:
            place = subject.point(self.place)
            return Reading(
                {}, lambda batch, _values: {"map": grad_cam(subject, place, batch.images, self._class(batch))}
            )
        weight = submodule(subject.inside, point.head or "").weight.flatten(1)  # type: ignore[operator]

        def keep(batch: Batch, values: Values) -> Values:
            return {"map": torch.einsum("bkhw,bk->bhw", values["last"], weight[self._class(batch)])}

        return Reading({"last": ((point.path, point.io), point.as_map)}, keep)

    def _class(self, batch: Batch) -> Tensor:
        return batch.labels if self.target == LABEL else batch.logits.argmax(1)

    def compute(self, study: Study) -> dict[str, Any]:
        """Return ``similarity`` of students and teacher, and the shown ``images``, ``labels`` and ``maps``."""
        maps = {one.name: unit_range(study.found.of(self.name, one.name, "map").float()) for one in study.subjects}
        shown = first_of_classes(study.found.labels, SHOWN)
        size = study.images(shown[:1]).shape[2:]
        result: dict[str, Any] = {
            "methods": self.used,
            "class": self.target,
            "constant": {name: int((x.amax((1, 2)) == 0).sum()) for name, x in maps.items()},
            "shown": {
                **study.shown(shown),
                "predicted": {
                    name: [study.class_name(int(x[number].argmax())) for number in shown]
                    for name, x in study.found.logits.items()
                },
                "maps": {name: x[shown] for name, x in maps.items()},
            },
        }
        if study.teacher is not None:
            result["similarity"] = {
                one.name: similarity(maps[one.name], maps[TEACHER], (size[0], size[1])) for one in study.students
            }
        return result

    def table(self, result: Mapping[str, Any]) -> list[str]:
        """Return a row per model."""
        rows = [["model", "method", "correlation with the teacher's", "IoU of the top 20 %"]]
        for name, method in result["methods"].items():
            found = result.get("similarity", {}).get(name)
            values = [found[key] for key in ("correlation", "iou")] if found else []
            texts = ["undefined" if value is None else f"{value:.3f}" for value in values]
            rows.append([name, method, *(texts or ["", ""])])
        lines = text_table(rows, left=(0, 1))
        for name, count in result["constant"].items():
            if count:
                lines.append(
                    f"{name}: {count} of {result['images']} maps are constant and left out of the comparison; where "
                    "the logits read a class token, --method gradcam --points takes an earlier map"
                )
        return lines

    def draw(self, result: Mapping[str, Any], study: Study) -> Any:
        """Return a row per image and a column per model."""
        shown = result["shown"]
        found = result.get("similarity", {})
        columns: dict[str, list[Tensor | None]] = {}
        for name, maps in shown["maps"].items():
            title = f"{name}\n({result['methods'][name]})"
            if name in found and found[name]["correlation"] is not None:
                title += f"\ncorr. {found[name]['correlation']:.2f}"
            columns[title] = list(torch.tensor(maps))
        titles = [f"{label}\n(image {number})" for label, number in zip(shown["labels"], shown["images"], strict=True)]
        figure = map_grid(shown_images(study, shown["images"]), titles, columns, label="activation (0 to 1)")
        text = "; corr.: mean correlation with the teacher's map" if found else ""
        add_title(figure, result, f"Class activation maps of the {CLASS_TITLES[result['class']]}{text}")
        return figure


def linear_point(subject: Subject) -> tuple[ShownPoint | None, str]:
    """Return the last map with the linear classifier that reads its average, or None and the reason."""
    try:
        point = subject.point(CLASS_MAPS)
    except ValueError as error:
        return None, str(error)
    inside = subject.inside
    head = submodule(inside, point.head or "")
    with torch.inference_mode(False):
        images = probe_images(inside, subject.size)
        found = capture(inside, images, {(point.path, point.io), (".", "output")})
    pooled = replace(point, head=None).as_map(found[point.path, point.io]).mean((2, 3))
    expected = pooled @ head.weight.flatten(1).T  # type: ignore[operator]
    expected = expected if head.bias is None else expected + head.bias  # type: ignore[operator]
    logits = found[".", "output"]
    if expected.shape != logits.shape or not torch.allclose(expected, logits, rtol=1e-3, atol=1e-3):
        return None, f"{type(inside).__name__} has other layers or tokens between its last map and its logits"
    return point, ""


def grad_cam(subject: Subject, point: ShownPoint, images: Tensor, classes: Tensor) -> Tensor:
    """Return Grad-CAM (B, H, W) of one class per image; the model keeps no gradient and no hook."""
    with torch.inference_mode(False), torch.enable_grad():
        kept: list[Tensor] = []

        def leaf(tensor: Tensor) -> Tensor:
            kept.append(tensor.detach().requires_grad_())
            return kept[-1]

        module = submodule(subject.inside, point.path)
        if point.io == "input":
            handle = module.register_forward_pre_hook(lambda _m, args: (leaf(args[0]), *args[1:]))
        else:
            handle = module.register_forward_hook(lambda _m, _args, output: leaf(output))
        try:
            logits = subject.inside(subject.prepared(images.clone()))
        finally:
            handle.remove()
        score = logits.gather(1, classes.clone()[:, None]).sum()
        (gradient,) = torch.autograd.grad(score, kept[-1])
        features, slopes = point.as_map(kept[-1].detach()), point.as_map(gradient)
        return torch.einsum("bkhw,bk->bhw", features, slopes.mean((2, 3))).relu()


def similarity(maps: Tensor, others: Tensor, size: tuple[int, int]) -> dict[str, float]:
    """Return mean correlation and mean IoU of the 20 % most active pixels, of maps (N, H, W) enlarged to a size.

    A constant map has no correlation; its image is left out.
    """
    sums, count = torch.zeros(2, dtype=torch.float64), 0
    top = max(round(TOP * size[0] * size[1]), 1)
    for start in range(0, len(maps), CHUNK):
        x, y = (enlarged(each[start : start + CHUNK], size).flatten(1).double() for each in (maps, others))
        varied = (x.amax(1) > x.amin(1)) & (y.amax(1) > y.amin(1))
        x, y = x[varied], y[varied]
        u, v = (each - each.mean(1, keepdim=True) for each in (x, y))
        correlation = (u * v).sum(1) / (u.norm(dim=1) * v.norm(dim=1))
        tops = [torch.zeros_like(each).scatter_(1, each.topk(top, dim=1).indices, 1) for each in (x, y)]
        both = (tops[0] * tops[1]).sum(1)
        sums += torch.stack([correlation.sum(), (both / (2 * top - both)).sum()])
        count += len(x)
    means = (sums / count).tolist() if count else [float("nan")] * 2
    return {"correlation": means[0], "iou": means[1], "compared": count}
