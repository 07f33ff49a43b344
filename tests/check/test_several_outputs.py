"""A model that returns a dictionary: check and training agree on what is to be done about it."""

import pytest
import small_configs
from torch import nn
from torchdistill.models.registry import MODEL_DICT

from kd_plugins.check import check_config
from kd_plugins.models import CIFAR_MODELS
from kd_plugins.training.train import train

DETAILED = "{key: detailed, kwargs: {num_classes: 10}}"
TERM = "        lskd: {criterion: {key: LSKDLoss, kwargs: {temperature: 2.0, teacher_module_path: net}}, weight: 0.9}\n"
HOOKED = (
    "  teacher: {forward_proc: forward_batch_only, requires_grad: False, forward_hook: {output: [net]}WRAPPER}\n"
    "  student: {forward_proc: forward_batch_only}\n"
)
WRAPPER = ", auxiliary_model_wrapper: {key: FrozenTeacher, kwargs: {logits: logits}}"
ADVICE = r"Detailed must return logits .*found a dict with 'logits' \(16, 10\); .* keyword logits .*FrozenTeacher"


class Detailed(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.net = CIFAR_MODELS["cifar_resnet8"](num_classes=num_classes)

    def forward(self, x):
        return {"logits": self.net(x)}


@pytest.fixture(autouse=True)
def _registered(monkeypatch):
    monkeypatch.setitem(MODEL_DICT, "detailed", Detailed)


def write(folder, *, wrapper="", **parts):
    parts = {"TEACHER_MODEL": f"  teacher_model: {DETAILED}\n", "SIDES": HOOKED.replace("WRAPPER", wrapper), **parts}
    return small_configs.write(folder, KD_TERM=TERM, **parts)


def test_both_refuse_and_name_the_keyword(tmp_path):
    path = write(tmp_path)
    (error,) = [finding for finding in check_config(path).findings if finding.level == "error"]
    assert error.place == "models.teacher_model"
    with pytest.raises(ValueError, match=ADVICE) as caught:
        train(path, run_dir=tmp_path / "run", device="cpu")
    assert str(caught.value) == error.message


@pytest.mark.parametrize("how", ["wrapper", "model"])
def test_both_work_with_it(tmp_path, how):
    model = f"{{key: frozen_teacher, kwargs: {{model: {DETAILED}, logits: logits}}}}"
    around = {"wrapper": WRAPPER} if how == "wrapper" else {"TEACHER_MODEL": f"  teacher_model: {model}\n"}
    path = write(tmp_path, **around)
    assert not check_config(path).failed
    assert train(path, run_dir=tmp_path / "run", device="cpu")["teacher"]["samples"] > 0
