import pytest
import torch

from kd_plugins.bench.letkd import (
    both_passes,
    inputs,
    kept_tensors,
    measured,
    run_letkd,
    training_steps,
    written_out,
)
from kd_plugins.bench.letkd_fit import format_letkd_fit
from kd_plugins.cli import main


def test_the_reference_computes_the_same():
    given = inputs(48, batch=3)
    torch.testing.assert_close(measured(given), written_out(given))
    ours, theirs = (both_passes(given, compute) for compute in (measured, written_out))
    for own, reference in zip(ours, theirs, strict=True):
        torch.testing.assert_close(own, reference, rtol=1e-4, atol=1e-5 * reference.abs().max().item())


def test_layer_and_loss_keep_two_tensors_of_the_scores_size():
    given = inputs(1024, batch=32)
    assert kept_tensors(given, measured) < 2.5
    assert kept_tensors(given, written_out) > 5


def test_both_steps_train():
    for step in training_steps(8, batch=4):
        step()


def test_rows_and_table():
    rows = run_letkd(rounds=1, many=64, few=8, batch=2)
    assert all(row.value > 0 for row in rows)
    assert [row.target for row in rows] == [None, None, 0.6, None, 3.0, None, None, 1.10]
    text = format_letkd_fit(rows)
    assert "K=64: layer and loss / written out" in text
    assert "K=8: letKD step / KD step" in text


def test_refuses():
    with pytest.raises(ValueError, match="many must be a finite number of at least 1, found 0"):
        run_letkd(many=0)


def test_rounds_do_not_go_with_the_fit(capsys):
    assert main(["bench", "letkd-fit", "--rounds", "3"]) != 0
    assert "--rounds does not go with bench letkd-fit" in capsys.readouterr().err
