"""Make a folder of synthetic images from a config's teacher."""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from .._checks import check_whole
from .._errors import ConfigError
from ..config.build import quiet_torchdistill
from ..config.config import read_config
from ..models.fingerprint import fingerprint
from ..runtime.distributed import processes
from ..statistics.versions import versions
from .optimise import Batch, Pixels, optimise
from .options import Options
from .preview import save_preview
from .shards import claimed, open_folder, save_shard, shard_path, shard_seed, write_info
from .teacher import SynthesisTeacher, build_student, build_teacher

PREVIEW = "preview.png"
LOW_AGREEMENT = 0.9
TRIED = 2
"""Iterations that are timed for the estimate."""


@dataclass(frozen=True)
class Synthesis:
    """The result of a call."""

    folder: Path  # of the shards
    made: tuple[int, ...]  # numbers of the shards that this call made
    existing: tuple[int, ...]  # numbers of those that were there
    elsewhere: tuple[int, ...]  # numbers of those that another process makes

    def text(self) -> str:
        """Return a line about the folder."""
        others = ((self.existing, "already there"), (self.elsewhere, "made by another process"))
        parts = [f"{_shards(len(self.made))} made", *(f"{len(numbers)} {what}" for numbers, what in others if numbers)]
        preview = self.folder / PREVIEW
        end = f"; {preview} shows the first images" if preview.exists() else ""  # they are those of shard 0
        return f"{self.folder}: {', '.join(parts)}{end}"


def synthesize(
    config_path: str | Path,
    *,
    out: str | Path = "synthetic",
    images: int = 50_000,
    batch: int = 256,
    options: Options | None = None,
    seed: int = 0,
    size: int | None = None,
    shards: tuple[int, int] | None = None,
    student: str | Path | None = None,
    device: str = "auto",
    overrides: Sequence[str] = (),
    note: Callable[[str], None] = lambda _text: None,
) -> Synthesis:
    """Make images that a teacher recognises, in shards of one batch each.

    A shard that exists is kept, so that a repeated call continues an interrupted one. Several processes may fill one
    folder. A shard depends on the seed and its number only: the same machine and number of threads give the same bits.

    Args:
        config_path: a YAML file with a teacher; its model, normalisation and size of images are used.
        out: folder of the shards, ``synthesis.json`` and ``preview.png``.
        images: number of images; the labels of a shard are 0, 1, ... and begin again after the last class.
        batch: images of a shard; the last one may have fewer.
        options: of the optimisation.
        seed: of all shards.
        size: height and width of the images; the config's images are then not read.
        shards: first shard and the one after the last, to make a part of the folder.
        student: checkpoint of the config's student, for the option ``competition``.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        overrides: ``KEY.PATH=VALUE`` strings that replace parts of the config.
        note: called with each line of the report.

    Returns:
        Which shards were made.

    Raises:
        ValueError: for any mistake in the config or an option, and if the folder has images of another teacher or other
            options.
    """
    options = options or Options()
    for argument, value in (("--images", images), ("--batch", batch)):
        check_whole(argument, value, 1)
    if size is not None:
        check_whole("--size", size, 1)
    if options.competition and student is None:
        raise ConfigError("competition needs a fixed student: add --student FILE, its checkpoint")
    if student is not None and not options.competition:
        raise ConfigError("--student has no effect without --option competition=10: add it, or leave --student out")
    sizes = [min(batch, images - first) for first in range(0, images, batch)]
    first, end = shards if shards is not None else (0, len(sizes))
    if not 0 <= first < end <= len(sizes):
        raise ConfigError(
            f"--shards must be A:B within 0:{len(sizes)} ({images} images in shards of {batch}), found {first}:{end}"
        )
    config = read_config(config_path, overrides)
    with processes(device) as procs, quiet_torchdistill():
        if procs.distributed:
            raise ConfigError("synthesize runs in one process: start several with different --shards, without torchrun")
        teacher = build_teacher(config, procs, size=size)
        options = options.filled(height=teacher.size[0], flip=teacher.flips)
        maker = _Maker(teacher, options, seed, procs.device)
        maker.look()
        folder = Path(out).expanduser()
        info = _info(teacher, maker, seed=seed, images=images, batch=batch)
        if student is not None:
            maker.student = build_student(config, Path(student), teacher, procs)
            info["student"] = hashlib.sha256(Path(student).read_bytes()).hexdigest()
        existing = [number for number in open_folder(folder, info, sizes) if first <= number < end]
        wanted = [number for number in range(first, end) if number not in existing]
        made, elsewhere = [], []
        if wanted:
            note(maker.estimate([sizes[number] for number in wanted]))
        with tqdm(total=len(wanted) * options.steps, desc="synthesize", unit="step", disable=None) as bar:
            for number in wanted:
                path = shard_path(folder, number)
                with claimed(path) as mine:
                    if mine and not path.exists():
                        save_shard(path, found := maker.make(number, sizes[number], bar.update), info)
                        write_info(folder, info)
                        note(_line(number, found, options))
                        made.append(number)
                    else:
                        elsewhere.append(number)
        if shard_path(folder, 0).exists():
            save_preview(shard_path(folder, 0), folder / PREVIEW)
        return Synthesis(folder, tuple(made), tuple(existing), tuple(elsewhere))


