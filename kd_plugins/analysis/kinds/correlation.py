"""Correlations between classes: of the classifier's weights or of the logits (SFKD, Fig. 5; CRD)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..._checks import check_choice
from ..._errors import ConfigError
from ..._tables import text_table
from ...models.points.entries import is_linear
from ...models.points.probe import submodule
from ..base import TEACHER, Analysis, Study, Subject
from ..drawing import add_title, class_ticks, new_figure

SOURCES = ("weights", "logits")


class Correlation(Analysis):
    r"""Absolute difference of student's and teacher's correlations between classes.

    .. math:: R = N N^\top, \qquad D = \lvert R^s - R^t \rvert, \qquad L_1 = \operatorname*{mean}_{i \ne j} D_{ij}

    - :math:`N`: weight of the linear classifier, one row of unit length per class.

    Args:
        of: ``"weights"``; or ``"logits"``, whose correlations are over the images, as in CRD's figure.
        centred: subtract the mean of each row of the weights first.

    References:
        Efficient Knowledge Distillation via Salient Feature Masking (SFKD), Figure 5. Tian et al., Contrastive
        Representation Distillation, ICLR 2020.
    """

    name = "correlation"
    title = "difference of the correlations between classes"
    needs_teacher = True
    needs_checkpoint = True

    def __init__(self, *, of: str = "weights", centred: bool = False) -> None:
        check_choice("--of", of, SOURCES)
        if centred and of == "logits":
            raise ValueError("--centred is for --of weights; correlations of logits are always centred")
        self.of, self.centred = of, centred
        self.needs_images = of == "logits"

    def compute(self, study: Study) -> dict[str, Any]:
        """Return for every student ``l1``, ``sum``, ``max`` and the ``matrix`` of the differences."""
        if self.of == "logits":
            found = {
                name: torch.corrcoef(logits.double().T).nan_to_num(0) for name, logits in study.found.logits.items()
            }
        else:
            found = {one.name: weight_correlation(head_weight(one), centred=self.centred) for one in study.subjects}
        sizes = {name: len(matrix) for name, matrix in found.items()}
        if len(set(sizes.values())) > 1:
            raise ConfigError(f"correlation needs models of the same classes, found numbers of classes: {sizes}")
        classes = [study.class_name(label) for label in range(sizes[TEACHER])]
        differences = {one.name: (found[one.name] - found[TEACHER]).abs() for one in study.students}
        return {
            "of": self.of,
            "centred": self.centred,
            "classes": classes,
            "difference": {name: {**errors(matrix), "matrix": matrix} for name, matrix in differences.items()},
        }

    def table(self, result: Mapping[str, Any]) -> list[str]:
        """Return a row per student."""
        rows = [["student", "L1 (mean off the diagonal)", "sum", "max"]]
        found = result["difference"]
        rows += [[name, f"{one['l1']:.4f}", f"{one['sum']:.3f}", f"{one['max']:.3f}"] for name, one in found.items()]
        equal = [name for name, one in found.items() if one["max"] == 0]
        told = f"{', '.join(equal)}: the correlations are the teacher's, as with SimKD, which takes its classifier"
        return [*text_table(rows), *([told] if equal else [])]

    def draw(self, result: Mapping[str, Any], study: Study) -> Any:
        """Return a heat map per student, all on one colour scale."""
        found = result["difference"]
        most = max(one["max"] for one in found.values()) or 1
        figure = new_figure(max(5.0, 1.2 + 2.9 * len(found)), 3.9)
        grid = figure.subplots(1, len(found), squeeze=False)[0]
        for axes, (name, one) in zip(grid, found.items(), strict=True):
            image = axes.imshow(one["matrix"], cmap="magma", vmin=0, vmax=most)
            class_ticks(axes, result["classes"], both=True)
            axes.set_title(f"{name}: L1 {one['l1']:.3f}, max {one['max']:.2f}", fontsize=9)
            axes.set_xlabel("class", fontsize=8)
            axes.set_ylabel("class", fontsize=8)
        figure.colorbar(image, ax=list(grid), label="|student - teacher|, correlation", shrink=0.8)
        what = "classifier weights" + (", centred" if result["centred"] else "")
        logits = result["of"] == "logits"
        title = f"Correlations between classes, of {'logits' if logits else what}"
        add_title(figure, result, title, images=logits)
        return figure


def weight_correlation(weight: Tensor, *, centred: bool = False) -> Tensor:
    """Return the cosines between the rows of a weight (C, d), shape (C, C).

    Example:
        >>> weight_correlation(torch.tensor([[2.0, 0.0], [1.0, 1.0]])).round(decimals=4)
        tensor([[1.0000, 0.7071],
                [0.7071, 1.0000]], dtype=torch.float64)
    """
    rows = weight.detach().double().cpu()
    rows = rows - rows.mean(1, keepdim=True) if centred else rows
    rows = torch.nn.functional.normalize(rows, dim=1)
    return rows @ rows.T


def errors(difference: Tensor) -> dict[str, Tensor]:
    """Return the mean off the diagonal, the sum and the maximum of a matrix of absolute differences."""
    off = ~torch.eye(len(difference), dtype=torch.bool)
    return {"l1": difference[off].mean(), "sum": difference.sum(), "max": difference.max()}


def head_weight(subject: Subject) -> Tensor:
    """Return the weight (C, d) of a model's linear classifier; a 1x1 convolution is flattened.

    Raises:
        ConfigError: if the classifier is not one linear layer.
    """
    point = subject.point("pooled")
    head = submodule(subject.inside, point.path)
    if not is_linear(head) or point.io != "input":
        raise ConfigError(
            f"correlation needs a linear classifier, but that of {subject.title} is {type(head).__name__}; use "
            "--of logits"
        )
    return head.weight.flatten(1)  # type: ignore[operator]
