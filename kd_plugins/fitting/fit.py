"""Fit the statistics for a config's letKD terms, or check existing ones."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn
from torchdistill.common.module_util import get_module
from torchdistill.models.wrapper import build_auxiliary_model_wrapper

from .._errors import ConfigError, explain
from ..config.build import build_config, build_models, quiet_torchdistill
from ..config.config import Config, read_config
from ..config.module_paths import check_module_paths
from ..host.letkd.patience import main_first
from ..host.model_sections import section_inside
from ..models.fingerprint import fingerprint
from ..runtime.distributed import Processes, processes
from ..runtime.run_names import STATISTICS, default_run_folder
from ..runtime.seed import seed_everything
from ..statistics.fitting import largest_sizes
from ..statistics.job import DEFAULT_BUDGET, Job, features_of
from ..statistics.kept_random import random_numbers_kept
from ..statistics.teacher_features import TeacherFeatures
from .data import few_images, fit_dataset
from .terms import AUTO, LetKDTerm, letkd_terms

UNITS = {"": 1, "b": 1, **{f"{p}ib": 1 << 10 * i for i, p in enumerate("kmgt", 1)}}
UNITS |= {f"{p}b": 10 ** (3 * i) for i, p in enumerate("kmgt", 1)}


def fit(
    config_path: str | Path,
    *,
    out: str | Path | None = None,
    seed: int = 0,
    device: str = "auto",
    memory_budget: int | str = DEFAULT_BUDGET,
    cache: str = "auto",
    force: bool = False,
    overrides: Sequence[str] = (),
    verbose: bool = False,
) -> list[str]:
    """Fit the statistics of a config's letKD terms and write the files that they name; return a line per file.

    Args:
        config_path: the YAML file.
        out: another output file. By default, a term with ``statistics: auto`` uses the run folder of this seed, where
            training finds the file.
        seed: seed of all random generators.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        memory_budget: memory for features, in bytes or as text such as ``"2GiB"``.
        cache: ``"auto"``, ``"memory"``, ``"disk"`` or ``"off"``.
        force: replace existing files.
        overrides: ``KEY.PATH=VALUE`` strings that replace parts of the config.
        verbose: show progress bars.

    Raises:
        ValueError: for any mistake in the config or the data.
    """
    budget = size_in_bytes(memory_budget)
    config = read_config(config_path, overrides)
    done: list[str] = []
    with processes(device) as procs, quiet_torchdistill():
        seed_everything(seed)
        built = build_config(config)
        terms = letkd_terms(config, built)
        if not terms:
            raise ConfigError(f"{config.path}: nothing to fit: the criterion has no LetKDLoss")
        auto = default_run_folder(config.path, seed) / STATISTICS
        teacher, _, _ = build_models(config, built, procs)

        def work() -> None:
            for job in fit_jobs(config, built, teacher, terms, procs, auto=auto, out=out, seed=seed, verbose=verbose):
                if job.path.is_file() and not force:
                    job.check()
                    done.append(f"{job.path} already exists and matches; --force computes it again")
                    continue
                job.fit(budget=budget, cache=cache)
                done.append(f"statistics written to {job.path}: {job.summary()}")

        main_first(work)
    return done


def prepare_statistics(
    config: Config, built: Mapping[str, Any], teacher: nn.Module | None, procs: Processes, *, folder: Path, seed: int
) -> None:
    """Prepare the statistics of all letKD terms before training.

    A named file is checked against teacher, layer and data. For ``statistics: auto``, the file is in the run folder and
    is fitted unless a matching one exists; its path is written into the term's kwargs, in ``built``. Rank 0 fits and
    the other processes wait.
    """
    terms = letkd_terms(config, built)
    if not terms:
        return

    def work() -> None:
        for job in fit_jobs(config, built, teacher, terms, procs, auto=folder / STATISTICS, seed=seed, verbose=True):
            if job.automatic:
                job.fit_unless_there()
            else:
                job.check()

    # Fitting must not change the random numbers of the training, whether or not a file exists.
    with random_numbers_kept(procs.device):
        main_first(work)
    for term in terms:
        if term.statistics == AUTO:
            term.kwargs["statistics"] = str(folder / STATISTICS)


def fit_jobs(
    config: Config,
    built: Mapping[str, Any],
    teacher: nn.Module | None,
    terms: Sequence[LetKDTerm],
    procs: Processes,
    *,
    auto: Path,
    out: str | Path | None = None,
    seed: int,
    verbose: bool,
    few: bool = False,
) -> list[Job]:
    """Return a job for every statistics file of the terms; ``auto`` is the file for ``statistics: auto``.

    With ``few``, only a few images are used.
    """
    if teacher is None:
        raise ConfigError(f"{config.path}: {terms[0].place} needs a teacher; add teacher_model to models")
    jobs: dict[Path, Job] = {}
    whole = built["models"]["teacher_model"]
    section = section_inside(whole)
    name = (section.get("kwargs") or {}).get("model_name")
    same = {"teacher": section["key"] + (f" {name}" if name else ""), "teacher_weights": fingerprint(teacher)}
    for term in terms:
        path = Path(out) if out is not None else auto if term.statistics == AUTO else Path(term.statistics)
        job = jobs.setdefault(path, Job(path, term.statistics == AUTO, seed))
        dataset, described = fit_dataset(config, built, term)
        stream = _stream(config, teacher, term, dataset, procs, job, verbose=verbose, few=few)
        told = {**same, "teacher_input": _own_input(whole, term), "dataset": described}
        _refuse_too_many(config, term, stream, dataset)
        differ = job.add(term.kind, stream, term.settings, told=told, layer=term.layer, io=term.io)
        if differ:
            raise ConfigError(
                f"{config.path}: two letKD terms use the same file, {path}, but differ in {', '.join(differ)}; set "
                f"another file as statistics at {term.place}"
            )
    return list(jobs.values())


def _stream(
    config: Config,
    teacher: nn.Module,
    term: LetKDTerm,
    dataset: Any,
    procs: Processes,
    job: Job,
    *,
    verbose: bool,
    few: bool,
) -> TeacherFeatures:
    side = term.stage.get("teacher") or {}
    if side.get("auxiliary_model_wrapper"):
        teacher = build_auxiliary_model_wrapper(
            side, teacher_model=teacher, device=procs.device, device_ids=None, distributed=False
        ).to(procs.device)
    job.teachers.append(teacher)
    if not hasattr(teacher, term.layer.partition(".")[0]) or get_module(teacher, term.layer) is None:
        check_module_paths(teacher, [term.layer], what="teacher", where=term.place)
    loader = (term.stage.get("train_data_loader") or {}).get("kwargs") or {}
    try:
        return features_of(
            teacher, get_module(teacher, term.layer), few_images(dataset) if few else dataset, io=term.io,
            map_size=term.map_size, seed=job.seed, device=procs.device, batch_size=loader.get("batch_size", 64),
            num_workers=0 if few else loader.get("num_workers", 0), progress=verbose and procs.is_main,
        )  # fmt: skip
    except (ValueError, TypeError, RuntimeError) as error:
        raise ConfigError(f"{config.path}: {term.place}: {explain(error)}") from error


def _refuse_too_many(config: Config, term: LetKDTerm, stream: TeacherFeatures, dataset: Any) -> None:
    """Refuse sizes that are too large for the data now, because fitting would fail only after hours."""
    known = getattr(dataset, "real_length", True)
    shape = replace(stream.shape, images=len(dataset) if known else sys.maxsize)
    read = ("num_centres",) if term.kind == "penultimate" else ("subclasses", "pca", "components")
    for name, most in largest_sizes(term.settings, shape, stream.classes).items():
        found = getattr(term.settings, name)
        if name in read and found is not None and found > most:
            raise ConfigError(
                f"{config.path}: {name} must be at most {most}, found {found} ({shape.images} images, maps of "
                f"{shape.height} x {shape.width} positions and {shape.channels} channels, {stream.classes} classes): "
                f"lower it at {config.where(*term.path, 'criterion', 'kwargs', name)}"
            )


def _own_input(section: Mapping[str, Any], term: LetKDTerm) -> str:
    """Return how the teacher or its wrapper prepares the student's batch, without keywords about outputs."""
    wrapper = (term.stage.get("teacher") or {}).get("auxiliary_model_wrapper") or {}
    parts = [wrapper] if section_inside(section) is section else [section, wrapper]
    given = {k: v for part in parts for k, v in (part.get("kwargs") or {}).items()}
    kwargs = {k: v for k, v in given.items() if k not in ("model", "logits", "points", "probe_size")}
    return json.dumps(kwargs, sort_keys=True, default=str) if kwargs else "the batch as it is"


def size_in_bytes(text: int | str) -> int:
    """Return the bytes of a size such as ``"1.5 KiB"``; the error on another text names ``--memory-budget``."""
    match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([kmgt]?i?b?)\s*", str(text).lower())
    if match is None or match[2] not in UNITS or float(match[1]) * UNITS[match[2]] < 1:
        raise ValueError(f"--memory-budget must be a size such as 2GiB, 512MiB or a number of bytes, found {text!r}")
    return int(float(match[1]) * UNITS[match[2]])
