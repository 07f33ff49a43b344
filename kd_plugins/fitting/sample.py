"""Mock statistics for steps that check or measure a config."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..config.config import Config
from ..runtime.distributed import Processes
from ..statistics.artefact import IntermediateStatistics, save_statistics
from ..statistics.job import Job
from .fit import fit_jobs
from .terms import AUTO, letkd_terms


def sample_statistics(
    config: Config, built: Mapping[str, Any], teacher: nn.Module | None, procs: Processes
) -> tempfile.TemporaryDirectory[str]:
    """Write mock statistics for letKD terms with ``statistics: auto``; check the files of the others.

    Features of a few images replace cluster centres. Shapes are right, so that a step runs at its real cost.
    ``statistics`` of the terms in ``built`` is replaced. Losses read the files, in the temporary folder that is
    returned, at the start of an epoch; clean it up afterwards.
    """
    folder = tempfile.TemporaryDirectory()
    try:
        with torch.random.fork_rng(devices=[]):
            for number, term in enumerate(letkd_terms(config, built)):
                auto = Path(folder.name) / f"{number}.safetensors"
                few = term.statistics == AUTO
                (job,) = fit_jobs(config, built, teacher, [term], procs, auto=auto, seed=0, verbose=False, few=few)
                if not few:
                    job.check()
                    continue
                _write_shaped(job, auto)
                term.kwargs["statistics"] = str(auto)
    except BaseException:
        folder.cleanup()
        raise
    return folder


def _write_shaped(job: Job, path: Path) -> None:
    """Write features of a few images in place of cluster centres, with the right shapes."""
    ((kind, request),) = job.requests.items()
    settings = request.settings
    rows = torch.cat([block.features.flatten(0, 1) for block in request.stream.blocks("positions")])
    if kind == "penultimate":
        tensors = {"centres": _scattered(rows, settings.num_centres)}
    else:
        count, channels = request.classes * settings.subclasses, rows.shape[1]
        components = min(settings.components or min(60, request.classes - 1), channels)
        deviation = rows.std(0).mean().clamp_min(1e-6)
        projection = torch.randn(components, channels) / (deviation * channels**0.5)
        bias = -projection @ rows.mean(0)
        centres = _scattered(torch.addmm(bias, rows, projection.T), count)
        table = torch.rand(count, count)
        table /= table.sum(1, keepdim=True)
        counts = torch.ones(count, dtype=torch.int64)
        tensors = vars(IntermediateStatistics(projection, bias, centres, counts, centres.clone(), table))
    named = {f"{kind}.{name}": tensor for name, tensor in tensors.items()}
    save_statistics(path, named, {**job.expected, "kinds": kind})


def _scattered(rows: Tensor, count: int) -> Tensor:
    """Return ``count`` distinct rows."""
    chosen = rows[torch.arange(count) % len(rows)]
    return chosen + 0.1 * rows.std(0) * torch.randn_like(chosen)