class _Maker:
    """Makes shards of one teacher with one set of options."""

    def __init__(self, teacher: SynthesisTeacher, options: Options, seed: int, device: torch.device) -> None:
        self.teacher, self.options, self.seed = teacher, options, seed
        self.pixels = Pixels(teacher.mean, teacher.std, grey=options.grey, device=device)
        self.student: Callable[[Tensor], Tensor] | None = None
        self.classes = 0

    def look(self) -> None:
        """Find the number of classes, and what is wrong with the teacher, with one image and no step."""
        alone = dataclasses.replace(self.options, steps=0, competition=0.0)
        label = torch.zeros(1, dtype=torch.long)
        found = optimise(self.teacher.model, label, self.teacher.size, self.pixels, alone, seed=0)
        self.classes = found.logits.shape[1]

    def make(self, number: int, count: int, step_done: Callable[[], object], steps: int | None = None) -> Batch:
        """Return a shard's batch."""
        options = self.options if steps is None else dataclasses.replace(self.options, steps=steps)
        labels = torch.arange(count) % self.classes
        return optimise(
            self.teacher.model, labels, self.teacher.size, self.pixels, options, seed=shard_seed(self.seed, number),
            student=self.student, step_done=step_done,
        )  # fmt: skip

    def estimate(self, sizes: Sequence[int]) -> str:
        """Return a line with the expected time, measured over a few steps of a whole batch."""
        height, width = self.teacher.size
        shards = _shards(len(sizes))
        work = f"{sum(sizes)} images of {height}x{width} in {shards}, {self.options.steps} steps each"
        if not self.options.steps:
            return work
        laps = []

        def step_done() -> None:
            if self.pixels.mean.is_cuda:
                torch.cuda.synchronize()
            laps.append(time.perf_counter())

        self.make(0, sizes[0], step_done, TRIED)
        return f"{work}: about {_duration((laps[-1] - laps[-2]) * self.options.steps * len(sizes))}"


def _info(teacher: SynthesisTeacher, maker: _Maker, *, seed: int, images: int, batch: int) -> dict[str, Any]:
    names = teacher.classes if len(teacher.classes) == maker.classes else tuple(map(str, range(maker.classes)))
    return {
        "teacher": {"architecture": teacher.title, "fingerprint": fingerprint(teacher.model)},
        "classes": list(names),
        "real": {"dataset": teacher.data} if teacher.data else {},
        "mean": list(teacher.mean),
        "std": list(teacher.std),
        "size": list(teacher.size),
        "images": images,
        "batch": batch,
        "seed": seed,
        "options": dataclasses.asdict(maker.options),
        "versions": versions(),
    }


def _line(number: int, batch: Batch, options: Options) -> str:
    terms = ", ".join(f"{name} {value:.3g}" for name, value in batch.terms.items())
    warning = ""
    if batch.agreement < LOW_AGREEMENT and options.steps:  # noise shows no label
        warning = f"; warning: agreement below {LOW_AGREEMENT:g}: try more steps or a larger ce"
    return f"shard {number}: {len(batch.images)} images, agreement {batch.agreement:.2f}, {terms}{warning}"


def _shards(count: int) -> str:
    return f"{count} shard{'' if count == 1 else 's'}"


def _duration(seconds: float) -> str:
    """Return a time for people.

    Example:
        >>> _duration(42), _duration(4000)
        ('1 min', '1 h 7 min')
    """
    minutes = max(1, round(seconds / 60))
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"
