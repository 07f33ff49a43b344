"""Rules about the files that a config reads and writes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..findings import Findings

CHECKPOINT_KEYS = ("src_ckpt", "checkpoint")


def check_written_files(findings: Findings, built: Mapping[str, Any]) -> None:
    """Add output files that the config also reads, or that are folders."""
    files = _files(built, ("ckpt", "checkpoint", "statistics"))
    read = {_resolved(path): place for place, path in files if "dst" not in place[-1]}
    for place, path in _files(built, ("dst_ckpt",)):
        if _resolved(path).is_dir():
            findings.error(f"dst_ckpt {path} is a folder: add a file name", *place)
        if _resolved(path) in read:
            other = ".".join(read[_resolved(path)])
            findings.error(f"dst_ckpt would overwrite {path}, which {other} reads: choose another file", *place)


def _files(section: Any, ends: tuple[str, ...], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield place and path of every file whose key ends in one of ``ends``."""
    if isinstance(section, Mapping):
        for key, value in section.items():
            if isinstance(value, str) and str(key).endswith(ends):
                yield (*path, str(key)), value
            elif key != "datasets":
                yield from _files(value, ends, (*path, str(key)))
    elif isinstance(section, (list, tuple)):
        for index, value in enumerate(section):
            yield from _files(value, ends, (*path, str(index)))


def _resolved(path: str) -> Path:
    return Path(path).expanduser().resolve()


def check_checkpoints(findings: Findings, built: Mapping[str, Any]) -> bool:
    """Add missing checkpoint files; return whether all exist."""
    missing = [
        (place, path)
        for place, path in _files(built["models"], CHECKPOINT_KEYS, ("models",))
        if place[-1] in CHECKPOINT_KEYS
        and not path.startswith(("http://", "https://"))
        and not Path(path).expanduser().is_file()
    ]
    for place, path in missing:
        findings.error(f"{path} does not exist: put the weights there, or correct the path", *place)
    return not missing
