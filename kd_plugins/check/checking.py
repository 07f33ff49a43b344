"""Check a config: its names, its files, and one training step on a real batch."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.data import DataLoader, Subset
from torchdistill.common.main_util import import_dependencies

from .._checks import check_at_least
from .._tables import markdown_table
from ..bench.training_step import TrainingStep
from ..engine.build import logger as builder
from ..engine.build import quiet_torchdistill
from ..engine.config import Config, ConfigError, parse_config, read_config
from ..engine.distributed import Processes, pick_device
from ..engine.evaluate import evaluate
from ..engine.fake_data import with_fake_data
from ..engine.fingerprint import fingerprint
from ..engine.validate import Validator, stages
from .config_rules import check_sections
from .estimate import Estimate, estimate, small_loader
from .findings import Findings, as_dicts, format_findings
from .observed import Term, observe
from .step_rules import check_observed, check_teacher_accuracy, check_teacher_input, stage_path

SMALL_SIDE, SMALL, LARGE = 64, 64, 8
"""Images up to 64 pixels wide are checked 64 at a time, larger ones 8."""


@dataclass(frozen=True)
class Report:
    """What a check found.

    Attributes:
        config: path of the config.
        findings: errors, warnings, and what is right.
        terms: of the loss, in one step; empty where none was taken.
        estimate: of time and memory; None where no step was taken.
    """

    config: str
    findings: Findings
    terms: tuple[Term, ...] = ()
    estimate: Estimate | None = None

    @property
    def failed(self) -> bool:
        """Whether the config has an error."""
        return self.findings.failed

    def text(self) -> str:
        """Return the report as tables."""
        blocks = [format_findings(self.findings)]
        if self.terms:
            blocks.append("\n".join(markdown_table(TERM_HEADS, [_cells(term) for term in self.terms])))
        if self.estimate is not None:
            blocks.append(self.estimate.text())
        levels = [finding.level for finding in self.findings]
        blocks.append(f"{self.config}: {levels.count('error')} errors, {levels.count('warning')} warnings")
        return "\n\n".join(blocks)

    def json(self) -> str:
        """Return the report as JSON."""
        terms = [
            {**vars(term), "value": None if term.value is None else float(term.value.detach())} for term in self.terms
        ]
        rest = None if self.estimate is None else asdict(self.estimate)
        whole = {"config": self.config, "findings": as_dicts(self.findings), "terms": terms, "estimate": rest}
        return json.dumps(whole, indent=2) + "\n"


TERM_HEADS = ("term", "weight", "value", "gradient, weighted", "x cross-entropy's", "at the student's")


def check_config(
    path: str | Path,
    *,
    fake_data: bool = False,
    device: str = "cpu",
    images: int | None = None,
    overrides: Sequence[str] = (),
) -> Report:
    """Find what is wrong with a config, without training it; of one with several stages the first one is run.

    Args:
        path: the YAML file.
        fake_data: run on noise and random weights; nothing is read from disk or downloaded.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        images: how many to run at most; 64 by default, or 8 where they are large.
        overrides: ``KEY.PATH=VALUE`` strings that replace parts of the config.

    Raises:
        ValueError: when the config file cannot be read, or an argument is wrong. What is wrong in the config is found,
            not raised.
    """
    path = Path(path)
    if images is not None:
        check_at_least("--images", images, 2)
    place = pick_device(device)
    try:
        config = read_config(path, overrides)
    except ConfigError as error:
        if not path.is_file():
            raise
        findings = Findings(parse_config("{}", path))
        findings.failure(error)
        return Report(str(path), findings)
    findings = Findings(config)
    with quiet_torchdistill(logging.ERROR), _quiet_builder():
        runnable = with_fake_data(config) if fake_data else config
        built = _built(findings, runnable)
        if built is None or findings.failed:
            return Report(str(path), findings)
        check_sections(findings, built, weights=not fake_data)
        if findings.failed:
            return Report(str(path), findings)
        return _run(findings, runnable, Processes(0, 1, place), images, fake_data)


def _built(findings: Findings, config: Config) -> dict[str, Any] | None:
    """Build a config's objects and check all of its names."""
    try:
        built = config.construct()
    except ConfigError as error:
        findings.failure(error)
        return None
    try:
        import_dependencies(built.get("dependencies"))
    except ImportError as error:
        findings.error(f"a dependency cannot be imported: {error}", "dependencies")
        return None
    found = Validator(config, built).findings()
    for wrong in found:
        findings.failure(wrong)
    if not found:
        findings.fine("all names and keywords are known")
    return built


