"""Text output of a training: scores, epoch lines and the final report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..runtime.metrics import main_score, score_texts


def accuracy(result: Mapping[str, float]) -> str:
    """Return an evaluation as text.

    Example:
        >>> accuracy({"top1": 96.9444, "top5": 100.0, "samples": 360})
        'top-1 96.94, top-5 100.00 (360 images)'
        >>> accuracy({"top1": 75.0, "nll": 0.84567, "ece": 4.321, "samples": 4})
        'top-1 75.00, NLL 0.846, ECE 4.32 (4 images)'
    """
    calibration = f", NLL {result['nll']:.3f}, ECE {result['ece']:.2f}" if "nll" in result else ""
    nothing = ", no detections" if result.get("detections") == 0 else ""
    return f"{score_texts(result)}{calibration}{nothing} ({result['samples']:.0f} images)"


def epoch_line(line: Mapping[str, Any], epochs: int) -> str:
    """Return an epoch's metrics on one line.

    Example:
        >>> line = {"epoch": 2, "loss": 1.25, "terms": {"ce": 2.0, "kd": 0.5}, "val": {"top1": 50.0}, "seconds": 3.21}
        >>> epoch_line(line, 10)
        'epoch 2/10: loss 1.25 (ce 2, kd 0.5), top-1 50.00, 3.2 s'
    """
    terms = ", ".join(f"{name} {value:.4g}" for name, value in line["terms"].items())
    scores = score_texts(line.get("val", {}))
    return (
        f"epoch {line['epoch']}/{epochs}: loss {line['loss']:.4g}"
        + (f" ({terms})" if terms else "")
        + (f", {scores}" if scores else "")
        + f", {line['seconds']:.1f} s"
    )


def training_report(summary: Mapping[str, Any]) -> str:
    """Return the summary of a training as text, with student and teacher."""
    lines = [f"{summary['epochs']} epochs in {summary['seconds']:.0f} s; best after epoch {summary['best_epoch']}"]
    best, last, teacher = summary["test_best"], summary["test_last"], summary["teacher"]
    if best is not None:
        lines += [f"student, best: {accuracy(best)}", f"student, last: {accuracy(last)}"]
    if teacher is not None:
        state = "unchanged" if summary["teacher_unchanged"] else "CHANGED by the training"
        gap = main_score(best) - main_score(teacher)
        gap_text = f"{abs(gap):.2f} points {'above' if gap >= 0 else 'below'}"
        lines.append(f"teacher:       {accuracy(teacher)}, {state}; the student is {gap_text}")
    if summary.get("reported"):
        lines.append(f"reported:      {summary['reported']}")
    lines.append(f"weights: {summary['student_checkpoint']}")
    return "\n".join(lines)
