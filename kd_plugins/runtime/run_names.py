"""Names of run folders and of the files in them."""

from __future__ import annotations

from pathlib import Path

CONFIG, INFO, METRICS, SUMMARY = "config.yaml", "run.json", "metrics.jsonl", "summary.json"
STATISTICS = "letkd_statistics.safetensors"
EPOCH_WEIGHTS = "epoch-{}.pt"
EVENTS = "events.out.tfevents.*"
"""Files of TensorBoard."""


def default_run_folder(config_path: Path, seed: int) -> Path:
    """Return ``runs/<config>/seed<N>``, the default of ``--run-dir``."""
    return Path("runs") / config_path.stem / f"seed{seed}"
