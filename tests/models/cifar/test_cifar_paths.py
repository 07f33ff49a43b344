"""What the paths of each family of CIFAR networks stand for, checked on what hooks see."""

import functools

import pytest
import torch
from torch import nn

from kd_plugins.models import CIFAR_MODELS


@functools.cache
class Trace:
    """Inputs and outputs of all modules of one forward."""

    def __init__(self, name, size=32):
        self.model = CIFAR_MODELS[name](num_classes=5).train()
        self.inputs, self.outputs = {}, {}
        for path, module in self.model.named_modules():
            module.register_forward_hook(self._keep(path))
        with torch.no_grad():
            self.logits = self.model(torch.randn(2, 3, size, size))

    def _keep(self, path):
        def hook(module, args, output):
            self.inputs[path], self.outputs[path] = args[0], output

        return hook

    def blocks(self, last):
        """Return the paths of the blocks, known by the name of a child."""
        return [path.removesuffix(f".{last}") for path in self.outputs if path.endswith(f".{last}")]


STAGES = {
    "cifar_resnet8": [("layer1", 16, 32), ("layer2", 32, 16), ("layer3", 64, 8)],
    "cifar_resnet8x4": [("layer1", 64, 32), ("layer2", 128, 16), ("layer3", 256, 8)],
    "cifar_wrn_16_2": [("block1", 32, 32), ("block2", 64, 16), ("block3", 128, 8), ("relu", 128, 8)],
    "cifar_vgg8": [
        ("block0", 64, 32),
        ("block1", 128, 16),
        ("block2", 256, 8),
        ("block3", 512, 4),
        ("block4", 512, 4),
        ("relu4", 512, 4),
    ],
    "cifar_mobilenetv2": [
        ("conv1", 16, 16),
        ("blocks.1", 12, 16),
        ("blocks.2", 16, 8),
        ("blocks.4", 48, 4),
        ("blocks.6", 160, 2),
        ("conv2", 1280, 2),
    ],
    "cifar_shufflenetv1": [("relu", 24, 32), ("layer1", 240, 16), ("layer2", 480, 8), ("layer3", 960, 4)],
    "cifar_shufflenetv2": [
        ("relu1", 24, 32),
        ("layer1", 116, 16),
        ("layer2", 232, 8),
        ("layer3", 464, 4),
        ("relu2", 1024, 4),
    ],
    "cifar_resnet18": [("layer1", 64, 32), ("layer2", 128, 16), ("layer3", 256, 8), ("layer4", 512, 4)],
    "cifar_resnet50": [("layer1", 256, 32), ("layer2", 512, 16), ("layer3", 1024, 8), ("layer4", 2048, 4)],
}


@pytest.mark.parametrize("name", STAGES)
def test_maps_of_the_stages(name):
    trace = Trace(name)
    found = [(path, *trace.outputs[path].shape[1:3]) for path, _, _ in STAGES[name]]
    assert found == STAGES[name]


@pytest.mark.parametrize(
    ("name", "branch", "shortcut", "relu", "blocks"),
    [
        ("cifar_resnet14", "bn2", "downsample", "relu2", 6),
        ("cifar_resnet8x4", "bn2", "downsample", "relu2", 3),
        ("cifar_resnet18", "bn2", "shortcut", "relu2", 8),
        ("cifar_resnet50", "bn3", "shortcut", "relu3", 16),
        ("cifar_shufflenetv1", "bn3", "shortcut", "relu3", 16),
    ],
)
def test_last_relu_of_a_block_takes_the_sum_and_gives_the_output(name, branch, shortcut, relu, blocks):
    trace = Trace(name)
    paths = trace.blocks(relu)
    assert len(paths) == blocks
    for path in paths:
        ways = trace.outputs[f"{path}.{branch}"], trace.outputs[f"{path}.{shortcut}"]
        appends = name == "cifar_shufflenetv1" and path.endswith(".0")
        joined = torch.cat(ways, dim=1) if appends else sum(ways)
        assert torch.equal(trace.inputs[f"{path}.{relu}"], joined)
        assert torch.equal(trace.outputs[path], joined.clamp(min=0))
        assert trace.outputs[path] is trace.outputs[f"{path}.{relu}"]
        assert trace.inputs[f"{path}.{shortcut}"] is trace.inputs[path]


def test_shufflenetv1_pools_what_it_appends():
    trace = Trace("cifar_shufflenetv1")
    pooled = nn.functional.avg_pool2d(trace.inputs["layer2.0"], 3, stride=2, padding=1)
    assert torch.equal(trace.outputs["layer2.0"][:, 240:], pooled.clamp(min=0))


