import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kd_plugins.metrics.calibration import BINS, calibration, calibration_sums


def slow(logits, labels):
    """NLL and ECE, one sample and one bin at a time."""
    rows = [row.softmax(0) for row in logits.double()]
    nll = -sum(math.log(row[label]) for row, label in zip(rows, labels, strict=True)) / len(rows)
    ece = 0.0
    for m in range(BINS):
        inside = [
            (r.max(), r.argmax() == y)
            for r, y in zip(rows, labels, strict=True)
            if m / BINS < r.max() <= (m + 1) / BINS
        ]
        if inside:
            ece += abs(sum(hit for _, hit in inside) - sum(conf for conf, _ in inside)) / len(rows)
    return nll, 100 * float(ece)


@settings(deadline=None)
@given(st.integers(0, 1000), st.integers(2, 12), st.integers(1, 40))
def test_it_equals_a_loop_and_batches_add_up(seed, classes, samples):
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(samples, classes, generator=generator)
    labels = torch.randint(classes, (samples,), generator=generator)
    whole = calibration(calibration_sums(logits, labels))
    parts = sum(calibration_sums(x, y) for x, y in zip(logits.split(7), labels.split(7), strict=True))
    assert (whole["nll"], whole["ece"]) == pytest.approx(slow(logits, labels))
    assert calibration(parts) == pytest.approx(whole)


def test_certain_and_right_is_perfect_and_certain_and_wrong_is_the_worst():
    logits = torch.tensor([[0.0, 50.0], [50.0, 0.0]])
    assert calibration(calibration_sums(logits, torch.tensor([1, 0]))) == pytest.approx({"nll": 0, "ece": 0})
    assert calibration(calibration_sums(logits, torch.tensor([0, 1]))) == pytest.approx({"nll": 50, "ece": 100})


def test_half_precision_is_widened():
    logits = torch.tensor([[0.0, 2.0], [1.0, 0.0]])
    one, other = (calibration(calibration_sums(x, torch.tensor([1, 1]))) for x in (logits, logits.bfloat16()))
    assert one == pytest.approx(other)


def test_logits_that_are_not_finite_are_nan_and_no_error():
    found = calibration(calibration_sums(torch.tensor([[float("nan"), 1.0], [0.0, 1.0]]), torch.tensor([0, 1])))
    assert math.isnan(found["nll"])
    assert math.isnan(found["ece"])
