"""The weights that a sweep finds for a method."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from ..config.config import read_config
from ..config.leaves import entries
from ..runtime.checkpoint import write_text
from ..sweep import run_sweep
from ..sweep.space import Axis
from ..sweep.study import RANDOM
from .folder import CONFIGS

SEED = 100
"""Of the sweep's runs: none of the seeds that are tested."""
BELOW, ABOVE = 30.0, 3.0
"""A weight is drawn between the paper's divided by BELOW and the paper's times ABOVE, on a logarithmic scale."""
TERMS = "train.criterion.kwargs.sub_terms"


def swept_config(folder: Path, name: str, *, trials: int, device: str) -> str:
    """Sweep the weights of a config's terms, write the config with the best ones, and return its name."""
    config = folder / CONFIGS / f"{name}.yaml"
    found = run_sweep(
        config,
        [
            Axis(f"{TERMS}.{term}.weight", (), weight / BELOW, weight * ABOVE, True)
            for term, weight in _weights(config).items()
        ],
        seeds=(SEED,), sampler=RANDOM, trials=trials, run_dir=folder / f"{name}_sweep", device=device,
    )  # fmt: skip
    text = config.read_text(encoding="utf-8")
    for key, value in found["pick"]["values"].items():
        text = _with_weight(text, key.split(".")[-2], value)
    write_text(folder / CONFIGS / f"{name}_swept.yaml", text)
    return f"{name}_swept"


def _weights(config: Path) -> Mapping[str, float]:
    """Return the weights of all terms but the cross-entropy."""
    root = entries(read_config(config).root)
    for key in TERMS.split("."):
        root = entries(root[key])
    return {name: float(entries(term)["weight"].value) for name, term in root.items() if name != "ce"}


def _with_weight(text: str, term: str, weight: str) -> str:
    r"""Return a config's text with another weight of a term.

    Example:
        >>> _with_weight("        kd:\n          criterion: {}\n          weight: 0.9 # alpha\n", "kd", "0.3")
        '        kd:\n          criterion: {}\n          weight: 0.3\n'
    """
    return re.sub(rf"(?m)(^ {{8}}{term}:\n(?: {{10}}.*\n)*? {{10}}weight: ).*$", rf"\g<1>{weight}", text)
