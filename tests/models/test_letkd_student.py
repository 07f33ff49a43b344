"""Students with KD layers."""

import copy

import pytest
import torch
import torchvision
from torch import nn
from torchdistill.models.registry import get_model

import kd_plugins  # noqa: F401
from kd_plugins.host.letkd.student import letkd_student
from kd_plugins.models import CIFAR_MODELS, add_kd_layers, feature_points, first_block, load_checkpoint, timm_model
from kd_plugins.models.letkd import inserted_points, without_kd_layers

IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
STUDENT = {"key": "cifar_resnet8", "kwargs": {"num_classes": 7}}
LAYERS = [{"point": "penultimate", "num_scores": 12}, {"point": "intermediate", "num_scores": 14, "alpha": 0.5}]
SMALL = {"img_size": 32, "num_classes": 7}
TIMM = {
    "vit": (
        {"model_name": "vit_tiny_patch16_224", "patch_size": 8, "embed_dim": 24, "depth": 4, "num_heads": 2, **SMALL}
        | {"global_pool": "avg"},
        "blocks.3",
    ),
    "swin": (
        {"model_name": "swin_tiny_patch4_window7_224", "patch_size": 2, "window_size": 4, "embed_dim": 8}
        | {"depths": [1, 2], "num_heads": [1, 2], **SMALL},
        "layers.1.blocks.0",
    ),
    "convnext": (
        {"model_name": "convnext_atto", "depths": [1, 1, 1, 2], "dims": [4, 8, 8, 16], "num_classes": 7},
        "stages.3.blocks.0",
    ),
    "resnet": ({"model_name": "resnet10t", "num_classes": 7}, "layer4.0"),
}


def build(layers=LAYERS, student=STUDENT, **more):
    torch.manual_seed(0)
    return letkd_student(student=student, layers=layers, **more)


def captured(model, *paths):
    found = {}
    handles = [
        model.get_submodule(path).register_forward_hook(
            lambda _m, args, output, path=path: found.__setitem__(path, (args, output))
        )
        for path in paths
    ]
    logits = model(IMAGES)
    for handle in handles:
        handle.remove()
    return logits, *(found[path] for path in paths)


def test_the_layers_one_after_the_other():
    model = build().eval()
    inside, last = model.kd_layer.intermediate, model.kd_layer.penultimate
    x = model.layer2(model.layer1(model.relu(model.bn1(model.conv1(IMAGES)))))
    blocks = copy.deepcopy(model.layer3)
    for module in blocks.modules():
        module._forward_hooks.clear()
    x = inside(blocks[0](x))
    for block in blocks[1:]:
        x = block(x)
    x = last(x)
    torch.testing.assert_close(model(IMAGES), model.fc(x.mean((2, 3))))


def test_names_of_the_base_stay_and_its_checkpoints_fit(tmp_path):
    base = CIFAR_MODELS["cifar_resnet8"](num_classes=7)
    torch.save(base.state_dict(), tmp_path / "base.pt")
    model = build(student={**STUDENT, "src_ckpt": str(tmp_path / "base.pt")})
    assert type(model) is type(base)
    own = {name: tensor for name, tensor in model.state_dict().items() if not name.startswith("kd_layer.")}
    assert own.keys() == base.state_dict().keys()
    assert all(torch.equal(tensor, base.state_dict()[name]) for name, tensor in own.items())
    assert {name.split(".")[1] for name in model.state_dict() if name not in own} == {"penultimate", "intermediate"}


def test_alpha_0_is_the_base():
    model = build([{"point": "penultimate", "num_scores": 5, "alpha": 0}, {"point": "stage1", "num_scores": 3}]).eval()
    model.kd_layer.stage1.alpha = 0.0
    base = CIFAR_MODELS["cifar_resnet8"](num_classes=7).eval()
    base.load_state_dict({name: t for name, t in model.state_dict().items() if not name.startswith("kd_layer.")})
    assert torch.equal(model(IMAGES), base(IMAGES))


def test_without_its_layers_it_is_the_base():
    model = build().eval()
    changed = model(IMAGES)
    with without_kd_layers(model):
        logits, (_, block), (_, stage) = captured(model, "layer3.0", "layer3")
    assert block is stage
    base = CIFAR_MODELS["cifar_resnet8"](num_classes=7).eval()
    base.load_state_dict({name: t for name, t in model.state_dict().items() if not name.startswith("kd_layer.")})
    assert torch.equal(logits, base(IMAGES))
    assert torch.equal(model(IMAGES), changed)


