"""Time or memory of a config's training step, as text and as JSON."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from ..config.build import limited, quiet_torchdistill
from ..config.build import logger as builder
from ..config.config import read_config
from ..config.fake_data import with_fake_data
from ..runtime.distributed import pick_device
from .steps.memory import MemoryRow, format_memory, measure_memory
from .steps.time import StepTime, format_time, measure_time, ratios
from .steps.training_step import TrainingStep

ROUNDS = 20


@dataclass(frozen=True)
class ConfigBench:
    """Result of :func:`bench_config`."""

    configs: tuple[str, ...]  # paths of the measured config and of those that it is compared with
    device: str  # its name
    amp: str
    images: tuple[int, ...]  # batch size of each config
    fake_data: bool  # whether random images and weights were used
    rounds: int | None = None  # number of steps behind each median; None if memory was measured
    times: tuple[StepTime, ...] = ()  # one per config; empty if memory was measured
    memory: tuple[MemoryRow, ...] = ()  # a row per config, floor and reference; empty if time was measured
    ratios: tuple[dict[str, float], ...] = ()  # time of the first config over that of each other, see `ratios`

    def text(self) -> str:
        """Return the result as tables."""
        noise = ", fake data" if self.fake_data else ""
        blocks = [
            f"{path}: a step on {self.device}, batch {images}, amp {self.amp}{noise}"
            for path, images in zip(self.configs, self.images, strict=True)
        ]
        if self.memory:
            return "\n".join([*blocks, "", format_memory(self.memory)])
        blocks = [f"{title}\n{format_time(time)}" for title, time in zip(blocks, self.times, strict=True)]
        blocks += [
            f"{self.configs[0]} over {other}: step x {ratio['step']:.3f}, total x {ratio['total']:.3f}"
            for other, ratio in zip(self.configs[1:], self.ratios, strict=False)
        ]
        return "\n\n".join(blocks)

    def json(self) -> str:
        """Return the result as JSON with full precision."""
        times = [{**asdict(time), "images_per_second": time.images_per_second} for time in self.times]
        return json.dumps({**asdict(self), "times": times}, indent=2) + "\n"


def bench_config(
    path: str | Path,
    *,
    against: Sequence[str | Path] = (),
    memory: bool = False,
    fake_data: bool = False,
    rounds: int | None = None,
    device: str = "cpu",
    amp: str = "no",
    overrides: Sequence[str] = (),
) -> ConfigBench:
    """Measure the training step of a config; of its first stage if it has several.

    Args:
        path: the config file.
        against: other config files, whose steps alternate with the first one's.
        memory: measure the peak memory of a step instead of its time.
        fake_data: use random images and weights: nothing is read from disk or downloaded.
        rounds: number of steps behind each median, 20 by default.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        amp: ``"no"``, ``"bf16"`` or ``"fp16"``.
        overrides: ``KEY.PATH=VALUE`` strings that replace parts of all configs.

    Raises:
        ValueError: on any mistake in a config or in the arguments.
    """
    if memory and rounds is not None:
        raise ValueError("--rounds goes with times; --memory takes one step: leave one of them out")
    configs = [read_config(p, overrides) for p in (path, *against)]
    if fake_data:
        configs = [with_fake_data(config) for config in configs]
    place = pick_device(device)
    common: dict[str, Any] = {
        "configs": tuple(str(config.path) for config in configs),
        "device": torch.cuda.get_device_name(place) if place.type == "cuda" else "cpu",
        "amp": amp,
        "fake_data": fake_data,
    }
    # A teacher with random weights is wanted then.
    with quiet_torchdistill(), limited(builder, logging.ERROR if fake_data else builder.level):
        if memory:
            rows, images = measure_memory(configs, device=place, amp=amp)
            return ConfigBench(**common, images=tuple(images), memory=tuple(rows))
        rounds = ROUNDS if rounds is None else rounds
        with ExitStack() as open_steps:
            steps = [open_steps.enter_context(TrainingStep(config, place, amp)) for config in configs]
            times = measure_time(steps, rounds=rounds)
            compared = tuple(ratios(steps[0], other, rounds=rounds) for other in steps[1:])
    images = [time.images for time in times]
    return ConfigBench(**common, images=tuple(images), rounds=rounds, times=tuple(times), ratios=compared)
