"""letKD's statistics file: one safetensors file for penultimate and intermediate statistics."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from .._checks import check_choice

FORMAT = "kd_plugins.letkd_statistics"
FORMAT_VERSION = "2"
CHECKSUM = "checksum"
KINDS = ("penultimate", "intermediate")
HOW_TO_FIT = "kd-plugins fit CONFIG"


class StatisticsError(ValueError):
    """Error for statistics that cannot be computed, read or used; the message says why and what to do."""


@dataclass(frozen=True)
class PenultimateStatistics:
    """Statistics of the last feature map: centres (K, d) of a K-means over all positions."""

    centres: Tensor


@dataclass(frozen=True)
class IntermediateStatistics:
    """Statistics of an intermediate feature map, for C classes of S sub-classes; row c * S + s is sub-class s of c.

    Attributes:
        projection: linear discriminants as the weight of a 1x1 convolution, shape (d', d).
        projection_bias: its bias, shape (d',).
        subclass_centres: centres of a K-means in each class, shape (C * S, d'); zeros for an empty sub-class.
        subclass_counts: number of the class's positions nearest to each centre, shape (C * S,), int64; a sub-class of
            count 0 does not exist and is never the nearest.
        prototypes: mean position of each sub-class, shape (C * S, d'); zeros for an empty sub-class.
        score_table: row k holds the share of the positions of sub-class k to which each prototype is the nearest, shape
            (C * S, C * S); rows sum to 1, or to 0 for an empty sub-class.
    """

    projection: Tensor
    projection_bias: Tensor
    subclass_centres: Tensor
    subclass_counts: Tensor
    prototypes: Tensor
    score_table: Tensor


PARTS: dict[str, type] = {"penultimate": PenultimateStatistics, "intermediate": IntermediateStatistics}


@dataclass(frozen=True)
class Statistics:
    """Contents of a statistics file; a part that it does not have is None.

    Attributes:
        metadata: teacher, layers, data set, sizes, seed and versions, all as text.
    """

    metadata: dict[str, str]
    penultimate: PenultimateStatistics | None = None
    intermediate: IntermediateStatistics | None = None


def save_statistics(path: str | Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a statistics file atomically.

    Args:
        path: the file; its folder is created if needed.
        tensors: by name, such as ``penultimate.centres``; the names are the fields of :data:`PARTS`.
        metadata: text by name; the version of the format is added.

    Raises:
        StatisticsError: if the file cannot be written; an existing file is unchanged.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_statistics(f"{folder}/s.safetensors", {"penultimate.centres": torch.ones(2, 3)}, {"seed": "0"})
        ...     load_statistics(f"{folder}/s.safetensors").penultimate.centres.shape
        torch.Size([2, 3])
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    ready = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    # One entry of sorted text, because safetensors writes several entries in random order.
    entries = {"format_version": FORMAT_VERSION, **metadata}
    text = json.dumps({**entries, CHECKSUM: _checksum(ready, entries)}, indent=1, sort_keys=True)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(ready, temporary, metadata={FORMAT: text})
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except (OSError, SafetensorError) as error:
        raise StatisticsError(
            f"the statistics cannot be written to {path}: {_reason(error)}; no partial file is left: free disk space "
            f"or choose another path, and run `{HOW_TO_FIT}` again (finished parts are kept)"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def read_tensors(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return tensors and metadata of a file from :func:`save_statistics`; raise ``StatisticsError`` for another."""
    path = Path(path)
    if not path.is_file():
        raise StatisticsError(
            f"the statistics file {path} does not exist; fit it with `{HOW_TO_FIT}`, or set statistics: auto"
        )
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get(FORMAT)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    except (OSError, SafetensorError) as error:
        raise StatisticsError(
            f"{path} is truncated or not a statistics file ({_reason(error)}); fit it again with `{HOW_TO_FIT} --force`"
        ) from error
    if text is None:
        raise StatisticsError(f"{path} holds no letKD statistics; fit them with `{HOW_TO_FIT}`")
    damaged = f"{path} is damaged: its checksum does not fit its contents; create it again with `{HOW_TO_FIT} --force`"
    try:
        metadata = json.loads(text)
    except ValueError as error:
        raise StatisticsError(damaged) from error
    if metadata.get("format_version") != FORMAT_VERSION:
        raise StatisticsError(
            f"{path} has format version {metadata.get('format_version')}, but this version of kd_plugins reads "
            f"{FORMAT_VERSION}; fit it again with `{HOW_TO_FIT} --force`"
        )
    if metadata.pop(CHECKSUM, None) != _checksum(tensors, metadata):
        raise StatisticsError(damaged)
    return tensors, metadata


def load_statistics(path: str | Path) -> Statistics:
    """Return the contents of a statistics file, without executing anything in it.

    Raises:
        StatisticsError: if the file is missing, damaged, incomplete, or not a statistics file.
    """
    tensors, metadata = read_tensors(path)
    found = {}
    for kind, part in PARTS.items():
        own = {field.name: tensors.get(f"{kind}.{field.name}") for field in fields(part)}
        missing = [name for name, tensor in own.items() if tensor is None]
        if not missing:
            found[kind] = part(**own)
        elif any(name.startswith(f"{kind}.") for name in tensors):
            raise StatisticsError(
                f"{path} is incomplete: {kind}.{missing[0]} is missing; fit it again with `{HOW_TO_FIT} --force`"
            )
    return Statistics(metadata, **found)


def part_of(statistics: Statistics, kind: str, *, source: str | Path) -> PenultimateStatistics | IntermediateStatistics:
    """Return one part of the statistics.

    Args:
        statistics: contents of a file.
        kind: ``"penultimate"`` or ``"intermediate"``.
        source: the file, for the message.

    Raises:
        StatisticsError: if the file has no such part.
    """
    check_choice("kind", kind, KINDS)
    part = getattr(statistics, kind)
    if part is None:
        raise StatisticsError(
            f"{source} holds no {kind} statistics; fit it again from this config with `{HOW_TO_FIT} --force`"
        )
    return part


def mismatches(found: Mapping[str, str], expected: Mapping[str, str]) -> list[str]:
    """Return a line for every expected entry that differs or is missing in ``found``."""
    return [
        f"{name.replace('_', ' ')}: expected {value}, found {found.get(name, 'nothing')}"
        for name, value in expected.items()
        if found.get(name) != value
    ]


def check_statistics(metadata: Mapping[str, str], expected: Mapping[str, str], *, source: str | Path) -> None:
    """Raise :class:`StatisticsError` with all mismatches between a file and a config.

    Args:
        metadata: metadata of the file.
        expected: metadata that follow from the config's teacher, layers, data set and settings.
        source: the file, for the message.
    """
    differ = mismatches(metadata, expected)
    if differ:
        raise StatisticsError(
            f"the statistics in {source} do not belong to this config: {'; '.join(differ)}; fit them again with "
            f"`{HOW_TO_FIT} --force`, or set another file"
        )


def _checksum(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """Return a hash of tensors and metadata."""
    digest = hashlib.sha256(json.dumps(dict(metadata), sort_keys=True).encode())
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _reason(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