def test_wide_resnet_sums_without_relu():
    trace = Trace("cifar_wrn_16_2")
    for path in trace.blocks("conv2"):
        shortcut = trace.outputs[f"{path}.convShortcut"]
        assert torch.equal(trace.outputs[path], shortcut + trace.outputs[f"{path}.conv2"])
        assert trace.outputs[path].min() < 0
        # Where the width changes the shortcut starts after batch norm and ReLU, else before.
        start = trace.outputs[f"{path}.relu1"] if path.endswith(".0") else trace.inputs[path]
        assert trace.inputs[f"{path}.convShortcut"] is start
    assert trace.inputs["bn1"] is trace.outputs["block3"]
    assert torch.equal(trace.outputs["relu"], trace.outputs["bn1"].clamp(min=0))


def test_vgg_blocks_end_before_their_relu():
    trace = Trace("cifar_vgg13")
    for block in range(5):
        assert isinstance(trace.model.get_submodule(f"block{block}")[-1], nn.BatchNorm2d)
        assert trace.outputs[f"block{block}"].min() < 0
        assert trace.inputs[f"relu{block}"] is trace.outputs[f"block{block}"]


def test_vgg_halves_large_images_once_more():
    trace = Trace("cifar_vgg8", size=64)
    assert trace.outputs["relu3"].shape[-1] == 8
    assert trace.inputs["block4"].shape[-1] == 4
    assert torch.equal(trace.inputs["block4"], nn.functional.max_pool2d(trace.outputs["relu3"], 2))


def test_mobilenetv2_adds_only_within_a_stage():
    trace = Trace("cifar_mobilenetv2")
    for path in trace.blocks("conv"):
        residual = trace.outputs[f"{path}.conv"]
        first = path.endswith(".0")
        assert torch.equal(trace.outputs[path], residual if first else residual + trace.inputs[path])


def test_shufflenetv2_keeps_half_and_shuffles():
    """Two groups: the kept half goes to the even channels, the changed half to the odd ones."""
    trace = Trace("cifar_shufflenetv2")
    block = "layer2.3"
    kept, changed = trace.inputs[block].chunk(2, dim=1)
    assert torch.equal(trace.inputs[f"{block}.conv1"], changed)
    assert torch.equal(trace.outputs[block][:, 0::2], kept)
    assert torch.equal(trace.outputs[block][:, 1::2], trace.outputs[f"{block}.relu3"])


def test_shufflenetv2_joins_both_ways_when_it_halves():
    trace = Trace("cifar_shufflenetv2")
    block = "layer2.0"
    assert trace.inputs[f"{block}.conv1"] is trace.inputs[f"{block}.conv3"] is trace.inputs[block]
    assert torch.equal(trace.outputs[block][:, 0::2], trace.outputs[f"{block}.relu2"])
    assert torch.equal(trace.outputs[block][:, 1::2], trace.outputs[f"{block}.relu5"])
    assert trace.inputs[f"{block}.conv2"] is trace.outputs[f"{block}.bn1"]


def test_shufflenetv1_mixes_the_groups_of_its_first_convolution():
    """Six channels in three groups of two: (0 1)(2 3)(4 5) becomes 0 2 4 1 3 5."""
    trace = Trace("cifar_shufflenetv1")
    channels = torch.arange(6.0).view(1, 6, 1, 1)
    shuffled = trace.model.layer2[1].shuffle1(channels)
    assert shuffled.flatten().tolist() == [0, 2, 4, 1, 3, 5]
    first = "layer1.0"
    assert torch.equal(trace.outputs[f"{first}.shuffle1"], trace.outputs[f"{first}.relu1"])


@pytest.mark.parametrize(
    ("name", "last", "head"),
    [
        ("cifar_resnet8", "layer3", "fc"),
        ("cifar_wrn_16_1", "relu", "fc"),
        ("cifar_vgg8", "relu4", "classifier"),
        ("cifar_mobilenetv2", "conv2", "classifier"),
        ("cifar_shufflenetv1", "layer3", "linear"),
        ("cifar_shufflenetv2", "relu2", "linear"),
        ("cifar_resnet18", "layer4", "linear"),
        ("cifar_resnet50", "layer4", "linear"),
    ],
)
def test_head_takes_the_mean_over_positions(name, last, head):
    trace = Trace(name)
    torch.testing.assert_close(trace.inputs[head], trace.outputs[last].mean((2, 3)))
    assert trace.outputs[head] is trace.logits
