"""Distributed training: process group, sharded samplers, DDP for the student, reductions."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DataParallel, DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler, RandomSampler, SequentialSampler

from .._checks import check_choice
from .._errors import ConfigError


@dataclass(frozen=True)
class Processes:
    """The processes of a run and the device of this one."""

    rank: int
    world_size: int
    device: torch.device

    @property
    def distributed(self) -> bool:
        """Whether there is more than one process."""
        return self.world_size > 1

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and shows progress."""
        return self.rank == 0

    @property
    def device_ids(self) -> list[int] | None:
        """The ``device_ids`` for torchdistill and DDP: the device index on CUDA, None on the CPU."""
        return [self.device.index or 0] if self.device.type == "cuda" else None

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum of ``values`` over all processes."""
        if self.distributed:
            dist.all_reduce(values)
        return values

    def gather(self, value: Any) -> list[Any]:
        """Return the values of all processes by rank; ranks other than 0 get only their own."""
        if not self.distributed:
            return [value]
        values: list[Any] | None = [None] * self.world_size if self.is_main else None
        dist.gather_object(value, values)
        return values if values is not None else [value]

    def from_main(self, value: Any) -> Any:
        """Return rank 0's ``value`` on every rank."""
        if not self.distributed:
            return value
        box = [value]
        dist.broadcast_object_list(box)
        return box[0]


def pick_device(name: str) -> torch.device:
    """Return the device for ``--device``; ``auto`` uses CUDA if available.

    Raises:
        ConfigError: if the device is not available.
    """
    check_choice("--device", name, ("auto", "cpu", "cuda"))
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise ConfigError("--device cuda: torch finds no CUDA device; use --device cpu or auto")
    index = int(os.environ.get("LOCAL_RANK", "0"))
    if index >= torch.cuda.device_count():
        raise ConfigError(
            f"--device cuda: process {index} on this machine has no GPU ({torch.cuda.device_count()} are visible); "
            "start at most one process per GPU"
        )
    return torch.device("cuda", index)


@contextmanager
def processes(device_name: str, *, timeout: timedelta = timedelta(minutes=30)) -> Iterator[Processes]:
    """Join the process group of ``torchrun`` and leave it at the end.

    The backend is nccl on CUDA and gloo on the CPU. Without ``torchrun``, there is one process and no group. An
    existing group is kept.
    """
    device = pick_device(device_name)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    started = "RANK" in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1
    opened = started and not dist.is_initialized()
    if opened:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=timeout)
    try:
        rank, world_size = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
        yield Processes(rank, world_size, device)
    finally:
        if opened:
            dist.destroy_process_group()


def shard_samplers(stage: Mapping[str, Any], seed: int) -> None:
    """Replace the samplers of a stage by sharded samplers of the same order, in place.

    torchdistill itself would always shuffle: it replaces every sampler by ``DistributedSampler`` with the sampler's
    keywords. A loader that is already sharded, because of a YAML alias, is kept.

    Raises:
        ConfigError: for a sampler that cannot be sharded.
    """
    for name in ("train_data_loader", "val_data_loader"):
        sampler = (stage.get(name) or {}).get("sampler")
        if not sampler:
            continue
        kind = sampler["class_or_func"]
        if kind not in (RandomSampler, SequentialSampler, DistributedSampler):
            raise ConfigError(
                f"{name}.sampler {getattr(kind, '__name__', kind)} cannot be split over several processes; use "
                "RandomSampler or SequentialSampler, or run one process"
            )
        if stage[name].get("batch_sampler"):
            continue
        if kind is not DistributedSampler:
            if sampler.get("kwargs"):
                raise ConfigError(
                    f"{name}.sampler.kwargs {sampler['kwargs']!r} are not supported in several processes; remove them"
                )
            keywords = {"shuffle": kind is RandomSampler, "seed": seed}
            stage[name]["sampler"] = {"class_or_func": DistributedSampler, "kwargs": keywords}


def wrap_student(model: nn.Module, processes: Processes, side: Mapping[str, Any]) -> nn.Module:
    """Return the student inside DDP; unchanged in one process, or if torchdistill already wrapped it or a part."""
    if not _takes_ddp(model, processes):
        return model
    return DistributedDataParallel(model, **{**_ddp_keywords(side), "device_ids": processes.device_ids})


def needs_every_gradient(model: nn.Module, processes: Processes, side: Mapping[str, Any]) -> bool:
    """Tell whether DDP expects a gradient for every parameter (``find_unused_parameters`` is not set)."""
    return _takes_ddp(model, processes) and "find_unused_parameters" not in _ddp_keywords(side)


def _takes_ddp(model: nn.Module, processes: Processes) -> bool:
    wrapped = any(isinstance(m, (DistributedDataParallel, DataParallel)) for m in model.modules())
    return processes.distributed and not wrapped and any(p.requires_grad for p in model.parameters())


def _ddp_keywords(side: Mapping[str, Any]) -> dict[str, Any]:
    wrapper = side.get("wrapper")
    return dict(wrapper.get("kwargs") or {}) if isinstance(wrapper, Mapping) else {}


def unwrapped(model: nn.Module) -> nn.Module:
    """Return the module inside DDP or DataParallel."""
    return model.module if isinstance(model, (DistributedDataParallel, DataParallel)) else model


def own_samples(loader: DataLoader) -> int | None:
    """Return the number of a rank's samples without padding; None if there is no padding.

    ``DistributedSampler`` repeats samples from the start until all ranks have the same number; counting these twice
    would bias the accuracy. Rank ``r`` has positions ``r, r + W, r + 2W, ...`` of the padded order.
    """
    sampler = loader.sampler
    if not isinstance(sampler, DistributedSampler) or sampler.drop_last:
        return None
    total, ranks = len(sampler.dataset), sampler.num_replicas  # type: ignore[arg-type]
    return (total - sampler.rank + ranks - 1) // ranks
