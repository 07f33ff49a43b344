"""letKD's loss with statistics from a file."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from ..._checks import check_at_least, check_choice, check_positive
from ..._checks import map_size as as_size
from ...losses import LetKDLoss as TensorLoss
from ...statistics.artefact import HOW_TO_FIT, KINDS, StatisticsError, load_statistics, part_of
from ...statistics.fitting import Settings
from ..losses.mid_level import MidLevelLoss

AUTO = "auto"
SUBCLASSES = "8"
KEYWORDS = {"layer": "teacher_module_path", "io": "teacher_module_io"}
"""Metadata names that differ from the keywords."""


class FittedLoss(nn.Module):
    """A :class:`~kd_plugins.losses.LetKDLoss` whose statistics are read lazily from a file.

    The loss is also built to check a config and to fit the statistics, before the file exists. ``kd_pre_epoch`` reads
    the file before the first epoch, after fitting it for ``statistics: auto``. Otherwise the first batch reads it.

    Args:
        kind: ``"penultimate"`` or ``"intermediate"``.
        statistics: path of the file, or ``"auto"``, which ``kd-plugins train`` and ``kd_pre_epoch`` replace by a path.
        num_centres: K of the penultimate statistics. If this or a later argument is given, the file must agree.
        subclasses: S of the intermediate statistics.
        components: d' of their projection.
        pca: number of principal components kept before the projection.
        map_size: height and width of the student's map, or one number, to which a larger teacher map was averaged. A
            smaller teacher map is repeated and needs none.
        fit_dataset_id: used only by the fit.
        sharpness: of the soft assignment.
    """

    def __init__(
        self,
        *,
        kind: str,
        statistics: str,
        num_centres: int | None = None,
        subclasses: int | None = None,
        components: int | None = None,
        pca: int | None = None,
        map_size: int | list[int] | None = None,
        fit_dataset_id: str | None = None,
        sharpness: float = 1.0,
    ) -> None:
        super().__init__()
        check_choice("kind", kind, KINDS)
        if not isinstance(statistics, str) or not statistics:
            raise StatisticsError(f"statistics of LetKDLoss must be the path of a file, or auto, found {statistics!r}")
        counts = {"num_centres": num_centres, "subclasses": subclasses, "components": components, "pca": pca}
        for name, value in counts.items():
            if value is not None:
                check_at_least(name, value, 1)
                if not isinstance(value, int):
                    raise StatisticsError(f"{name} of LetKDLoss must be a whole number, found {value!r}")
        check_positive("sharpness", sharpness)
        self.kind, self.source, self.sharpness = kind, statistics, sharpness
        given = {name: value for name, value in counts.items() if value is not None}
        self.settings = Settings(**given)
        self.wanted = {name: str(value) for name, value in given.items()}
        self.map_size = None if map_size is None else as_size("map_size", map_size)
        if self.map_size is not None:
            self.wanted["map_size"] = "{}x{}".format(*self.map_size)
        self.fit_dataset_id = fit_dataset_id
        self.fitted_size: str | None = None
        self.loss: TensorLoss | None = None

    def set_epoch(self, epoch: int) -> None:
        """Read the file before the first batch of a training."""
        self.ready()

    def ready(self) -> TensorLoss:
        """Return the loss with its statistics, reading the file on the first call."""
        if self.loss is None:
            if self.source == AUTO:
                raise StatisticsError(
                    "statistics: auto works only with kd-plugins train, or with pre_epoch_process: kd_pre_epoch under "
                    "train in torchdistill's own scripts; otherwise run "
                    f"`{HOW_TO_FIT} --out FILE` and set statistics: FILE"
                )
            found = load_statistics(self.source)
            part = part_of(found, self.kind, source=self.source)
            subclasses = self.wanted.get("subclasses", SUBCLASSES)
            subclasses = found.metadata.get(f"{self.kind}.subclasses", subclasses)
            loss = TensorLoss(part, sharpness=self.sharpness, subclasses=int(subclasses))
            # Compare the requested sizes: a teacher with dead channels has fewer directions than requested.
            if self.kind == "penultimate":
                sizes = {"num_centres": len(loss.centres)}
            else:
                sizes = {"subclasses": loss.subclasses, "components": len(loss.projection)}
            self._check({**{f"{self.kind}.{name}": str(size) for name, size in sizes.items()}, **found.metadata})
            self.fitted_size = found.metadata.get(f"{self.kind}.map_size")
            self.loss = loss
        return self.loss

    def _check(self, found: dict[str, str]) -> None:
        """Raise unless the file agrees with the config; a setting that only one of them has is not compared."""
        for name, value in self.wanted.items():
            there = found.get(f"{self.kind}.{name}", value)
            if there != value:
                keyword = KEYWORDS.get(name, name)
                wanted, found_there = (_as_yaml(name, one) for one in (value, there))
                raise StatisticsError(
                    f"{keyword} of LetKDLoss is {wanted}, but the {self.kind} statistics in {self.source} were fitted "
                    f"with {found_there}: fit them for this config with `{HOW_TO_FIT} --force`, or set {keyword}: "
                    f"{found_there}"
                )

    def forward(self, scores: Tensor, teacher: Tensor, targets: Tensor | None = None) -> Tensor:
        """Return the loss of scores (B, K, H, W) against features (B, d, H', W') of images with labels (B,)."""
        loss = self.ready()
        if scores.ndim != 4 or teacher.ndim != 4:
            return loss(scores, teacher, targets)
        sizes = list(zip(scores.shape[2:], teacher.shape[2:], strict=True))
        if self.fitted_size is not None and "x".join(str(min(pair)) for pair in sizes) != self.fitted_size:
            here = "x".join(str(n) for n in scores.shape[2:])
            raise StatisticsError(
                f"the score map is {here}, but the statistics in {self.source} were fitted for {self.fitted_size}: set "
                f"map_size: {_as_yaml('map_size', here)} in LetKDLoss and run `{HOW_TO_FIT} --force`"
            )
        if any(own > theirs for own, theirs in sizes):
            # Each position of the larger student map takes the target of the teacher position that covers it.
            teacher = F.adaptive_avg_pool2d(teacher.detach(), (scores.shape[2], scores.shape[3]))
        return loss(scores, teacher, targets)

    def extra_repr(self) -> str:
        """Show the statistics."""
        return f"{self.kind}, statistics={self.source!r}"


def _as_yaml(name: str, value: str) -> str:
    return f"[{value.replace('x', ', ')}]" if name == "map_size" else value


class LetKDLoss(MidLevelLoss):
    """letKD's loss between the scores of a student's KD layer and the features of a teacher's layer.

    ``student_module_path`` is ``kd_layer.<kind>.scores`` by default. Each term has one layer. The other keywords are
    those of :class:`FittedLoss`.
    """

    tensor_loss = FittedLoss
    wants = "features"
    uses_targets = True

    def __init__(
        self,
        student_module_path: str | None = None,
        student_module_io: str = "output",
        teacher_module_path: str | None = None,
        teacher_module_io: str = "output",
        **kwargs: Any,
    ) -> None:
        if student_module_path is None and isinstance(kwargs.get("kind"), str):
            student_module_path = f"kd_layer.{kwargs['kind']}.scores"
        super().__init__(student_module_path, student_module_io, teacher_module_path, teacher_module_io, **kwargs)
        fitted: Any = self.loss
        layer = str(self.teacher_module_path).removeprefix("teacher_model.")
        fitted.wanted |= {"layer": layer, "io": self.teacher_module_io}

    def _path(self, argument: str, path: Any) -> Any:
        if path is not None and not isinstance(path, str):
            raise ValueError(f"{argument} of LetKDLoss must be one module path, found {path!r}; add one term per layer")
        return super()._path(argument, path)
