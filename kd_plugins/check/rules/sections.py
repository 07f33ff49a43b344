"""What a config says about models, teacher and terms that is seldom meant, seen without running its models."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ...config.build import has_weights
from ..findings import Findings
from ..stage import Section, Stage, all_stages
from .data import check_data, check_samples
from .loaders import check_test, check_validation, train_loader_runs
from .masks import check_keep
from .schedules import check_optimizer, check_schedule
from .values import check_values

CHECKPOINT_KEYS = ("src_ckpt", "checkpoint")


def check_sections(findings: Findings, built: Mapping[str, Any], *, weights: bool) -> bool:
    """Add what is found in the sections of a config; return whether a training step can be tried.

    Where names were found to be wrong already, a section that has one of them may not be looked at.

    Args:
        findings: of the config; they grow.
        built: the config's objects.
        weights: whether the teacher needs weights, and checkpoint files must exist.
    """
    named = not findings.failed

    def hold(rule: Callable[..., bool | None], *args: Any, **kwargs: Any) -> bool:
        try:
            return rule(findings, *args, **kwargs) is not False
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            if named:
                # Something that no rule foresaw; the check goes on with the rest.
                where = next((arg.path for arg in args if isinstance(arg, Stage)), ())
                with findings.caught(*where):
                    raise error
            return False

    runs = [named]
    if weights:
        runs.append(hold(_all_checkpoints, built))
        hold(_random_teacher, built)
    for stage in all_stages(built) if hold(_is_there, built) else ():
        runs += [hold(rule, stage) for rule in (train_loader_runs, _student, check_optimizer, _weights)]
        for rule in (_teacher, check_schedule, check_validation, check_values, check_keep):
            hold(rule, stage)
    hold(check_test, built)
    hold(_overwrites, built)
    runs.append(hold(check_data, built))
    if weights and all(runs):
        runs.append(hold(check_samples, built))
    return all(runs)


def _overwrites(findings: Findings, built: Mapping[str, Any]) -> None:
    """Find a file to write that the config also reads."""
    read = {
        _resolved(path): place
        for place, path in _files(built, ("ckpt", "checkpoint", "statistics"))
        if "dst" not in place[-1]
    }
    for place, path in _files(built, ("dst_ckpt",)):
        if _resolved(path) in read:
            other = ".".join(read[_resolved(path)])
            findings.error(f"dst_ckpt would overwrite {path}, which {other} reads: name another file", *place)


def _files(section: Any, ends: tuple[str, ...], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield the place and the path of every file that a config names under keys with one of the ends."""
    if isinstance(section, Mapping):
        for key, value in section.items():
            if isinstance(value, str) and str(key).endswith(ends):
                yield (*path, str(key)), value
            elif str(key) != "datasets":
                yield from _files(value, ends, (*path, str(key)))
    elif isinstance(section, (list, tuple)):
        for index, value in enumerate(section):
            yield from _files(value, ends, (*path, str(index)))


def _resolved(path: str) -> Path:
    return Path(path).expanduser().resolve()


def _is_there(_findings: Findings, built: Mapping[str, Any]) -> bool:
    return all(True for _ in all_stages(built))


def _all_checkpoints(findings: Findings, built: Mapping[str, Any]) -> bool:
    return _checkpoints(findings, built["models"], ("models",))


def _checkpoints(findings: Findings, section: Any, path: tuple[object, ...]) -> bool:
    """Find checkpoints that are no files, also those of models inside a model's keywords."""
    there = True
    entries = section.items() if isinstance(section, Mapping) else enumerate(section)
    for key, value in entries:
        if key in CHECKPOINT_KEYS and isinstance(value, str) and not value.startswith(("http://", "https://")):
            if not Path(value).expanduser().is_file():
                findings.error(f"{value} does not exist: put the weights there, or name their file", *path, key)
                there = False
        elif isinstance(value, (Mapping, list, tuple)):
            there &= _checkpoints(findings, value, (*path, key))
    return there


def _random_teacher(findings: Findings, built: Mapping[str, Any]) -> None:
    section: Section | None = built["models"].get("teacher_model")
    if section is not None and not has_weights(section):
        findings.warning(
            "the teacher has random weights: give it src_ckpt, or checkpoint or pretrained in its kwargs",
            "models",
            "teacher_model",
        )


def _teacher(findings: Findings, stage: Stage) -> None:
    side = stage.side("teacher")
    if not ((side or stage.number) and stage.trains("teacher") and stage.trains("student")):
        return
    if "requires_grad" not in side:
        findings.error("the teacher would be trained: add requires_grad: False", *stage.path, "teacher")
    elif not side.get("frozen_modules"):
        findings.warning(
            "the whole teacher is trained beside the student: set requires_grad: False, unless that is meant",
            *stage.path,
            "teacher",
            "requires_grad",
        )


def _student(findings: Findings, stage: Stage) -> bool:
    side = stage.side_key("student")
    if stage.trains("student") or stage.trains("teacher"):
        return True
    findings.error(f"the {side} would not be trained: remove requires_grad", *stage.path, side, "requires_grad")
    return False


def _weights(findings: Findings, stage: Stage) -> bool:
    if not stage.terms:
        findings.error("the criterion has no terms: add some under kwargs.sub_terms", *stage.path, "criterion")
    for name, term in stage.terms.items():
        at = (*stage.terms_path, name, "weight")
        if term["weight"] == 0:
            findings.warning("a term of weight 0 trains nothing: remove it", *at)
        elif term["weight"] < 0:
            findings.warning(f"a negative weight ({term['weight']}) drives the term up: make it positive", *at)
    return bool(stage.terms)
