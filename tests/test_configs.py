"""Every committed config builds without its data and takes a step."""

from pathlib import Path

import pytest
import torch
from torchdistill.models.wrapper import AuxiliaryModelWrapper

from kd_plugins.engine.build import build_box, build_config, build_model
from kd_plugins.engine.config import read_config
from kd_plugins.engine.distributed import Processes
from kd_plugins.engine.fake_data import with_fake_data
from kd_plugins.host.processes import complete_pre_epoch

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
PATHS = sorted(CONFIGS.rglob("*.yaml"))
LIGHT = ("batch_size=4", "num_workers=0", "pin_memory=False")
SMALL = [f"train.{side}_data_loader.kwargs.{item}" for side in ("train", "val") for item in LIGHT]
ON_ONE_CPU = Processes(0, 1, torch.device("cpu"))


@pytest.fixture
def built(request):
    config = with_fake_data(read_config(request.param, SMALL))
    return config, build_config(config)


def model_of(config, built, name):
    return build_model(config, name, built["models"][name], ON_ONE_CPU)


@pytest.mark.parametrize("built", PATHS, ids=[str(path.relative_to(CONFIGS)) for path in PATHS], indirect=True)
def test_builds_and_takes_a_step(built):
    config, parts = built
    teacher = model_of(config, parts, "teacher_model") if "teacher_model" in parts["models"] else None
    student = model_of(config, parts, "student_model" if teacher is not None else "model")
    box = build_box(config, parts, teacher, student, ON_ONE_CPU, seed=0)
    complete_pre_epoch(box, 0)
    batch, targets, supplement = next(iter(box.train_data_loader))
    loss = box.forward_process(batch, targets, supplement)
    assert torch.isfinite(loss)
    loss.backward()
    gradients = [p.grad for p in student.parameters() if p.requires_grad]
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert any(gradient.abs().max() > 0 for gradient in gradients)
    if teacher is not None:
        assert all(p.grad is None for p in teacher.parameters())
        assert isinstance(box.teacher_model, AuxiliaryModelWrapper) or box.teacher_model is teacher


@pytest.mark.parametrize("path", PATHS, ids=[str(path.relative_to(CONFIGS)) for path in PATHS])
def test_names_its_checkpoints_after_itself(path):
    text = path.read_text()
    assert text.startswith("# ")
    if "dst_ckpt" in text:
        assert path.stem in text.split("dst_ckpt:")[1].splitlines()[0]
