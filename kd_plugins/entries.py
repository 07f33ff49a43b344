"""Everything that configs can name, as data: nothing here imports torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .host.losses.transform_table import TRANSFORMS
from .methods import METHODS, Reads
from .pairs.cifar import NETWORKS


@dataclass(frozen=True)
class Entry:
    """One name that configs can use.

    Attributes:
        kind: a kind of :data:`kd_plugins.registry.KINDS`, or ``"regressors"`` or ``"transforms"``, which configs name
            inside other entries.
        path: ``"module:name"``; the name is the key.
        summary: what it is, in half a line.
        note: the paper; for a network, its size and the source of checkpoints.
        reads: what a loss takes; None if it reads torchdistill's io dicts itself.
    """

    kind: str
    path: str
    summary: str
    note: str = ""
    reads: Reads | None = None

    @property
    def key(self) -> str:
        """Name in a config."""
        return self.path.rpartition(":")[2]


def _parts(kind: str) -> Iterator[Entry]:
    for method in METHODS.values():
        for part in method.parts:
            if part.kind == kind:
                yield Entry(kind, part.path, part.summary, method.paper)


def _entries() -> Iterator[Entry]:
    """Yield the entries by kind, in the order of the listing."""
    for method in METHODS.values():
        for loss in method.losses:
            yield Entry("losses", loss.path, loss.summary, method.paper, loss.reads)
    wrappers = "kd_plugins.host.losses.wrappers"
    for name, summary, paper in (
        ("TransformedLoss", "transforms before any mid-level loss", ""),
        ("LogitStandardization", "Z-score before any logit loss", METHODS["lskd"].paper),
        ("SalientFeatureMask", "teacher's largest entries, any loss", METHODS["sfkd"].paper),
    ):
        yield Entry("loss-wrappers", f"{wrappers}:{name}", summary, paper)
    for path, summary in (
        ("teachers.wrapper:FrozenTeacher", "teacher in eval mode, its own normalisation"),
        ("students.feature:FeatureStudent", "student that shows its features as maps"),
        ("detection.teacher:DetectionTeacher", "detector that scores the student's proposals"),
        ("detection.student:DetectionStudent", "detector that shows its proposals and its pyramid"),
    ):
        yield Entry("model-wrappers", f"kd_plugins.host.{path}", summary)
    yield from _parts("model-wrappers")
    yield from _parts("models")
    for path, summary in (
        ("models.timm:timm_model", "any timm model by name (model_name)"),
        ("models.detector:timm_detector", "Faster R-CNN with a feature pyramid over any timm backbone"),
        ("host.teachers.model:frozen_teacher", "a teacher that normalises and resizes its batches itself"),
        ("host.model_with_logits:model_with_logits", "the logits of a model that returns several outputs"),
    ):
        yield Entry("models", f"kd_plugins.{path}", summary)
    for network in NETWORKS.values():
        yield Entry("models", f"kd_plugins.models.cifar:{network.key}", network.summary, network.note)
    path = "kd_plugins.host.boxes.processes:kd_pre_epoch"
    yield Entry("processes", path, "teacher to eval mode, epoch to losses and wrappers")
    for kind in ("dataset-wrappers", "collate-functions"):
        yield from _parts(kind)
    path = "kd_plugins.data.detection.collate:collate_detection"
    yield Entry("collate-functions", path, "lists of images and of targets with boxes, for detectors")
    yield from _parts("regressors")
    for transform in TRANSFORMS.values():
        yield Entry("transforms", transform.path, transform.summary, transform.paper)


ENTRIES: tuple[Entry, ...] = tuple(_entries())
