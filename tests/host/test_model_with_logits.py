"""Models that return several outputs, as teachers and students of torchdistill."""

import copy
import pickle

import pytest
import torch
from torch import nn
from torchdistill.models import registry

from kd_plugins.host.model_with_logits import model_with_logits
from kd_plugins.host.teachers.ensemble import teacher_ensemble
from kd_plugins.host.teachers.model import frozen_teacher
from kd_plugins.host.teachers.wrapper import FrozenTeacher


class Detailed(nn.Module):
    def __init__(self, num_classes=5):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.fc = nn.Linear(4, num_classes)

    def forward(self, x):
        features = self.conv(x).mean((2, 3))
        return {"logits": self.fc(features), "features": features}


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setitem(registry.MODEL_DICT, "detailed", Detailed)


SECTION = {"key": "detailed", "kwargs": {"num_classes": 5}}
IMAGES = torch.randn(2, 3, 8, 8)


@pytest.mark.parametrize(
    "build",
    [
        lambda: frozen_teacher(model=SECTION, logits="logits"),
        lambda: model_with_logits(model=SECTION, logits="logits"),
        lambda: FrozenTeacher(Detailed(), logits="logits"),
        lambda: FrozenTeacher(model_with_logits(model=SECTION, logits="logits")),
    ],
)
def test_the_model_and_a_hook_on_it_give_logits(build):
    model, seen = build(), []
    with model.register_forward_hook(lambda module, args, output: seen.append(output)):
        result = model(IMAGES)
    assert result.shape == (2, 5)
    assert seen[0] is result
    assert set(model.state_dict()) == set(Detailed().state_dict())
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(other(IMAGES), result)


def test_a_student_gets_gradients_and_its_weights(tmp_path):
    source = Detailed()
    torch.save(source.state_dict(), tmp_path / "a.pth")
    student = model_with_logits(model={**SECTION, "src_ckpt": str(tmp_path / "a.pth")}, logits="logits")
    assert torch.equal(student.fc.weight, source.fc.weight)
    student(IMAGES).sum().backward()
    assert student.conv.weight.grad is not None


def test_a_torchvision_model_with_extra_outputs_in_training():
    kwargs = {"num_classes": 5, "weights": None, "init_weights": False}
    student = model_with_logits(model={"key": "googlenet", "kwargs": kwargs}, logits="logits")
    for mode in (True, False):
        assert student.train(mode)(torch.randn(2, 3, 64, 64)).shape == (2, 5)


def test_teachers_of_an_ensemble():
    model = teacher_ensemble(teachers=[{**SECTION, "logits": "logits"}, SECTION | {"logits": "logits"}])
    assert model(IMAGES).shape == (2, 5)
    with pytest.raises(ValueError, match=r"found a dict with 'logits' \(2, 5\).* keyword logits .* of teachers\.0"):
        teacher_ensemble(teachers=[SECTION])(IMAGES)


def test_what_is_no_model():
    with pytest.raises(ValueError, match="model of model_with_logits must be a mapping such as"):
        model_with_logits(model="detailed", logits="logits")
    with pytest.raises(ValueError, match="model of model_with_logits takes no keyword 'kwarg'"):
        model_with_logits(model={"key": "detailed", "kwarg": {}}, logits="logits")
