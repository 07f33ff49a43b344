import pytest
import torch

from kd_plugins.bench.models import FAMILIES, TEACHER, ModelRow, format_rows, recorded, run_models
from kd_plugins.models import CIFAR_MODELS


def test_measures_networks_and_the_frozen_teacher():
    rows = run_models(rounds=1, batch=2, teacher_batch=1, teacher_size=32, names=["cifar_resnet8"])
    assert [row.name for row in rows] == ["cifar_resnet8", TEACHER]
    assert [row.target for row in rows] == [1.05, 1.02]
    assert all(row.milliseconds > 0 and row.plain_milliseconds > 0 for row in rows)
    assert len(format_rows(rows).splitlines()) == 3


def test_every_measured_network_exists():
    assert set(FAMILIES) <= set(CIFAR_MODELS)


@pytest.mark.parametrize("name", ["cifar_resnet8", "cifar_vgg8"])
def test_the_recorded_operations_are_those_of_the_network(name):
    """Same logits, same gradients of the same parameters, same effect on the statistics of batch norm."""
    model = CIFAR_MODELS[name](num_classes=5).train()
    images = torch.randn(4, 3, 32, 32)
    plain = recorded(model, images)
    parameters = list(model.parameters())
    ours, theirs = model(images), plain()
    assert torch.equal(ours, theirs)
    for a, b in zip(
        torch.autograd.grad(ours.sum(), parameters),
        torch.autograd.grad(theirs.sum(), parameters),
        strict=True,
    ):
        torch.testing.assert_close(a, b)
    before = [buffer.clone() for buffer in model.buffers() if buffer.ndim == 0]
    plain()
    after = [buffer for buffer in model.buffers() if buffer.ndim == 0]
    assert [int(a - b) for a, b in zip(after, before, strict=True)] == [1] * len(before)


def test_ratio_and_verdict():
    # 10.6 / 10 = 1.06 is above 1.05; 10.4 / 10 = 1.04 is within.
    slow, quick = ModelRow("slow", 10.6, 10.0, 1.05), ModelRow("quick", 10.4, 10.0, 1.05)
    _, first, second = format_rows([slow, quick]).splitlines()
    assert first.endswith("missed")
    assert second.endswith("met")


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"names": ["cifar_resnet9"]}, "unknown CIFAR network 'cifar_resnet9'; did you mean"),
        ({"batch": 1}, "batch must be a finite number of at least 2, found 1"),
        ({"teacher_size": 8}, "teacher_size must be a finite number of at least 32, found 8"),
        ({"teacher_batch": 0}, "teacher_batch must be a finite number of at least 1, found 0"),
    ],
)
def test_refuses(keywords, message):
    with pytest.raises(ValueError, match=message):
        run_models(**{"rounds": 1, "names": [], **keywords})
