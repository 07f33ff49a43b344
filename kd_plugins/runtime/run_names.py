"""How the folder of a run and the files in it are named."""

from __future__ import annotations

from pathlib import Path

CONFIG, INFO, METRICS, SUMMARY = "config.yaml", "run.json", "metrics.jsonl", "summary.json"
STATISTICS = "letkd_statistics.safetensors"


def default_run_folder(config_path: Path, seed: int) -> Path:
    """Return ``runs/<config>/seed<N>``: the folder of a run that no ``--run-dir`` names."""
    return Path("runs") / config_path.stem / f"seed{seed}"
