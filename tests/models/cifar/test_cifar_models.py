"""The table of CIFAR networks: names, sizes, and what hooks on their paths see.

``cifar_state_dicts.json`` holds parameter counts, names and shapes of the commonly shared CIFAR-100
checkpoints (100 classes), read off the public reference implementations. ``NAME batch_norm C`` stands for the
five entries of a batch norm of C channels.
"""

import copy
import inspect
import json
from pathlib import Path

import pytest
import torch
from torch import nn

from kd_plugins.models import CIFAR_MODELS, is_frozen
from kd_plugins.models.cifar import VGG, ResNet, WideResNet
from kd_plugins.pairs.cifar import NETWORKS

REFERENCE = json.loads(Path(__file__).with_name("cifar_state_dicts.json").read_text())
WITHOUT_REFERENCE = {
    "cifar_resnet18", "cifar_resnet26", "cifar_resnet34", "cifar_wrn_16_4", "cifar_wrn_28_2", "cifar_wrn_28_4",
}  # fmt: skip
# One small network of each family.
FAMILIES = [
    "cifar_resnet8",
    "cifar_wrn_16_1",
    "cifar_vgg8",
    "cifar_mobilenetv2",
    "cifar_shufflenetv1",
    "cifar_shufflenetv2",
    "cifar_resnet18",
    "cifar_resnet50",
]


def expand(rows):
    """Yield name and shape of every entry of a compact state dict."""
    for row in rows:
        name, *shape = row.split()
        if shape[:1] == ["batch_norm"]:
            channels = (int(shape[1]),)
            yield from ((f"{name}.{part}", channels) for part in ("weight", "bias"))
            yield from ((f"{name}.{part}", channels) for part in ("running_mean", "running_var"))
            yield f"{name}.num_batches_tracked", ()
        else:
            yield name, tuple(map(int, shape))


def build_without_memory(name, **keywords):
    with torch.device("meta"):
        return CIFAR_MODELS[name](**keywords)


@pytest.fixture(scope="module", params=CIFAR_MODELS)
def model(request):
    torch.manual_seed(0)
    return CIFAR_MODELS[request.param](num_classes=7)


@pytest.fixture(scope="module", params=FAMILIES)
def family(request):
    torch.manual_seed(0)
    return CIFAR_MODELS[request.param](num_classes=7)


def test_table_holds_the_reference_and_its_family():
    assert set(CIFAR_MODELS) == set(REFERENCE) | WITHOUT_REFERENCE


@pytest.mark.parametrize("name", REFERENCE)
def test_state_dict_is_that_of_the_shared_checkpoints(name):
    model = build_without_memory(name)
    found = [(key, tuple(tensor.shape)) for key, tensor in model.state_dict().items()]
    assert found == list(expand(REFERENCE[name]["state_dict"]))
    assert sum(p.numel() for p in model.parameters()) == REFERENCE[name]["parameters"]


@pytest.mark.parametrize("name", NETWORKS)
def test_the_table_has_the_number_of_parameters(name):
    assert sum(p.numel() for p in build_without_memory(name).parameters()) == NETWORKS[name].parameters


@pytest.mark.parametrize(("wide", "narrow"), [("16_4", "16_2"), ("28_4", "28_2")])
def test_wide_networks_without_reference_follow_their_family(wide, narrow):
    """Twice the width: all but stem, classifier and normalisation have two or four times the entries."""
    wide = dict(build_without_memory(f"cifar_wrn_{wide}").named_parameters())
    narrow = dict(build_without_memory(f"cifar_wrn_{narrow}").named_parameters())
    assert list(wide) == list(narrow)
    ratios = {name: wide[name].numel() / narrow[name].numel() for name in wide}
    assert ratios["block2.layer.1.conv1.weight"] == 4
    assert ratios["block1.layer.0.conv1.weight"] == 2
    assert ratios["conv1.weight"] == 1


def test_resnet26_without_reference_follows_its_family():
    """Four basic blocks a stage: ResNet-20 with one more in each, ResNet-32 with one fewer."""
    deep, wanted, shallow = (dict(build_without_memory(f"cifar_resnet{depth}").state_dict()) for depth in (32, 26, 20))
    assert set(shallow) < set(wanted) < set(deep)
    assert all(deep[name].shape == wanted[name].shape for name in wanted)
    count = [
        sum(p.numel() for p in build_without_memory(f"cifar_resnet{depth}").parameters()) for depth in (20, 26, 32)
    ]
    # A block of c channels has 2 convolutions of 9 c^2 and 2 batch norms of 2 c: 4,672, 18,560, 73,984.
    assert count == [278_324, 278_324 + 97_216, 472_756]
    assert [len(getattr(build_without_memory("cifar_resnet26"), f"layer{stage}")) for stage in (1, 2, 3)] == [4, 4, 4]


