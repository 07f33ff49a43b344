import pytest
import torch

from kd_plugins.bench.losses import GROUPS, Row, _inputs, format_rows, plain_mlkd_loss, run_losses
from kd_plugins.bench.memory import bytes_kept_for_backward, peak_bytes
from kd_plugins.bench.timing import interleaved_medians
from kd_plugins.losses import mlkd_loss


def test_measures_everything_against_its_reference():
    rows = run_losses(rounds=2, batch=4, classes=8, device="cpu")
    references = [row.name for row in rows if row.target is None]
    assert references == [group.name for group in GROUPS]
    assert len(rows) == len(GROUPS) + sum(len(group.contenders) for group in GROUPS)
    for row in rows:
        assert row.milliseconds > 0
        assert row.ratio > 0
        assert (row.kept_mib > 0) != ("kthvalue" in row.name or "keep_salient" in row.name)
        if row.target is None:
            assert row.ratio == 1
    assert len(format_rows(rows).splitlines()) == 1 + len(rows)


def test_the_formula_written_out_is_what_the_loss_computes():
    inputs = _inputs(6, 5, "cpu")
    fast = mlkd_loss(inputs.student, inputs.strong[0], inputs.teacher, inputs.strong[1])
    torch.testing.assert_close(fast, plain_mlkd_loss(inputs))


def test_table_says_met_and_missed():
    rows = [
        Row("plain", 2.0, 1.0, None, 2.0, 1.0),
        Row("quick", 1.0, 0.5, 1.0, 2.0, 1.0),
        Row("slow", 4.0, 2.0, 1.0, 2.0, 1.0),
    ]
    _, plain, quick, slow = format_rows(rows).splitlines()
    assert "met" not in plain
    assert "met" in quick
    assert "missed" in slow


def test_callables_take_turns():
    calls = []
    interleaved_medians({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, rounds=2, warmup=1)
    assert calls == ["a", "b"] * 3


def test_bytes_kept_leave_inputs_out_and_count_a_storage_once():
    x = torch.ones(100, requires_grad=True)
    # exp keeps its result, the product keeps it twice; x itself is given.
    assert bytes_kept_for_backward(lambda: (x * x.exp().square()).sum(), given=(x,)) == 2 * 400


def test_refuses():
    with pytest.raises(ValueError, match="rounds must be a finite number of at least 1, found 0"):
        run_losses(rounds=0, batch=2, classes=3)
    with pytest.raises(ValueError, match="classes must be a finite number of at least 2, found 1"):
        run_losses(rounds=1, batch=2, classes=1)


def test_peak_counts_what_lives_at_one_time():
    x = torch.ones(100, requires_grad=True)  # 400 bytes
    # each is freed as soon as the next is there
    assert peak_bytes(lambda: x.detach().exp().sin().cos(), given=(x,)) == 800
    assert peak_bytes(lambda: [x.detach().exp(), x.detach().sin(), x.detach().cos()], given=(x,)) == 1200
    assert peak_bytes(lambda: x.detach().view(10, 10), given=(x,)) == 0
