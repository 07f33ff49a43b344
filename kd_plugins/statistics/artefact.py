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
    """Statistics cannot be computed, read or used; the message says why and what to do."""


@dataclass(frozen=True)
class PenultimateStatistics:
    """Statistics of the last feature map.

    Attributes:
        centres: centres of a K-means over all positions, shape (K, d).
    """

    centres: Tensor


@dataclass(frozen=True)
class IntermediateStatistics:
    """Statistics of a feature map in the middle; C classes of S sub-classes each, row c * S + s is sub-class s of c.

    Attributes:
        projection: linear discriminants as the weight of a 1x1 convolution, shape (d', d).
        projection_bias: its bias, shape (d',).
        subclass_centres: centres of a K-means in each class, shape (C * S, d'); zeros where a sub-class is empty.
        subclass_counts: positions nearest to each centre among those of its class, shape (C * S,), int64; a
            sub-class of count 0 does not exist and must never be the nearest.
        prototypes: mean of the positions of each sub-class, shape (C * S, d'); zeros where it is empty.
        score_table: row k is the histogram, over all prototypes, of which is nearest to the positions of
            sub-class k, shape (C * S, C * S); rows sum to 1, that of an empty sub-class to 0.
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
    """What a statistics file holds.

    Attributes:
        metadata: teacher, layers, data set, sizes, seed and versions, all as text.
        penultimate: None where the file has no such part.
        intermediate: None where the file has no such part.
    """

    metadata: dict[str, str]
    penultimate: PenultimateStatistics | None = None
    intermediate: IntermediateStatistics | None = None


def save_statistics(path: str | Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a statistics file, whole or not at all.

    Args:
        path: the file; its folder is made where needed.
        tensors: by name, ``penultimate.centres`` and so on; see :data:`PARTS`.
        metadata: text by name; the version of the format is added.

    Raises:
        StatisticsError: when the file cannot be written; what was there before is still there then.

    Example:
        >>> import tempfile
        >>> import torch
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_statistics(f"{folder}/s.safetensors", {"penultimate.centres": torch.ones(2, 3)}, {"seed": "0"})
        ...     load_statistics(f"{folder}/s.safetensors").penultimate.centres.shape
        torch.Size([2, 3])
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    ready = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    # One entry of sorted text: safetensors writes several in an order that is another one every time.
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
            "or "
            f"choose another path, and run `{HOW_TO_FIT}` again (finished parts are kept)"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def read_tensors(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors and the metadata of a file that :func:`save_statistics` wrote.

    Raises:
        StatisticsError: when it is missing, truncated, or something else.
    """
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
    damaged = f"{path} is damaged: its checksum does not fit its contents; make it anew with `{HOW_TO_FIT} --force`"
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
    """Return what a statistics file holds; nothing in it is executed.

    Raises:
        StatisticsError: when it is missing, truncated, incomplete, or something else.
    """
    tensors, metadata = read_tensors(path)
    found = {}
    for kind, part in PARTS.items():
        own = {n.removeprefix(f"{kind}."): t for n, t in tensors.items() if n.startswith(f"{kind}.")}
        if not own:
            continue
        missing = [field.name for field in fields(part) if field.name not in own]
        if missing:
            raise StatisticsError(
                f"{path} is incomplete: {kind}.{missing[0]} is missing; fit it again with `{HOW_TO_FIT} --force`"
            )
        found[kind] = part(**{field.name: own[field.name] for field in fields(part)})
    return Statistics(metadata, **found)


def part_of(statistics: Statistics, kind: str, *, source: str | Path) -> PenultimateStatistics | IntermediateStatistics:
    """Return one part of the statistics.

    Args:
        statistics: what a file holds.
        kind: ``"penultimate"`` or ``"intermediate"``.
        source: the file, for the message.

    Raises:
        StatisticsError: when the file has no such part.
    """
    check_choice("kind", kind, KINDS)
    part = getattr(statistics, kind)
    if part is None:
        raise StatisticsError(
            f"{source} holds no {kind} statistics; fit it again from this config with `{HOW_TO_FIT} --force`"
        )
    return part


def mismatches(found: Mapping[str, str], expected: Mapping[str, str]) -> list[str]:
    """Return a line for every expected entry that is another, or missing, in the metadata found.

    Example:
        >>> mismatches({"teacher": "a", "images": "9"}, {"teacher": "a", "images": "8"})
        ['images: expected 8, found 9']
    """
    return [
        f"{name.replace('_', ' ')}: expected {value}, found {found.get(name, 'nothing')}"
        for name, value in expected.items()
        if found.get(name) != value
    ]


def check_statistics(metadata: Mapping[str, str], expected: Mapping[str, str], *, source: str | Path) -> None:
    """Raise :class:`StatisticsError` naming everything in which a file does not fit a config.

    Args:
        metadata: of the file.
        expected: what the config's teacher, layers, data set and settings give.
        source: the file, for the message.
    """
    differ = mismatches(metadata, expected)
    if differ:
        raise StatisticsError(
            f"the statistics in {source} do not belong to this config: {'; '.join(differ)}; fit them again with "
            f"`{HOW_TO_FIT} --force`, or set another file"
        )


def _checksum(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """Return a hash of everything in a file."""
    digest = hashlib.sha256(json.dumps(dict(metadata), sort_keys=True).encode())
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _reason(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
