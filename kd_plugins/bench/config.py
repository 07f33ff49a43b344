"""Where a training step of a config spends time or memory, as text and as JSON."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from .._checks import check_at_least, suggestion
from .._errors import ConfigError, explain
from ..config.build import logger as builder
from ..config.build import quiet_torchdistill
from ..config.config import Config, read_config
from ..config.fake_data import with_fake_data
from ..runtime.checkpoint import write_atomically
from ..runtime.distributed import pick_device
from .steps.memory import MemoryRow, format_memory, measure_memory
from .steps.time import StepTime, format_time, measure_time, ratios
from .steps.training_step import TrainingStep

ROUNDS = 20


@dataclass(frozen=True)
class ConfigBench:
    """What was measured.

    Attributes:
        configs: their paths: the one asked for, and those that it is compared with.
        device: where.
        amp: mixed precision.
        images: number of images in a batch of each config.
        fake_data: whether noise stood in for data and weights.
        rounds: steps of each config that the medians are over; None where memory was measured.
        times: of each config; empty where memory was measured.
        memory: a row for each config, for floors and for the reference; empty where time was measured.
        ratios: time of the first config in units of each other one's: of the ``step`` on a batch that is there, and
            of the ``total``, with the wait for the batch.
    """

    configs: tuple[str, ...]
    device: str
    amp: str
    images: tuple[int, ...]
    fake_data: bool
    rounds: int | None = None
    times: tuple[StepTime, ...] = ()
    memory: tuple[MemoryRow, ...] = ()
    ratios: tuple[dict[str, float], ...] = ()

    def text(self) -> str:
        """Return what was measured as tables."""
        noise = ", fake data" if self.fake_data else ""
        blocks = []
        for number, (path, images) in enumerate(zip(self.configs, self.images, strict=True)):
            title = f"{path}: a step on {self.device}, batch {images}, amp {self.amp}{noise}"
            blocks.append("\n".join([title, *map(format_time, self.times[number : number + 1])]))
        if self.memory:
            blocks = ["\n".join(blocks), format_memory(self.memory)]
        if self.ratios:
            blocks += [
                f"{self.configs[0]} over {other}: step x {ratio['step']:.3f}, total x {ratio['total']:.3f}"
                for other, ratio in zip(self.configs[1:], self.ratios, strict=True)
            ]
        return "\n\n".join(blocks)

    def json(self) -> str:
        """Return what was measured, with full precision."""
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
    """Measure the training step of a config; of one with several stages the first one's.

    Args:
        path: the config file.
        against: others, whose steps are taken in turns with the first one's.
        memory: measure the most memory that a step takes, not its time.
        fake_data: train on noise and from random weights: nothing is read from disk or downloaded.
        rounds: steps that the medians of the times are over, 20 by default.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        amp: ``"no"``, ``"bf16"`` or ``"fp16"``.
        overrides: ``KEY.PATH=VALUE`` strings that replace parts of all configs.

    Raises:
        ValueError: on any mistake in a config or in what is asked.
    """
    if memory and rounds is not None:
        raise ValueError("--rounds goes with times; --memory takes one step: leave one of them out")
    if rounds is not None:
        check_at_least("--rounds", rounds, 1)
    configs = [_read(p, overrides, fake_data=fake_data) for p in (path, *against)]
    place = pick_device(device)
    common: dict[str, Any] = {
        "configs": tuple(str(c.path) for c in configs), "device": _name(place), "amp": amp, "fake_data": fake_data,
    }  # fmt: skip
    with quiet_torchdistill(), _without_warning(fake_data):
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


def check_json_path(path: str | Path) -> Path:
    """Return the path of a JSON file that can be written.

    Raises:
        ConfigError: when its folder is missing, or it is a folder itself.
    """
    path = Path(path)
    if path.is_dir() or not path.parent.is_dir():
        raise ConfigError(f"--json wants a file in a folder that exists, found {path}")
    return path


def write_json(bench: ConfigBench, path: Path) -> None:
    """Write what was measured; a reader never sees half a file.

    Raises:
        ConfigError: when the file cannot be written.
    """
    try:
        write_atomically(path, lambda temporary: temporary.write_text(bench.json(), encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"--json {path} cannot be written: {explain(error)}") from error


def check_is_config(what: str, others: Iterable[str]) -> None:
    """Raise ``ValueError`` when a word is neither the path of a config nor looks like one.

    Args:
        what: the word.
        others: what else it might have been.
    """
    path = Path(what)
    if path.is_file() or path.suffix in (".yaml", ".yml") or path.name != what:
        return
    here = [str(p) for p in Path().glob("*.y*ml")]
    raise ValueError(
        f"bench measures losses, models, trainer or a config file, and {what!r} is none of them; "
        f"{suggestion(what, [*others, *here])}"
    )


def _read(path: str | Path, overrides: Sequence[str], *, fake_data: bool) -> Config:
    config = read_config(path, overrides)
    return with_fake_data(config) if fake_data else config


@contextmanager
def _without_warning(wanted: bool) -> Iterator[None]:
    """Say nothing of the teacher's random weights where they are wanted."""
    level = builder.level
    builder.setLevel(logging.ERROR if wanted else level)
    try:
        yield
    finally:
        builder.setLevel(level)


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
