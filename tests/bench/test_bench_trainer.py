from kd_plugins.bench.trainer import TARGET, TrainerCost, format_trainer, run_trainer


def test_measures_both_loops_on_real_steps():
    cost = run_trainer(rounds=1, images=64)
    assert cost.bare > 0
    assert cost.checkpoint > 0
    assert cost.ratio == cost.epoch / cost.bare


def test_says_when_the_target_is_missed():
    assert "missed" in format_trainer(TrainerCost(bare=1.0, epoch=TARGET + 0.01, checkpoint=0.1))
    assert "met" in format_trainer(TrainerCost(bare=1.0, epoch=TARGET, checkpoint=0.1))
