"""What a person reads at the end of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def accuracy(result: Mapping[str, float]) -> str:
    """Return an evaluation in words.

    Example:
        >>> accuracy({"top1": 96.9444, "top5": 100.0, "samples": 360})
        'top-1 96.94, top-5 100.00 (360 images)'
    """
    top5 = f", top-5 {result['top5']:.2f}" if "top5" in result else ""
    return f"top-1 {result['top1']:.2f}{top5} ({result['samples']:.0f} images)"


def training_report(summary: Mapping[str, Any]) -> str:
    """Return the summary of a training as text, the student beside its teacher."""
    lines = [f"{summary['epochs']} epochs in {summary['seconds']:.0f} s; best after epoch {summary['best_epoch']}"]
    best, last, teacher = summary["test_best"], summary["test_last"], summary["teacher"]
    if best is not None:
        lines.append(f"student, best: {accuracy(best)}")
        lines.append(f"student, last: {accuracy(last)}")
    if teacher is not None:
        state = "unchanged" if summary["teacher_unchanged"] else "CHANGED by the training"
        lines.append(f"teacher:       {accuracy(teacher)}, {state}; the student is {_gap(best, teacher)}")
    lines.append(f"weights: {summary['student_checkpoint']}")
    return "\n".join(lines)


def _gap(student: Mapping[str, float], teacher: Mapping[str, float]) -> str:
    gap = student["top1"] - teacher["top1"]
    return f"{abs(gap):.2f} points {'above' if gap >= 0 else 'below'}"
