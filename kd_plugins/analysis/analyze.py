"""Analyse trained models: the figures of the papers, with their numbers."""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from .._errors import ConfigError
from .._names import unknown_name
from ..config.build import quiet_torchdistill
from ..config.config import read_config
from ..runtime.checkpoint import write_atomically, write_text
from ..runtime.distributed import processes
from ..runtime.tasks import DETECTION
from .base import Analysis, Study
from .drawing import write_png
from .kinds import ANALYSES
from .passes import run_models
from .study import build_study, named_runs

DIGITS = 7
"""Significant digits of the numbers in JSON."""


@dataclass(frozen=True)
class Finished:
    """The result of one analysis."""

    name: str  # the value of `--what`
    title: str  # what the picture shows
    result: Mapping[str, Any]  # the content of `W.json`
    table: Sequence[str]  # lines of text
    files: Sequence[Path] = ()  # the files that were written
    replaced: Sequence[Path] = ()  # those of them that existed before

    def text(self) -> str:
        """Return title, table and files."""
        files = [f"{path} (replaced)" if path in self.replaced else str(path) for path in self.files]
        return "\n".join([f"{self.name}: {self.title}", *self.table, *([", ".join(files)] if files else [])])


def analyze(
    config_path: str | Path,
    what: Sequence[str],
    *,
    checkpoints: Sequence[str] = (),
    out: str | Path = "analysis",
    images: int | None = None,
    seed: int = 0,
    plot: bool = True,
    device: str = "auto",
    overrides: Sequence[str] = (),
    options: Mapping[str, Any] | None = None,
    note: Callable[[Finished], None] = lambda _finished: None,
) -> list[Finished]:
    """Analyse a config's teacher and students.

    All models run once over the test images, in eval mode and float32, for all analyses together. Modes, hooks and
    gradients of the models are left as they were.

    Args:
        config_path: the YAML file of the student's training.
        what: names of analyses, see :data:`~kd_plugins.analysis.kinds.ANALYSES`.
        checkpoints: students, as ``"NAME=FILE"`` or ``"FILE"``; a run folder stands for its ``best.pt``.
        out: folder of the files ``W.json`` and ``W.png``, which replace those of an earlier call.
        images: use the first so many test images of a seeded permutation; None uses all.
        seed: seed of every draw.
        plot: whether to draw the pictures.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        overrides: ``KEY.PATH=VALUE`` strings that replace parts of the config.
        options: keywords of the analyses; each gets those that it takes.
        note: called with each analysis when it is finished.

    Returns:
        The finished analyses, in the order of ``what``.

    Raises:
        ValueError: for any mistake in the config, a checkpoint or an option.
    """
    wanted = build_analyses(what, options or {})
    runs = named_runs(checkpoints)
    config = read_config(config_path, overrides)
    with processes(device) as procs, quiet_torchdistill():
        if procs.distributed:
            raise ConfigError("analyze needs all images in one process: run it without torchrun")
        if any(analysis.needs_models for analysis in wanted):
            study = build_study(config, procs, runs=runs, images=images, seed=seed)
        else:
            study = Study(config, {}, procs, seed, runs)
        _check_needs(wanted, study)
        finished = []
        with _output_folder(out) as folder:
            look_at_images(wanted, study)
            for analysis in wanted:
                done = _finish(analysis, study, folder, plot=plot)
                note(done)
                finished.append(done)
        return finished


def build_analyses(what: Sequence[str], options: Mapping[str, Any]) -> list[Analysis]:
    """Return the analyses with their options.

    Raises:
        ValueError: on an unknown name, or an option that none of them takes.
    """
    for name in what:
        if name not in ANALYSES:
            raise unknown_name("analysis", name, ANALYSES)
    if not what or len(set(what)) < len(what):
        raise ValueError(f"--what must be different analyses, such as logits,tsne, found {','.join(what)!r}")
    kinds = [ANALYSES[name] for name in what]
    taken = {kind: set(inspect.signature(kind).parameters) for kind in kinds}
    for option in options:
        if not any(option in names for names in taken.values()):
            takers = [name for name, kind in ANALYSES.items() if option in inspect.signature(kind).parameters]
            raise ValueError(f"--{option.replace('_', '-')} is an option of {' and '.join(takers)}: add it to --what")
    return [kind(**{key: value for key, value in options.items() if key in taken[kind]}) for kind in kinds]