def test_points_of_the_layers():
    points = {name: (point.name, point.path) for name, point in inserted_points(build()).items()}
    assert points == {"penultimate": ("last_map", "layer3"), "intermediate": ("intermediate", "layer3.0")}
    assert inserted_points(CIFAR_MODELS["cifar_resnet8"]()) == {}


def test_saved_and_strictly_loaded(tmp_path):
    model = get_model("letkd_student", student=STUDENT, layers=LAYERS).train()
    model(IMAGES)
    torch.save({"model": model.state_dict()}, tmp_path / "whole.pt")
    again, model = letkd_student(student=STUDENT, layers=LAYERS).eval(), model.eval()
    assert not torch.equal(again(IMAGES), model(IMAGES))
    again.load_state_dict(torch.load(tmp_path / "whole.pt", weights_only=True)["model"], strict=True)
    load_checkpoint(again, tmp_path / "whole.pt")
    assert torch.equal(again(IMAGES), model(IMAGES))


def test_a_copy_is_complete_in_itself():
    model = build().eval()
    again = copy.deepcopy(model)
    before = model(IMAGES)
    assert torch.equal(again(IMAGES), before)
    with torch.no_grad():
        for layer in again.kd_layer.values():
            layer.value_scale.mul_(3.0)
    assert not torch.equal(again(IMAGES), before)
    assert torch.equal(model(IMAGES), before)


def test_every_parameter_learns_from_output_and_scores():
    model = build().train()
    logits, (_, first), (_, second) = captured(model, "kd_layer.penultimate.scores", "kd_layer.intermediate.scores")
    assert (first.shape, second.shape) == ((2, 12, 8, 8), (2, 14, 8, 8))
    (logits.square().sum() + first.square().sum() + second.square().sum()).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert all(p.grad.abs().max() > 0 for p in (model.conv1.weight, *model.kd_layer.penultimate.parameters()))


def test_feature_points_are_those_of_the_base_behind_the_layers():
    model, base = build(), CIFAR_MODELS["cifar_resnet8"](num_classes=7)
    assert feature_points(model) == feature_points(base)
    model.eval()
    _, (_, changed) = captured(model, "layer3")
    _, (args, _) = captured(model, "avgpool")
    assert torch.equal(changed, args[0])


@pytest.mark.parametrize("name", list(TIMM))
def test_timm_students(name):
    kwargs, block = TIMM[name]
    student = {"key": "timm_model", "kwargs": kwargs}
    model = build(student=student, probe_size=32)
    base = timm_model(**kwargs)
    assert first_block(base, probe_size=32).path == block
    own = {key for key in model.state_dict() if not key.startswith("kd_layer.")}
    assert own == set(base.state_dict())
    base.load_state_dict({key: model.state_dict()[key] for key in own})
    expected = base.eval()(IMAGES)
    model.eval()
    assert not torch.equal(model(IMAGES), expected)
    for layer in model.kd_layer.values():
        layer.alpha = 0.0
    torch.testing.assert_close(model(IMAGES), expected)
    model.train()(IMAGES).sum().backward()
    assert all(p.grad is not None for p in model.kd_layer.parameters())


@pytest.mark.parametrize(("depth", "path"), [(8, "relu3"), (11, "block4.2"), (13, "block4.2"), (19, "block4.2")])
def test_vgg_students(depth, path):
    point = first_block(CIFAR_MODELS[f"cifar_vgg{depth}"]())
    assert (point.path, point.io, point.channels, point.stride) == (path, "output", 512, 8)
    model = build(student={"key": f"cifar_vgg{depth}", "kwargs": {"num_classes": 7}}).eval()
    _, (_, changed), (args, _) = captured(model, path, "block4.0" if path == "relu3" else "block4.3")
    assert torch.equal(changed, args[0])
    assert (changed < 0).any()  # the layer is behind the ReLU


def test_prefix_tokens_pass_by_the_layer():
    kwargs, block = TIMM["vit"]
    model = build([{"point": "intermediate", "num_scores": 9}], {"key": "timm_model", "kwargs": kwargs}).eval()
    base = timm_model(**kwargs).eval()
    base.load_state_dict({key: t for key, t in model.state_dict().items() if not key.startswith("kd_layer.")})
    _, (_, before) = captured(base, block)
    _, (_, after) = captured(model, block)
    assert after.shape == before.shape == (2, 1 + 16, 24)
    assert torch.equal(after[:, 0], before[:, 0])
    expected = model.kd_layer.intermediate(before[:, 1:].transpose(1, 2).unflatten(2, (4, 4)))
    torch.testing.assert_close(after[:, 1:].transpose(1, 2).unflatten(2, (4, 4)), expected)


