"""Statistics for steps that are taken to look at a config, not to train."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .config import Config
from .distributed import Processes
from .fit import fit_jobs
from .fit_terms import AUTO, letkd_terms


def sample_statistics(
    config: Config, built: Mapping[str, Any], teacher: nn.Module | None, procs: Processes
) -> tempfile.TemporaryDirectory[str]:
    """Give every letKD term that has no file yet statistics of a few images; check the files of the others.

    Args:
        config: the config.
        built: its objects; ``statistics`` of the terms is replaced in place.
        teacher: of the config.
        procs: one process.

    Returns:
        The folder of the files, which the losses read at the beginning of an epoch; to be cleaned up after that.

    Raises:
        ValueError: when a file is missing or does not fit, or a fit fails.
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
                job.fit(cache="off")
                term.kwargs["statistics"] = str(auto)
    except BaseException:
        folder.cleanup()
        raise
    return folder