def look_at_images(wanted: Sequence[Analysis], study: Study) -> None:
    """Run the models over the images once, for all analyses that need it."""
    wanted = [analysis for analysis in wanted if analysis.needs_images and analysis.needs_models]
    if not wanted or study.loader is None:
        return
    readings = {}
    for analysis in wanted:
        for subject in study.subjects:
            reading = analysis.reads(study, subject)
            if reading is not None:
                readings[analysis.name, subject.name] = reading
    study.found = run_models(study.subjects, study.loader, study.procs.device, readings)


def _check_needs(wanted: Sequence[Analysis], study: Study) -> None:
    for analysis in wanted:
        if analysis.needs_models and analysis.task is not study.task:
            rule = (
                "is for classifiers; a detector's config has only detections and curves"
                if study.task is DETECTION
                else "is for detectors, whose loaders have collate_fn: collate_detection; choose another --what"
            )
            raise ConfigError(f"{study.config.path}: {analysis.name} {rule}")
        if analysis.needs_teacher and study.teacher is None:
            raise ConfigError(
                f"{study.config.path}: {analysis.name} needs a teacher; the config has no models.teacher_model"
            )
        if analysis.needs_checkpoint and not study.students:
            raise ConfigError(f"{analysis.name} needs a student: add --checkpoint NAME=FILE")
        if analysis.needs_models and not study.subjects:
            raise ConfigError(f"{analysis.name} needs a model: add --checkpoint NAME=FILE (the config has no teacher)")


def _finish(analysis: Analysis, study: Study, folder: Path, *, plot: bool) -> Finished:
    result = {"what": analysis.name, **_described(study), **analysis.compute(study)}
    # The picture is drawn from what JSON holds.
    text = json.dumps(plain(result), allow_nan=False)
    result = json.loads(text)
    paths = [folder / f"{analysis.name}.json", *([folder / f"{analysis.name}.png"] if plot else [])]
    replaced = [path for path in paths if path.exists()]
    write_text(paths[0], text + "\n")
    if plot:
        figure = analysis.draw(result, study)
        write_atomically(paths[1], partial(write_png, figure))
    return Finished(analysis.name, analysis.title, result, analysis.table(result), paths, replaced)


def _described(study: Study) -> dict[str, Any]:
    models = {
        subject.name: {"architecture": subject.title, "checkpoint": subject.checkpoint and str(subject.checkpoint)}
        for subject in study.subjects
    }
    return {
        "config": str(study.config.path), "data": study.data, "images": len(study.chosen), "seed": study.seed,
        "models": models,
    }  # fmt: skip


def plain(value: Any) -> Any:
    """Return a value in types of JSON: numbers rounded, NaN and infinity as None.

    Example:
        >>> plain({"a": (1, 0.123456789), "b": float("nan")})
        {'a': [1, 0.1234568], 'b': None}
    """
    if isinstance(value, Mapping):
        return {str(key): plain(inside) for key, inside in value.items()}
    if hasattr(value, "tolist"):  # tensors and arrays
        return plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [plain(inside) for inside in value]
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
    return str(value) if isinstance(value, Path) else value


@contextmanager
def _output_folder(out: str | Path) -> Iterator[Path]:
    """Create the folder at once, because the analysis takes time; after an error remove it again if it is empty."""
    folder = Path(out).expanduser()
    created = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--out {out} cannot be created: {error.strerror}; name another folder") from error
    try:
        yield folder
    except BaseException:
        with suppress(OSError):  # a folder with files stays
            for path in created:
                path.rmdir()
        raise
