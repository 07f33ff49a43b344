"""Mistakes in the optimizer and the learning rate schedule."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn
from torchdistill.optim import registry as optim

from ..._errors import explain
from ...config.validate import stages
from ..findings import ERROR, Findings
from ..stage import Section, Stage, kwargs_of

SOON = 0.2
"""A last milestone before this fraction of the training is reported."""

VANISHED = 1e-8


def check_optimizer(findings: Findings, stage: Stage) -> bool:
    """Check an optimizer; return whether it and its scheduler can be built."""
    section, at = stage.section.get("optimizer") or {}, (*stage.path, "optimizer")
    if not section:
        if not stage.number:
            findings.error("the optimizer is missing: add one", *stage.path)
        return bool(stage.number)
    if _is_wrong(findings, at) or _is_wrong(findings, (*stage.path, "scheduler")):
        return False
    kwargs = kwargs_of(section)
    if "lr" in kwargs and kwargs["lr"] is None:
        findings.error("lr is empty: set a number", *at, "kwargs", "lr")
        return False
    if kwargs.get("lr") == 0:
        findings.error("the learning rate is 0, so nothing is trained: raise lr", *at, "kwargs", "lr")
    clip, every = section.get("max_grad_norm"), section.get("grad_accum_step")
    if clip is not None and not clip > 0:
        findings.error(f"max_grad_norm must be above 0, found {clip}: raise or remove it", *at, "max_grad_norm")
    if every is not None and (not isinstance(every, int) or every < 1):
        findings.error(f"grad_accum_step must be a whole number above 0, found {every!r}", *at, "grad_accum_step")
        return False
    # Build the optimizer on a dummy parameter: values out of range are found here, where the YAML path is known.
    part = "optimizer"
    try:
        optimizer = optim.OPTIM_DICT[section["key"]](_groups(section), **kwargs)
        part = "scheduler"
        scheduler = stage.section.get("scheduler") or {}
        if scheduler:
            optim.SCHEDULER_DICT[scheduler["key"]](optimizer, **kwargs_of(scheduler))
    except (ValueError, TypeError) as error:
        findings.error(f"{stage.section[part]['key']}: {explain(error)}", *stage.path, part, "kwargs")
        return False
    return True


def _used_up(findings: Findings, stage: Stage) -> None:
    """Add a later stage that continues a schedule with no steps left."""
    if not stage.number or stage.section.get("optimizer"):
        return
    before = list(stages(stage.built["train"]).values())[: stage.number]
    last: Section = next((section for section in reversed(before) if section.get("optimizer")), {})
    if (last.get("scheduler") or {}).get("key") == "OneCycleLR":
        message = "the OneCycleLR of an earlier stage has no steps left: give this stage an optimizer and a scheduler"
        findings.error(message, *stage.path)


def check_schedule(findings: Findings, stage: Stage) -> None:
    """Check that schedule and training have the same length, and the values of the schedule."""
    section = stage.section.get("scheduler") or {}
    _used_up(findings, stage)
    if not section or not stage.section.get("optimizer") or not isinstance(stage.section.get("num_epochs"), int):
        return
    if _is_wrong(findings, (*stage.path, "scheduler")):
        return
    kwargs, at = kwargs_of(section), (*stage.path, "scheduler", "kwargs")
    every = section.get("scheduling_step") or 0
    steps, unit = (_updates(stage, every), "steps") if every else (stage.section["num_epochs"], "epochs")
    milestones = kwargs.get("milestones") or ()
    whole = isinstance(milestones, (list, tuple)) and all(isinstance(m, int) for m in milestones)
    late = [m for m in milestones if m >= steps] if whole else []
    if not whole:
        findings.error(f"milestones must be a list of whole numbers, found {milestones!r}", *at, "milestones")
    _decay(findings, stage, steps, unit, at)
    if whole and milestones and not late and max(milestones) < SOON * steps:
        findings.warning(
            f"the last milestone, {max(milestones)}, comes early in a training of {steps} {unit}: are milestones and "
            "training in the same unit?",
            *at, "milestones",
        )  # fmt: skip
    gamma = kwargs.get("gamma")
    if isinstance(gamma, (int, float)) and gamma > 1 and section.get("key") != "CyclicLR":
        findings.warning(f"gamma {gamma} raises the learning rate: write 0.1 to divide it by ten", *at, "gamma")
    if late:
        message = f"milestones {late} are not reached in a training of {steps} {unit}: lower them"
        findings.warning(message, *at, "milestones")
    if "T_max" in kwargs and kwargs["T_max"] != steps:
        findings.warning(
            f"T_max is {kwargs['T_max']}, but the training has {steps} {unit}, so the learning rate does not end at "
            f"its minimum: set T_max to {steps}",
            *at, "T_max",
        )  # fmt: skip
    if section.get("key") == "OneCycleLR":
        rate, peak = kwargs_of(stage.section["optimizer"]).get("lr"), kwargs.get("max_lr")
        if isinstance(rate, (int, float)) and isinstance(peak, (int, float)) and rate > peak:
            message = f"OneCycleLR ignores lr ({rate:g}) and peaks at max_lr ({peak:g}): is max_lr right?"
            findings.warning(message, *at, "max_lr")
        total = kwargs.get("total_steps") or (kwargs.get("epochs") or 0) * (kwargs.get("steps_per_epoch") or 0)
        if total < steps:
            findings.error(f"OneCycleLR ends after {total} steps, but the training has {steps} {unit}", *at)
        elif total > steps and not every:
            message = (
                f"OneCycleLR has {total} steps, but is stepped once an epoch, {steps} times: add scheduling_step: 1"
            )
            findings.error(message, *stage.path, "scheduler")
        elif total > steps:
            rest = "the learning rate does not end at its minimum"
            findings.warning(f"OneCycleLR has {total} steps, but the training has {steps}: {rest}", *at)


def _decay(findings: Findings, stage: Stage, steps: int, unit: str, at: tuple[str, ...]) -> None:
    """Check how a schedule's own values change the learning rate."""
    section = stage.section["scheduler"]
    kwargs, rate = kwargs_of(section), kwargs_of(stage.section["optimizer"]).get("lr")
    key, gamma = section.get("key"), kwargs.get("gamma")
    if isinstance(gamma, (int, float)):
        if gamma <= 0:
            findings.error(f"gamma must be above 0, found {gamma:g}", *at, "gamma")
        elif gamma == 1:
            findings.warning("gamma is 1: the learning rate never changes", *at, "gamma")
        elif key == "ExponentialLR" and gamma**steps < VANISHED:
            message = (
                f"the learning rate falls to {gamma**steps:.0e} of its initial value in {steps} {unit}: raise gamma"
            )
            findings.warning(message, *at, "gamma")
    if key == "ReduceLROnPlateau" and kwargs.get("mode", "min") != "max":
        findings.error("the schedule monitors validation accuracy, which should rise: add mode: max", *at)
    for name in ("step_size", "T_0"):
        value = kwargs.get(name)
        if isinstance(value, int) and value >= steps:
            findings.warning(f"{name} is {value}, but the training has only {steps} {unit}: lower it", *at, name)
    lowest = kwargs.get("eta_min")
    if isinstance(lowest, (int, float)) and isinstance(rate, (int, float)) and lowest >= rate:
        findings.warning(f"eta_min {lowest:g} is not below the learning rate {rate:g}: lower it", *at, "eta_min")


def _is_wrong(findings: Findings, at: tuple[str, ...]) -> bool:
    """Tell whether an error was already found in a section."""
    return any(found.level == ERROR and f"{found.place}.".startswith(".".join((*at, ""))) for found in findings)


def _groups(section: Section) -> list[dict[str, Any]]:
    """Return the parameter groups that torchdistill makes, with one dummy parameter each."""
    own = section.get("module_wise_configs") or section.get("module_wise_kwargs") or [{}]
    return [{**kwargs_of(group), "params": [nn.Parameter(torch.zeros(1))]} for group in own]


def _updates(stage: Stage, every: int) -> int:
    """Return how many scheduler steps a stage has with ``scheduling_step: every``."""
    together = math.lcm((stage.section["optimizer"].get("grad_accum_step") or 1), every)
    return stage.section["num_epochs"] * (stage.batches or 1) // together
