"""Information that features have about images and labels: the plane, and how much to keep (SFKD, Fig. 2)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from statistics import mean
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from ..._checks import check_choice, check_positive, check_whole
from ..._errors import ConfigError
from ..._tables import text_table
from ...data.inside import normalisation
from ...fitting.fit import size_in_bytes
from ...transforms.salient import ORDERS, keep_salient
from ..base import TEACHER, Analysis, Batch, Reading, Study, Subject, Values
from ..drawing import displayed
from ..information.bounds import Data, choose_keep, information, spread
from ..information.features import FeatureStore, chunks
from ..information.heads import binary_entropy
from ..information.pictures import plane, sweep_picture
from ..passes import run_models
from ..study import training_loader
from ._synthetic_images import resized

LARGEST_IMAGE = 32
TRAIN, TEST, IMAGES = "train", "test", "images"
SHARES = tuple(round(0.1 * tenth, 1) for tenth in range(1, 11))
EPOCH = re.compile(r"(?:(.*) )?epoch-(\d+)")
PROCESSED = (
    "a mask cannot raise information: I(X;F_K) <= I(X;F), because F_K is a function of F; a lower value at a larger K "
    "is a property of the decoder"
)


class InformationPlane(Analysis):
    r"""Lower bounds of the information that a feature has about the image and about the label.

    .. math:: I(X; F) \ge H(X) - R, \qquad I(Y; F) \ge H(Y) - \mathrm{CE}

    - :math:`R`: binary cross-entropy of a decoder that gives back the image, in nats per value of a pixel,
    - :math:`\mathrm{CE}`: cross-entropy of a classifier of the averaged feature, in nats.

    H(X) is unknown, so R_0 - R is shown, with R_0 of the mean training image; the share relates it to the least R that
    is possible. Decoder and classifier are fitted on training images without augmentation, and measured on test images.

    Args:
        points: feature points or module paths; by default the last map.
        sweep: ``"keep"`` masks the feature with K = 0.1, 0.2, ..., 1.0 and chooses one.
        keep: share of each sample's largest entries that is kept, without ``sweep``.
        by: ``"value"`` or ``"magnitude"``: what makes an entry large.
        repeats: number of fits with different seeds.
        epochs: most epochs of a fit.
        memory_budget: memory for features and images, in bytes or as text such as ``"2GiB"``; what is larger is kept
            as float16 in temporary files.

    References:
        Efficient Knowledge Distillation via Salient Feature Masking (SFKD), Appendix A and Figure 2. Wang et al.,
        Revisiting Locally Supervised Learning, ICLR 2021.
    """

    name = "information"
    title = "information about image and label"

    def __init__(
        self, *, points: list[str] | None = None, sweep: str | None = None, keep: float = 1.0, by: str = "value",
        repeats: int = 3, epochs: int = 30, memory_budget: int | str = "2GiB",
    ) -> None:  # fmt: skip
        if sweep is not None:
            check_choice("--sweep", sweep, ("keep",))
        check_positive("--keep", keep)
        if keep > 1 or (keep != 1 and sweep is not None):
            rule = "at most 1" if keep > 1 else "left out with --sweep keep"
            raise ValueError(f"--keep must be {rule}, found {keep}")
        check_choice("--by", by, ORDERS)
        check_whole("--repeats", repeats, 1)
        check_whole("--epochs", epochs, 1)
        self.points, self.sweep, self.keep, self.by = points or ["last_map"], sweep, keep, by
        self.repeats, self.epochs = repeats, epochs
        self.store = FeatureStore(size_in_bytes(memory_budget))

    def reads(self, study: Study, subject: Subject) -> Reading:
        """Return the maps of the test images; of the first model also the images from 0 to 1."""
        return self._reading(study, subject, len(study.chosen), TEST)

    def _reading(self, study: Study, subject: Subject, samples: int, split: str) -> Reading:
        """Return a reading that puts maps and images into the store."""
        points = {name: subject.point(name) for name in self.points}
        first = subject is study.subjects[0]
        known = normalisation(study.dataset)

        def keep(batch: Batch, values: Values) -> Values:
            images = {IMAGES: unit_images(batch.images, known)} if first else {}
            for key, value in (values | images).items():
                self.store.append((split, subject.name, key), value, samples=samples)
            return {}

        places = {name: ((point.path, point.io), point.as_map) for name, point in points.items()}
        return Reading(places, keep)

    def compute(self, study: Study) -> dict[str, Any]:
        """Return ``r0``, ``least`` and, for every model and point, its ``information`` or its ``sweep``."""
        train_labels = self._train(study)
        first = study.subjects[0].name
        images = [self.store.pop((split, first, IMAGES)) for split in (TRAIN, TEST)]
        classes = study.found.logits[first].shape[1]
        data = Data(images[0], train_labels, images[1].float(), study.found.labels.clone(), classes)
        if len(data.train_labels) < 2:
            raise ConfigError("information needs at least two training images")
        self.scale = (data.mean_image_loss(), binary_entropy(data.images))
        shares = SHARES if self.sweep else (self.keep,)
        wanted = [(one.name, point) for one in study.subjects for point in self.points]
        bar = tqdm(total=len(wanted) * len(shares), desc="decoders", leave=False, disable=None)
        rows: dict[str, dict[str, Any]] = {one.name: {} for one in study.subjects}
        with bar:
            for name, point in wanted:
                train, test = (self.store.pop((split, name, point)) for split in (TRAIN, TEST))
                found = []
                for share in shares:
                    of_train, of_test = self.masked(train, share), self.masked(test, share)
                    found.append(self._measured(of_train, of_test, data, share, study.seed))
                    bar.update()
                    if self.sweep and torch.equal(of_train, train):
                        break  # larger shares keep the same
                zeros = 1 - sum(int(part.count_nonzero()) for part in chunks(train)) / train.numel()
                fits = {one["share_kept"]: list(one["image_fits"]) for one in found}
                choice = choose_keep(fits) if self.sweep else {}
                rows[name][point] = {"zero_share": zeros, "keep": found, **choice}
                del train, test, of_train, of_test  # before the next features
        return {
            "sweep": self.sweep, "by": self.by, "repeats": self.repeats, "training_images": len(data.train_labels),
            "r0": self.scale[0], "least": self.scale[1], "log_classes": torch.tensor(float(classes)).log().item(),
            "image_size": list(data.images.shape[2:]), "information": rows,
        }  # fmt: skip

    def _train(self, study: Study) -> Tensor:
        """Put the features of the training images into the store, and return their labels."""
        loader = training_loader(study)
        samples = len(loader.dataset)  # type: ignore[arg-type]
        readings = {(self.name, one.name): self._reading(study, one, samples, TRAIN) for one in study.subjects}
        return run_models(study.subjects, loader, study.procs.device, readings).labels.clone()

    def masked(self, features: Tensor, share: float) -> Tensor:
        """Return features with only the largest entries of each sample; the same object if all are kept."""
        if share == 1:
            return features
        return self.store.mapped(partial(keep_salient, keep=share, by=self.by), features)

    def _measured(self, train: Tensor, test: Tensor, data: Data, share: float, seed: int) -> dict[str, Any]:
        found = information(train, test, data, epochs=self.epochs, repeats=self.repeats, seed=seed)
        beyond = mean(found.image)
        return {
            "share_kept": share,
            "r": mean(found.reconstruction),
            "image": beyond, "image_sd": spread(found.image), "image_fits": found.image,
            "image_share": beyond / (self.scale[0] - self.scale[1]) if self.scale[0] > self.scale[1] else float("nan"),
            "label": mean(found.label), "label_sd": spread(found.label), "label_fits": found.label,
        }  # fmt: skip

    def table(self, result: Mapping[str, Any]) -> list[str]:
        """Return a row per model, point and share."""
        heads = ["model", "point", "K", "R", "R0 - R, nats a pixel", "share", "I(Y;F), nats"]
        rows = [heads]
        lines = []
        for name, points in result["information"].items():
            for point, found in points.items():
                for one in found["keep"]:
                    share = "undefined" if one["image_share"] is None else f"{one['image_share']:.3f}"
                    rows.append([
                        name, point, f"{one['share_kept']:g}", f"{one['r']:.4f}",
                        f"{one['image']:.4f} +- {one['image_sd']:.4f}", share,
                        f"{one['label']:.3f} +- {one['label_sd']:.3f}",
                    ])  # fmt: skip
                if result["sweep"]:
                    lines.append(_told(name, point, found))
        fits = f"{result['repeats']} fits on {result['training_images']} training images"
        scale = f"R0 {result['r0']:.4f}, least possible R {result['least']:.4f}"
        lines.insert(0, f"{fits}, measured on {result['images']} test images; {scale}")
        return [*text_table(rows, left=(0, 1)), *lines, *([PROCESSED] if result["sweep"] or self.keep != 1 else [])]

    def draw(self, result: Mapping[str, Any], study: Study) -> Any:
        """Return the sweep, or the plane with a line through the epochs of a run."""
        return sweep_picture(result) if result["sweep"] else plane(result, trajectories(list(result["information"])))


def unit_images(images: Tensor, known: tuple[list[float], list[float]] | None) -> Tensor:
    """Return images (B, c, H, W) from 0 to 1 with three channels, of at most 32 x 32 pixels."""
    device = images.device
    shown = displayed(images.cpu(), known)
    size = (min(shown.shape[2], LARGEST_IMAGE), min(shown.shape[3], LARGEST_IMAGE))
    return resized(shown, size).clamp(0, 1).to(device)


def trajectories(names: list[str]) -> dict[str, list[tuple[int, str]]]:
    """Return run -> (epoch, name) of its checkpoints, in order; other models are alone at epoch 0.

    Example:
        >>> trajectories(["teacher", "kd epoch-10", "kd epoch-2"])
        {'teacher': [(0, 'teacher')], 'kd': [(2, 'kd epoch-2'), (10, 'kd epoch-10')]}
    """
    found: dict[str, list[tuple[int, str]]] = {}
    for name in names:
        match = None if name == TEACHER else EPOCH.fullmatch(name)
        run, epoch = (match[1] or "student", int(match[2])) if match else (name, 0)
        found.setdefault(run, []).append((epoch, name))
    return {run: sorted(epochs) for run, epochs in found.items()}


def _told(name: str, point: str, found: Mapping[str, Any]) -> str:
    last = found["keep"][-1]["share_kept"]
    text = f"{name} {point}: the paper's heuristic chooses K = {found['chosen']:g}, runner-up {found['runner_up']}"
    text += "; flat: the sweep varies by less than two standard deviations" if found["flat"] else ""
    if last < 1:
        text += f"; {100 * found['zero_share']:.1f} % of the entries are zero, so every K from {last:g} on is the same"
    return text
