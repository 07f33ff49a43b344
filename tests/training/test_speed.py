"""Training in channels-last layout and with compiled models, with hooks, points and a trained regressor."""

import pytest
import small_configs
import torch
from test_feature_training import parts
from test_resume import KilledError, assert_same, final, interrupt

from kd_plugins.runtime.checkpoint import load_state
from kd_plugins.training.run_folder import RunError
from kd_plugins.training.train import train
from kd_plugins.training.trainer import Trainer


@pytest.fixture
def config(tmp_path):
    return small_configs.write(tmp_path, **parts())


@pytest.fixture
def graphs(monkeypatch):
    """Compile without generating code, which takes a minute; return whether each graph is one of an evaluation."""
    found, compile = [], torch.nn.Module.compile

    def backend(graph, _inputs):
        found.append(torch.is_inference_mode_enabled())
        return graph.forward

    monkeypatch.setattr(torch.nn.Module, "compile", lambda model: compile(model, backend=backend))
    torch._dynamo.reset()
    return found


def losses(folder):
    return [line["terms"] for line in load_state(folder)["history"]]


@pytest.mark.parametrize("option", ["channels_last", "compile"])
def test_training_is_nearly_the_same_and_resumes_bit_for_bit(tmp_path, config, graphs, monkeypatch, option):
    train(config, run_dir=tmp_path / "plain", device="cpu")
    train(config, run_dir=tmp_path / "whole", device="cpu", **{option: True})
    for plain, other in zip(losses(tmp_path / "plain"), losses(tmp_path / "whole"), strict=True):
        assert other == pytest.approx(plain, rel=1e-3)
    with monkeypatch.context() as patch:
        interrupt(patch, "_epoch", call=2)
        with pytest.raises(KilledError):
            train(config, run_dir=tmp_path / "cut", device="cpu", **{option: True})
    with pytest.raises(RunError, match=rf"was started with {option} True \(now False\); resume it with the same"):
        train(config, run_dir=tmp_path / "cut", device="cpu", resume=True)
    train(config, run_dir=tmp_path / "cut", device="cpu", resume=True, **{option: True})
    assert_same(final(tmp_path / "cut"), final(tmp_path / "whole"))
    assert load_state(tmp_path / "whole")["model"].keys() == load_state(tmp_path / "plain")["model"].keys()


def test_images_and_weights_are_channels_last(tmp_path, config, monkeypatch):
    seen, batches = [], Trainer._train_batches

    def watched(trainer, epoch):
        hook = trainer.student.register_forward_pre_hook(lambda _model, inputs: seen.append(inputs[0]))
        batches(trainer, epoch)
        hook.remove()
        seen.extend(p for m in (trainer.student, trainer.teacher) for p in m.parameters() if p.ndim == 4)

    monkeypatch.setattr(Trainer, "_train_batches", watched)
    train(config, run_dir=tmp_path / "run", device="cpu", channels_last=True)
    assert len(seen) > 10
    assert all(tensor.is_contiguous(memory_format=torch.channels_last) for tensor in seen)


def test_only_training_steps_are_compiled(tmp_path, config, graphs):
    """Validation and tests have batches of 16 and 13 images in eval mode, which would be compiled as well."""
    train(config, run_dir=tmp_path / "run", device="cpu", compile=True, test_every=1)
    assert graphs
    assert not any(graphs)


def test_a_run_of_an_older_version_has_the_defaults(tmp_path, config):
    from kd_plugins.runtime.checksums import read_sealed_json
    from kd_plugins.training.run_folder import RunFolder

    run = tmp_path / "run"
    first = train(config, run_dir=run, device="cpu")
    info = read_sealed_json(run / "run.json")
    RunFolder(run).write_json("run.json", {k: v for k, v in info.items() if k not in ("channels_last", "compile")})
    assert train(config, run_dir=run, device="cpu", resume=True) == first
