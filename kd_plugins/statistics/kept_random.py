"""Context manager that preserves the random state of a training."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def random_numbers_kept(device: torch.device) -> Iterator[None]:
    """Restore the state of all random generators after the block.

    Training then takes the same steps whether it fits statistics first or finds them. The generator of ``device`` is
    restored too, beside those of the CPU.
    """
    python, numbers = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numbers)
