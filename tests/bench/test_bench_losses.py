import itertools
import time

import pytest
import torch

from kd_plugins.bench.losses import GROUPS, Row, _inputs, format_rows, plain_mlkd_loss, run_losses
from kd_plugins.bench.memory import bytes_kept_for_backward, peak_bytes
from kd_plugins.bench.timing import Paired, interleaved_medians, paired
from kd_plugins.losses import mlkd_loss


def test_measures_everything_against_its_reference():
    rows = run_losses(rounds=2, batch=4, classes=8, device="cpu")
    references = [row.name for row in rows if row.target is None]
    assert references == [group.name for group in GROUPS]
    assert len(rows) == len(GROUPS) + sum(len(group.contenders) for group in GROUPS)
    for row in rows:
        assert row.pair.second > 0
        assert row.pair.ratio > 0
        assert (row.kept_mib > 0) != ("kthvalue" in row.name or "keep_salient" in row.name)
        if row.target is None:
            assert row.pair.ratio == 1
    table, _, note = format_rows(rows).partition("\n*")
    assert len(table.splitlines()) == 1 + len(rows)
    assert bool(note) != all(row.settled for row in rows)


def test_the_formula_written_out_is_what_the_loss_computes():
    inputs = _inputs(6, 5, "cpu")
    fast = mlkd_loss(inputs.student, inputs.strong[0], inputs.teacher, inputs.strong[1])
    torch.testing.assert_close(fast, plain_mlkd_loss(inputs))


def row(name, ratio, low, high, target):
    return Row(name, Paired(1.0, ratio, ratio, low, high), target, 2.0, 1.0)


def test_table_says_met_and_missed():
    rows = [row("plain", 1, 1, 1, None), row("quick", 0.5, 0.48, 0.52, 1.0), row("slow", 2, 1.95, 2.05, 1.0)]
    _, plain, quick, slow = format_rows(rows).splitlines()
    assert "met" not in plain
    assert "met" in quick
    assert "0.48 to 0.52" in quick
    assert "missed" in slow


def test_table_says_where_the_interval_stayed_wide():
    *_, one, note = format_rows([row("plain", 1, 1, 1, None), row("one", 0.5, 0.4, 0.52, 1.0)]).splitlines()
    assert "0.40 to 0.52*" in one
    assert "not within 5 %" in note


def times(monkeypatch, seconds):
    """Let calls take the given seconds, one after the other."""
    clock = itertools.accumulate(x for taken in seconds for x in (0.0, taken))
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))


def test_pairs_stop_when_the_ratio_is_known(monkeypatch):
    # Always twice as long; the order within a pair changes from round to round.
    times(monkeypatch, [1.0, 2.0, 6.0, 3.0, 5.0, 10.0, 8.0, 4.0])
    found = paired(list, dict, within=0.05, least=4, most=100)
    assert (found.first, found.second) == (3.5, 7.0)
    assert (found.ratio, found.low, found.high) == (2.0, 2.0, 2.0)
    assert found.within(0.05)


def test_pairs_give_up_after_the_last_round(monkeypatch):
    times(monkeypatch, [1.0, 2.0, 3.0, 1.0, 1.0, 4.0])
    found = paired(list, dict, within=0.05, least=2, most=3)
    assert (found.ratio, found.low, found.high) == (3.0, 2.0, 4.0)
    assert not found.within(0.05)


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