def _run(findings: Findings, config: Config, procs: Processes, images: int | None, fake_data: bool) -> Report:
    name = str(config.path)
    try:
        step = TrainingStep(config, procs.device)
    except ValueError as error:
        findings.failure(error)
        return Report(name, findings)
    path = stage_path(step.built)
    with step:
        loader = step.box.train_data_loader
        epoch_images = len(loader.sampler) if hasattr(loader.sampler, "__len__") else len(loader.dataset)
        before = _print_of_teacher(step)
        try:
            batch = small_loader(step, images or _images(loader.dataset))
            seen = observe(step)
        except ValueError as error:
            findings.failure(error, *path)
            return Report(name, findings)
        check_observed(findings, step, seen, path)
        check_teacher_input(findings, step, path)
        if not fake_data:
            check_teacher_accuracy(findings, seen, path)
        if batch == 1 and any(isinstance(m, _BatchNorm) for m in step.student.modules()):
            findings.error(
                "batches of one image have no batch statistics: raise batch_size", *path, "train_data_loader"
            )
        terms = tuple(seen.terms)
        if findings.failed:
            return Report(name, findings, terms)
        rest = _train_and_test(findings, step, batch, epoch_images, path)
        if before not in (None, _print_of_teacher(step)) and not step.box.teacher_updatable:
            findings.error("a training step changed the frozen teacher", *path, "teacher")
        others = list(stages(step.built["train"]))[1:]
        if others:
            findings.fine(f"{path[-1]} was run; of {', '.join(others)} the names alone were checked")
        return Report(name, findings, terms, rest)


def _train_and_test(
    findings: Findings, step: TrainingStep, batch: int, epoch_images: int, path: tuple[str, ...]
) -> Estimate | None:
    """Take steps with the optimizer and evaluate a few images."""
    try:
        found = estimate(step, batch, epoch_images)
    except ValueError as error:
        findings.failure(error, *path)
        return None
    loader = step.box.val_data_loader
    if loader is not None:
        few = Subset(loader.dataset, range(min(found.images, len(loader.dataset))))
        try:
            evaluate(step.student, DataLoader(few, found.images, collate_fn=loader.collate_fn), step.procs)
        except ValueError as error:
            findings.failure(error, *path, "val_data_loader")
    return found


def _print_of_teacher(step: TrainingStep) -> str | None:
    teacher = getattr(step.box, "org_teacher_model", None)
    return None if teacher is None else fingerprint(teacher)


def _images(dataset: Any) -> int:
    """Return how many images to run: few where they are large."""
    image = dataset[0][0]
    while isinstance(image, (tuple, list)):
        image = image[0]
    return SMALL if not isinstance(image, Tensor) or image.shape[-1] <= SMALL_SIDE else LARGE


def _cells(term: Term) -> tuple[str, ...]:
    ratio = None if not term.gradient or not term.beside else term.gradient / term.beside
    value = None if term.value is None else float(term.value.detach())
    numbers = (f"{x:.3g}" if x is not None else "-" for x in (term.weight, value, term.gradient, ratio))
    return (term.name, *numbers, term.place or "-")


@contextmanager
def _quiet_builder() -> Iterator[None]:
    """Leave random weights to the check's own findings."""
    level = builder.level
    builder.setLevel(logging.ERROR)
    try:
        yield
    finally:
        builder.setLevel(level)