def test_resnet18_and_34_have_the_names_and_sizes_of_the_public_cifar_code():
    for name, blocks, parameters in (("18", (2, 2, 2, 2), 11_173_962), ("34", (3, 4, 6, 3), 21_282_122)):
        model = build_without_memory(f"cifar_resnet{name}", num_classes=10)
        norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
        expected = ["conv1.weight", *(f"bn1.{part}" for part in norm)]
        for stage, number in enumerate(blocks, 1):
            for block in range(number):
                # Each first block but that of layer1 halves the size, so its shortcut has a convolution.
                halves = block == 0 and stage > 1
                layers = [("conv1", "bn1"), ("conv2", "bn2"), *[("shortcut.0", "shortcut.1")] * halves]
                for conv, bn in layers:
                    path = f"layer{stage}.{block}."
                    expected += [f"{path}{conv}.weight", *(f"{path}{bn}.{part}" for part in norm)]
        assert list(model.state_dict()) == [*expected, "linear.weight", "linear.bias"]
        # Stages of c = 64, 128, 256, 512: a block of c channels has 18 c^2 + 4 c, the first of a halving stage
        # 9/2 c^2 + 9 c^2 + c^2 / 2 + 6 c; stem 27 * 64 + 128, classifier 513 * 10.
        whole = sum(n * (18 * c * c + 4 * c) for n, c in zip(blocks, (64, 128, 256, 512), strict=True))
        halving = sum(14 * c * c + 6 * c - (18 * c * c + 4 * c) for c in (128, 256, 512))
        assert 27 * 64 + 128 + whole + halving + 5130 == parameters
        assert sum(p.numel() for p in model.parameters()) == parameters


def test_every_path_is_called_once_and_keeps_what_was_captured(model):
    """Torchdistill keeps references: a second call or an in-place change would corrupt them silently."""
    captured, handles = {}, []
    for path, module in model.named_modules():

        def hook(module, args, output, path=path):
            assert path not in captured, f"{path} is called twice"
            captured[path] = [(t, t.clone()) for t in (*args, output)]

        handles.append(module.register_forward_hook(hook))
    with torch.no_grad():
        logits = model.train()(torch.randn(1, 3, 32, 32))
    for handle in handles:
        handle.remove()
    assert logits.shape == (1, 7)
    assert set(captured) == {path for path, _ in model.named_modules()}
    for path, tensors in captured.items():
        for kept, copied in tensors:
            assert torch.equal(kept, copied), path
    assert not any(getattr(module, "inplace", False) for module in model.modules())


def test_larger_images_and_odd_sizes(family):
    family.eval().requires_grad_(False)
    assert family(torch.randn(1, 3, 64, 64)).shape == (1, 7)
    assert family(torch.randn(1, 3, 40, 48)).shape == (1, 7)


def test_every_parameter_gets_a_gradient(family):
    family.train().requires_grad_(True).zero_grad()
    family(torch.randn(2, 3, 32, 32)).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in family.parameters())
    assert all(p.grad.abs().sum() > 0 for p in family.parameters() if p.ndim == 4)


def test_logits_start_finite_in_half_precision(family):
    family.eval()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert family(torch.randn(2, 3, 32, 32)).isfinite().all()


def test_copies_give_the_same_logits(family):
    x = torch.randn(1, 3, 32, 32)
    assert torch.equal(copy.deepcopy(family.eval())(x), family(x))


@pytest.mark.parametrize("name", CIFAR_MODELS)
def test_builders_look_like_functions(name):
    builder = CIFAR_MODELS[name]
    assert builder.__name__ == name
    assert list(inspect.signature(builder).parameters) == ["num_classes", "checkpoint", "use_ema", "frozen"]
    assert "num_classes: number of outputs" in builder.__doc__


def test_default_is_100_classes_and_not_frozen():
    model = CIFAR_MODELS["cifar_resnet8"]()
    assert model.fc.out_features == model.num_classes == 100
    assert not is_frozen(model)
    assert is_frozen(CIFAR_MODELS["cifar_resnet8"](frozen=True))


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"num_class": 10}, "cifar_resnet8 takes no keyword 'num_class'; did you mean 'num_classes'"),
        ({"pretrained": True}, "takes no keyword 'pretrained'"),
        ({"num_classes": 0}, "num_classes must be a whole number of at least 1, found 0"),
        ({"num_classes": "10"}, "num_classes must be a whole number of at least 1, found '10'"),
        ({"num_classes": True}, "num_classes must be a whole number"),
        ({"frozen": "yes"}, "frozen must be True or False, found 'yes'"),
        ({"checkpoint": "nowhere/a.pth"}, "checkpoint 'nowhere/a.pth' is missing"),
    ],
)
def test_builder_errors(keywords, message):
    with pytest.raises(ValueError, match=message):
        CIFAR_MODELS["cifar_resnet8"](**keywords)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: ResNet(depth=18), "depth must be 6n [+] 2"),
        (lambda: WideResNet(depth=18, widen=2), "depth must be 6n [+] 4"),
        (lambda: VGG(depth=12), "depth must be one of 8, 11, 13, 16, 19, found 12"),
    ],
)
def test_depths_that_do_not_exist(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_convolutions_start_with_the_variance_of_he():
    """Fan out: 2 / (output channels * kernel area), for the convolutions with enough entries to tell."""
    for module in CIFAR_MODELS["cifar_vgg8"]().modules():
        if isinstance(module, nn.Conv2d) and module.weight.numel() > 50_000:
            expected = 2 / (module.out_channels * 9)
            assert module.weight.var().item() == pytest.approx(expected, rel=0.05)
            assert not module.bias.any()
