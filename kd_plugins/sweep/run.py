"""Train the points of a sweep, pick by the validation images, and test the pick."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from filelock import FileLock

from .._checks import check_choice
from .._errors import ConfigError
from ..config.build import build_config
from ..config.config import Config, read_config
from ..config.safe import safe
from ..config.validate import stages
from ..reports.runs_table import mean_and_sd
from ..runtime.checkpoint import LAST, CheckpointError, write_text
from ..runtime.checksums import DamagedFileError
from ..runtime.metrics import main_score
from ..runtime.ownership import OwnedError
from ..training.run_folder import RunError
from ..training.train import train
from .space import Axis, Point, folder_name, overrides
from .study import GRID, SAMPLERS, Study
from .table import save_heat_map

RESULT, PICTURE, PICK = "sweep.json", "sweep.png", ".pick.lock"
FOLDER_ERRORS = (RunError, CheckpointError, DamagedFileError, OwnedError)
"""Errors about a run folder, such as a run that was begun with another number of threads."""


def run_sweep(
    config_path: str | Path,
    axes: Sequence[Axis],
    *,
    seeds: Sequence[int] = (0,),
    sampler: str = GRID,
    trials: int = 0,
    run_dir: str | Path | None = None,
    device: str = "auto",
    amp: str = "no",
    set_values: Sequence[str] = (),
    safe_packages: Sequence[str] | None = None,
    look_at: Callable[[Config, Mapping[str, Any]], None] = lambda _config, _built: None,
    note: Callable[[str], None] = lambda _text: None,
) -> dict[str, Any]:
    """Search settings of a config; return what ``sweep.json`` holds.

    Every point is an ordinary run per seed, in ``RUN_DIR/KEY=VALUE,.../seedN``. The same call continues after an
    interruption. Several processes may run the same call at once, also on several machines that share the folder. The
    point with the best mean validation score is tested once, at the end.

    Args:
        config_path: the YAML file.
        axes: what varies.
        seeds: of the runs of each point.
        sampler: ``"grid"``, ``"random"`` or ``"tpe"``.
        trials: number of points, for the latter two.
        run_dir: folder of the sweep; ``runs/<config>_sweep`` by default.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        amp: ``"no"``, ``"bf16"`` or ``"fp16"``.
        set_values: ``KEY.PATH=VALUE`` strings for every point.
        safe_packages: see :func:`~kd_plugins.training.train.train`.
        look_at: likewise.
        note: called with a line of text before each point.

    Raises:
        ValueError: on any mistake in the config or the axes, before the first run; if no point can be trained.
    """
    check_choice("sampler", sampler, SAMPLERS)
    if not axes:
        raise ValueError("sweep needs at least one --grid KEY=V1,V2 or --range KEY=LOW:HIGH")
    twice = {axis.key for axis in axes if sum(axis.key == other.key for other in axes) > 1}
    if twice:
        raise ValueError(f"{sorted(twice)[0]} is swept twice: give all of its values in one --grid")
    ranges = [axis.key for axis in axes if not axis.values]
    if sampler == GRID and ranges:
        raise ValueError(f"--range {ranges[0]} needs --random N or --tpe N; a grid has --grid KEY=V1,V2")
    if sampler != GRID and trials < 1:
        raise ValueError(f"--{sampler} must be a whole number above 0, found {trials}")
    if not seeds or len(set(seeds)) != len(seeds):
        raise ValueError(f"--seeds must be distinct whole numbers, such as 0,1,2, found {list(seeds)!r}")
    config = read_config(config_path, set_values)
    _check_points(config_path, axes, set_values, safe_packages, look_at)
    folder = Path(run_dir) if run_dir is not None else Path("runs") / f"{config.path.stem}_sweep"
    folder.mkdir(parents=True, exist_ok=True)
    settings = {
        "config": config.path.name, "axes": [vars(axis) for axis in axes], "seeds": list(seeds), "sampler": sampler,
        "trials": trials, "amp": amp, "set": list(set_values),
    }  # fmt: skip
    _same_sweep(folder, json.loads(json.dumps(settings)))
    study = Study(folder, axes, sampler, trials, seed=0)

    def run(point: Point, seed: int, *, test: bool) -> dict[str, Any]:
        path = folder / folder_name(point) / f"seed{seed}"
        return train(
            config_path, run_dir=path, resume=(path / LAST).exists(), seed=seed, device=device, amp=amp,
            overrides=[*set_values, *overrides(point)], safe_packages=safe_packages,
            look_at=look_at, test=test,
        )  # fmt: skip

    while True:
        with study.next() as taken:
            if taken is None:
                break
            trial, point = taken
            note(f"point {trial.number + 1} of {study.trials}: {folder_name(point)}")
            try:
                study.tell(trial, mean(run(point, seed, test=False)["val_best"] for seed in seeds))
            except FOLDER_ERRORS:
                raise  # not the point's fault; the next call tries it again
            except ValueError as error:
                study.fail(trial, str(error))
                note(f"  not trained: {error}")
    if study.running():
        note(f"{study.running()} points are still trained by other processes; the last to end tests the pick")
        return {}
    scores = study.scores()
    if not scores:
        reasons = "; ".join(reason for _, reason in study.failures())
        raise ValueError(f"no point of the sweep in {folder} could be trained: {reasons}")
    point, score = max(scores, key=lambda scored: scored[1])
    with FileLock(folder / PICK):  # two processes may end at once
        tested = [main_score(run(point, seed, test=True)["test_best"]) for seed in seeds]
    result = {
        **settings,
        "points": [{"values": dict(values), "val": value} for values, value in scores],
        "failed": [{"values": dict(values), "reason": reason} for values, reason in study.failures()],
        "pick": {
            "values": dict(point), "val": score, "test": mean_and_sd(tested), "test_scores": tested,
            "at_edge": _edges(point, axes), "folder": str(folder / folder_name(point)),
        },
    }  # fmt: skip
    text = json.dumps(result, indent=2) + "\n"
    write_text(folder / RESULT, text)
    save_heat_map(result, folder / PICTURE)
    return result


def _check_points(
    config_path: str | Path,
    axes: Sequence[Axis],
    set_values: Sequence[str],
    safe_packages: Sequence[str] | None,
    look_at: Callable[[Config, Mapping[str, Any]], None],
) -> None:
    """Build the config with every value of every axis, so that a mistake shows before the first run."""
    first = {axis.key: axis.ends[0] for axis in axes}
    points = dict.fromkeys(tuple({**first, axis.key: value}.items()) for axis in axes for value in axis.ends)
    try:
        for point in map(dict, points):
            config = read_config(config_path, [*set_values, *overrides(point)])
            built = build_config(config if safe_packages is None else safe(config, safe_packages))
            look_at(config, built)
    except ConfigError as error:
        raise ConfigError(f"the sweep's point {folder_name(point)} is no valid config: {error}") from error
    _check_validation(config, built)


def _check_validation(config: Config, built: Mapping[str, Any]) -> None:
    loaders = [stage.get("val_data_loader") for stage in stages(built["train"]).values()]
    tested = (built.get("test") or {}).get("test_data_loader")
    if loaders[-1] is None or tested is None:
        missing = "train.val_data_loader" if loaders[-1] is None else "test.test_data_loader"
        raise ConfigError(
            f"{config.path}: a sweep picks on validation images and tests the pick, but {missing} is missing"
        )
    if loaders[-1]["dataset_id"] == tested["dataset_id"]:
        raise ConfigError(
            f"{config.path}: a sweep must not pick on the test images, but val_data_loader and test_data_loader both "
            f"read {tested['dataset_id']}: hold out a part of the training images (recipe --val-share 0.1)"
        )


def _same_sweep(folder: Path, settings: Mapping[str, Any]) -> None:
    """Raise if the folder holds a sweep with other settings; else record them."""
    file = folder / "settings.json"
    if not file.is_file():
        text = json.dumps(settings, indent=2) + "\n"
        write_text(file, text)
        return
    try:
        held = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RunError(f"{file} is damaged: restore it, or name another --run-dir") from error
    for key, value in settings.items():
        if held.get(key) != value:
            raise RunError(
                f"--run-dir {folder} holds a sweep with other settings ({key} is {held.get(key)} there, {value} here); "
                "name another folder"
            )


def _edges(point: Point, axes: Sequence[Axis]) -> list[str]:
    """Return the keys whose picked number is the smallest or largest of at least three tried."""
    found = []
    for axis in axes:
        try:
            values = sorted(float(value) for value in axis.values)
            picked = float(point[axis.key])
        except ValueError:
            continue
        if len(values) > 2 and picked in (values[0], values[-1]):
            found.append(axis.key)
    return found
