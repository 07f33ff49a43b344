"""No network makes the compiler fall back to Python, in training either.

The deep members of a family do nothing that the shallow ones do not do, and take long to trace; nor do more blocks of
a kind.
"""

import pytest
import torch

from kd_plugins.models import CIFAR_MODELS
from kd_plugins.models.cifar import BasicResNet, BottleneckResNet, ShuffleNetV1, ShuffleNetV2

DEEP = {
    *(f"cifar_resnet{depth}" for depth in (14, 20, 26, 32, 44, 56, 110)),
    *(f"cifar_vgg{depth}" for depth in (13, 16, 19)),
    "cifar_resnet32x4",
    *(f"cifar_resnet{depth}" for depth in (18, 34, 50)),
    *(f"cifar_wrn_{name}" for name in ("28_2", "28_4", "40_1", "40_2")),
}
BUILDERS = {name: build for name, build in CIFAR_MODELS.items() if name not in DEEP}
BUILDERS["basic_resnet"] = lambda **keywords: BasicResNet(blocks=(2, 1, 1, 1), **keywords)
BUILDERS["cifar_shufflenetv1"] = lambda **keywords: ShuffleNetV1(blocks=(2, 1, 1), **keywords)
BUILDERS["cifar_shufflenetv2"] = lambda **keywords: ShuffleNetV2(blocks=(1, 0, 0), **keywords)
BUILDERS["bottleneck_resnet"] = lambda **keywords: BottleneckResNet(blocks=(2, 1, 1, 1), **keywords)


@pytest.fixture(autouse=True)
def _fresh_compiler():
    torch.compiler.reset()
    yield
    torch.compiler.reset()


@pytest.mark.parametrize("name", BUILDERS)
def test_one_graph(name):
    model = BUILDERS[name](num_classes=5).train()
    x = torch.randn(2, 3, 32, 32)
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), model(x))
