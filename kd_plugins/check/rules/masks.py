"""Suspicious values of ``keep``, which is a count as an integer and a fraction as a float."""

from __future__ import annotations

from collections.abc import Iterator

from ...bench.memory import tensors_in
from ..findings import Findings
from ..stage import Section, Stage, kwargs_of
from ..steps.observed import IODicts
from .values import LOSSES, numbers

Path = tuple[object, ...]


def check_keep(findings: Findings, stage: Stage) -> None:
    """Add counts of 1 and counts that cover all classes."""
    for term, value, at in _counts(stage):
        if value == 1:
            findings.warning("keep: 1 keeps a single entry; write 1.0 to keep all of them", *at)
        elif stage.classes is not None and _on_logits(term):
            _too_many(findings, value, stage.classes, "classes", at)


def check_keep_of_features(findings: Findings, io: IODicts, stage: Stage) -> None:
    """Add counts that cover every entry of the largest feature that a term reads."""
    for term, value, at in _counts(stage):
        seen = (io.get(side, {}).get(path, {}).get(kind) for side, path, kind in _read_paths(term))
        sizes = [tensor[0].numel() for tensor in tensors_in(list(seen)) if tensor.ndim > 1]
        if sizes:
            _too_many(findings, value, max(sizes), "entries", at)


def _on_logits(term: Section) -> bool:
    """Tell whether a term is a logit loss on the models' outputs."""
    loss, kwargs = LOSSES.get(term["criterion"]["key"]), kwargs_of(term["criterion"])
    reads = None if loss is None else loss.reads
    return reads is not None and reads.wants == "logits" and not any("module_path" in name for name in kwargs)


def _counts(stage: Stage) -> Iterator[tuple[Section, int, Path]]:
    """Yield term, value and place of every integer ``keep``."""
    for name, term in stage.terms.items():
        for keys, value in numbers(term):
            if keys[-1] == "keep" and isinstance(value, int):
                yield term, value, (*stage.terms_path, name, *keys)


def _read_paths(term: Section) -> list[tuple[str, str, str]]:
    """Return side, module path and io of the features that a term names."""
    kwargs = kwargs_of(term["criterion"])
    paths = ((side, kwargs.get(f"{side}_module_path")) for side in ("student", "teacher"))
    return [
        (side, path, str(kwargs.get(f"{side}_module_io", "output")))
        for side, path in paths
        if isinstance(path, str) and path != "."
    ]


def _too_many(findings: Findings, value: int, most: int, of: str, at: Path) -> None:
    if value >= most:
        advice = "lower the count, or write a fraction such as 0.5"
        findings.error(f"keep: {value} keeps all {most} {of}, so nothing is masked: {advice}", *at)