def test_a_torchvision_student_by_path():
    student = {"key": "resnet18", "kwargs": {"num_classes": 7}}
    model = build([{"point": "layer4", "layout": "NCHW", "num_scores": 6}], student, probe_size=64).eval()
    assert isinstance(model, torchvision.models.ResNet)
    assert model.kd_layer.layer4.score_kernel.shape == (6, 512)
    assert model(torch.zeros(1, 3, 64, 64)).shape == (1, 7)


def test_the_input_of_a_module():
    model = build([{"point": "layer3", "io": "input", "name": "early", "num_scores": 4}]).eval()
    _, (args, _) = captured(model, "layer3")
    _, (_, before) = captured(model, "layer2")
    torch.testing.assert_close(args[0], model.kd_layer.early(before))


def test_a_path_of_a_cifar_network_is_a_map():
    model = build([{"point": "layer2.0", "num_scores": 4}])
    assert model.kd_layer.layer2_0.score_kernel.shape == (4, 32)


def test_compiled_in_eval_mode():
    model = build().eval()
    expected = model(IMAGES)
    torch.compiler.reset()
    with torch.no_grad():
        torch.testing.assert_close(torch.compile(model, backend="aot_eager")(IMAGES), expected)


def test_the_default_of_the_penultimate_layer():
    model = build([{"point": "penultimate"}])
    assert model.kd_layer.penultimate.score_kernel.shape == (4096, 64)
    assert model.kd_layer.penultimate.alpha == 1.0


def test_looking_at_the_output_leaves_no_trace():
    model = build()
    assert model.training
    assert model.kd_layer.intermediate.alpha == 0.5
    assert all(layer.norm.num_batches_tracked == 0 for layer in model.kd_layer.values())


CLASS_TOKEN = {"key": "timm_model", "kwargs": {**TIMM["vit"][0], "global_pool": "token"}}
NARROW_VGG = {"key": "timm_model", "kwargs": {"model_name": "vgg11_bn", "num_classes": 7, "mlp_ratio": 0.01}}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"layers": []}, r"layers must be a list such as \[{point: penultimate"),
        ({"layers": ["penultimate"]}, r"layers\[0\] must be a mapping with a point, .* found 'penultimate'"),
        ({"layers": [{"point": "stage3"}]}, r"num_scores of layers\[0\] must be a whole number .* found None"),
        ({"layers": [{"point": "stage3", "scores": 3}]}, r"layers\[0\] takes no keyword 'scores'; did you mean"),
        ({"layers": [{"point": "stage3", "num_scores": 3, "alpha": "1"}]}, "alpha of .* a finite number, found '1'"),
        ({"layers": [{"point": "stage33", "num_scores": 3}]}, "has no feature point 'stage33'; did you mean 'stage3'"),
        ({"layers": [{"point": "layer33.0", "num_scores": 3, "layout": "NCHW"}]}, "has no module 'layer33.0'; did"),
        ({"layers": [{"point": "pooled", "num_scores": 3}]}, r"a KD layer needs a feature map, found \(2, 64\)"),
        ({"layers": [LAYERS[0], LAYERS[0]]}, "must have different names, found penultimate, penultimate"),
        ({"layers": [{**LAYERS[0], "name": "a.b"}]}, "must be a plain word .* found 'a.b'"),
        ({"student": "cifar_resnet8"}, "student of letkd_student must be a mapping such as .* found 'cifar_resnet8'"),
        ({"student": {**STUDENT, "ckpt": "x"}}, "student of letkd_student takes no keyword 'ckpt'"),
        ({"student": {"key": "cifar_resnet9"}}, "unknown model 'cifar_resnet9'; did you mean"),
        ({"student": {**STUDENT, "src_ckpt": "no.pt"}}, "checkpoint 'no.pt' is missing"),
        ({"student": CLASS_TOKEN, "layers": LAYERS[:1]}, "does not affect the output .* global_pool: avg"),
        ({"student": NARROW_VGG}, "set point to its path and add its"),
        ({"student": {"key": "resnet18"}}, "feature points of ResNet are unknown .* raw paths"),
    ],
)  # fmt: skip
def test_refuses(given, message):
    with pytest.raises(ValueError, match=message):
        letkd_student(**{"student": STUDENT, "layers": LAYERS, **given})


def test_layers_are_not_put_in_twice_or_into_a_sequence():
    with pytest.raises(ValueError, match=r"KD layers cannot be added to this .*: it already has a 'kd_layer'"):
        add_kd_layers(build(), LAYERS)
    with pytest.raises(ValueError, match="to this Sequential: it would run them as its own"):
        add_kd_layers(nn.Sequential(nn.Conv2d(3, 4, 1)), LAYERS)
