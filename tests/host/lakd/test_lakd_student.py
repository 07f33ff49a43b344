"""Which loss reaches which parameter, with cuts on, off and after training; joint and eager; alignment; attention."""

import copy
import gc

import pytest
import torch
import torchvision
from torch import nn

from kd_plugins.host.lakd import student as lakd
from kd_plugins.host.lakd.student import LAKDStudent
from kd_plugins.losses import local_feature_loss
from kd_plugins.models import CIFAR_MODELS, freeze, timm_model
from kd_plugins.modules import LocalLearning
from kd_plugins.transforms import activation_map, class_activation_maps

SIZE = 16


def network(name):
    if name == "torchvision resnet18":
        return torchvision.models.resnet18(num_classes=5)
    return CIFAR_MODELS[name](num_classes=5)


def wrapped(model, **kwargs):
    student = LAKDStudent(model, **{"probe_size": SIZE, **kwargs})
    return student.train()


def hooks(model):
    return [module for module in model.modules() if module._forward_hooks or module._forward_pre_hooks]


def step(student, teacher, images, *, told=1.0):
    """Run teacher and student once; return the logits and what the submodules show."""
    student.listen_to(teacher)
    student.set_term_weights({"local_losses": told})
    shown, handles = {}, []
    for name in ("local_losses", "class_maps.student", "class_maps.teacher"):
        module = student.get_submodule(name)
        handles.append(module.register_forward_hook(lambda _m, _i, out, name=name: shown.update({name: out})))
    with torch.no_grad():
        teacher(images)
    output = student(images)
    for handle in handles:
        handle.remove()
    return output, shown


def own_teacher(model):
    """Return a teacher of the same kind, so that every map has the student's channels."""
    return freeze(copy.deepcopy(model))


def module_of_every_parameter(model, ends):
    """Tell from the order in which modules are defined, that of the forward pass in these networks."""
    order = [path for path, _ in model.named_modules()]
    last = [max(i for i, path in enumerate(order) if path == end or path.startswith(f"{end}.")) for end in ends]
    owners = {}
    for name, _ in model.named_parameters():
        place = order.index(name.rpartition(".")[0])
        owners[name] = min(sum(end < place for end in last), len(ends) - 1)
    return owners


def reached(loss, model):
    names, parameters = zip(*model.named_parameters(), strict=True)
    gradients = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
    return {name: g for name, g in zip(names, gradients, strict=True) if g is not None}


class Recorded(LocalLearning):
    """Keeps its losses apart: in the stacked tensor each has a gradient for all parameters, zero for most."""

    def __enter__(self):
        Recorded.latest = self
        return super().__enter__()


@pytest.mark.parametrize("name", [*CIFAR_MODELS, "torchvision resnet18"])
def test_each_parameter_gets_gradient_from_exactly_the_losses_it_should(name, monkeypatch):
    monkeypatch.setattr(lakd, "LocalLearning", Recorded)
    model = network(name)
    before = copy.deepcopy(model)
    student = wrapped(model, cuts="shifted" if name == "cifar_resnet14" else "plain", probe_size=32)
    ends = [point.path for point in student.ends]
    student.wanted = ends
    assert len(ends) >= 3
    images = torch.randn(2, 3, 32, 32)
    output, shown = step(student, own_teacher(model), images)
    owners = module_of_every_parameter(model, ends)
    for number, loss in enumerate(Recorded.latest.losses):
        found = reached(loss, model)
        # What comes after the last end, the head above all, is part of the last module, but not in its feature loss.
        assert {owners[parameter] for parameter in found} == {number}
        if number < len(ends) - 1:
            assert found.keys() == {parameter for parameter in owners if owners[parameter] == number}
    for loss in (output.sum(), shown["class_maps.student"].sum()):
        found = reached(loss, model)
        assert {owners[parameter] for parameter in found} == {len(ends) - 1}
    last = {parameter for parameter in owners if owners[parameter] == len(ends) - 1}
    assert reached(output.sum(), model).keys() == last
    # off, and after training
    assert not hooks(model)
    student.eval()
    model.load_state_dict(before.state_dict())
    before.eval()
    assert torch.equal(student(images), before(images))
    assert reached(student(images).sum(), model).keys() == owners.keys()


def gradients_of(student, teacher, images, *, weight=1.0, scale=1.0):
    student.zero_grad()
    student.set_backward_scale(scale)
    output, shown = step(student, teacher, images, told=weight)
    loss = output.square().mean() + weight * shown["local_losses"].sum() + shown["class_maps.student"].square().mean()
    (loss * scale).backward()
    return {name: p.grad.clone() for name, p in student.named_parameters()}, shown["local_losses"].detach()


@pytest.mark.parametrize(
    ("name", "kwargs"),
    [
        ("cifar_resnet8", {"cuts": "every", "attention_from": "last"}),
        ("cifar_resnet20", {"cuts": [1, 4, 9], "mean_weight": 0.5, "absolute": False}),
        ("cifar_wrn_16_1", {"cuts": "shifted"}),
        ("cifar_mobilenetv2", {"cuts": "plain"}),
        ("cifar_vgg8", {"cuts": ["relu1", "relu3", "relu4"], "teacher": ["relu1", "relu3", "relu4"]}),
        ("torchvision resnet18", {"cuts": [1, 2, 4, 8]}),
    ],
)
def test_joint_and_eager_give_equal_gradients(name, kwargs):
    model = network(name).double()
    if name == "torchvision resnet18":
        kwargs = {**kwargs, "teacher_channels": [64, 128, 256, 512]}
    images = torch.randn(3, 3, 32, 32, dtype=torch.float64)
    found, teacher = {}, own_teacher(model)
    for backward in ("joint", "eager"):
        torch.manual_seed(0)
        student = wrapped(model, backward=backward, **kwargs).double()
        found[backward] = gradients_of(student, teacher, images, weight=3.0, scale=0.5)
        assert not hooks(model)
    torch.testing.assert_close(found["eager"], found["joint"], rtol=1e-6, atol=1e-9)
    assert all(gradient.abs().max() > 0 for gradient in found["eager"][0].values())


def test_eager_gradients_accumulate_over_batches_and_scales_are_tensors_too():
    model = network("cifar_resnet8")
    teacher, student = own_teacher(model), wrapped(model, cuts="plain", backward="eager")
    batches = torch.randn(2, 3, 3, SIZE, SIZE)
    singly = [gradients_of(student, teacher, images, scale=torch.tensor(0.5))[0] for images in batches]
    student.zero_grad()
    for images in batches:
        output, shown = step(student, teacher, images)
        loss = output.square().mean() + shown["local_losses"].sum() + shown["class_maps.student"].square().mean()
        (loss / 2).backward()
    for name, parameter in student.named_parameters():
        torch.testing.assert_close(parameter.grad, singly[0][name] + singly[1][name], rtol=1e-4, atol=1e-5)


def test_a_criterion_that_weighs_otherwise_than_was_told_is_found_out():
    model = network("cifar_resnet8")
    student = wrapped(model, cuts="plain", backward="eager")
    _, shown = step(student, own_teacher(model), torch.randn(2, 3, SIZE, SIZE), told=2.0)
    message = "scaled the local losses by 2, but the criterion scales them by 3; use backward: joint"
    with pytest.raises(ValueError, match=message):
        (3.0 * shown["local_losses"].sum()).backward()


@pytest.mark.parametrize("sides", [(0.0, 0.0), (0.25, 0.75)])
def test_local_losses_are_the_feature_losses_of_the_aligned_maps(sides):
    model, images = network("cifar_resnet8"), torch.randn(2, 3, SIZE, SIZE)
    teacher = own_teacher(model)
    for parameter in teacher.parameters():
        nn.init.normal_(parameter, std=0.1)
    mean_weight, max_weight = sides
    kept = {}
    for side, net in (("student", copy.deepcopy(model).train()), ("teacher", copy.deepcopy(teacher))):
        for path in ("layer1", "layer2", "layer3"):
            net.get_submodule(path).register_forward_hook(
                lambda _m, _i, out, key=(side, path): kept.update({key: out.detach()})
            )
        net(images)
    student = wrapped(model, cuts="plain", mean_weight=mean_weight, max_weight=max_weight)
    _, shown = step(student, teacher, images)
    expected = []
    for path in ("layer1", "layer2", "layer3"):
        attention = None
        if mean_weight:
            attention = activation_map(kept["teacher", path], mean_weight=mean_weight, max_weight=max_weight)
        expected.append(local_feature_loss(kept["student", path], kept["teacher", path], attention=attention))
    # Without attention the mean squared difference, to the bit.
    assert torch.equal(shown["local_losses"], torch.stack(expected))


def test_attention_may_come_from_a_deeper_layer():
    model, images = network("cifar_resnet8"), torch.randn(2, 3, 32, 32)
    teacher, losses = own_teacher(model), {}
    for wanted in ("own", "last", [3, 3, 3], [1, 3, 3]):
        student = wrapped(copy.deepcopy(model), cuts="plain", attention_from=wanted, probe_size=32)
        losses[str(wanted)] = step(student, teacher, images)[1]["local_losses"].tolist()
    assert losses["last"] == losses["[3, 3, 3]"]
    assert losses["[1, 3, 3]"][0] == losses["own"][0] != losses["last"][0]
    assert losses["[1, 3, 3]"][1:] == losses["last"][1:]
    with pytest.raises(ValueError, match=r"attention_from must be own, last, or a list of 3 module numbers"):
        wrapped(model, cuts="plain", attention_from=[1, 1, 3])


def test_class_maps_are_the_heads_weight_on_the_last_maps():
    model, images = network("cifar_resnet8"), torch.randn(2, 3, 32, 32)
    teacher = own_teacher(model)
    student = wrapped(model, cuts="plain", probe_size=32)
    _, shown = step(student, teacher, images)
    kept = []
    teacher.layer3.register_forward_hook(lambda _m, _i, output: kept.append(output))
    logits = teacher(images)
    maps = class_activation_maps(kept[0], teacher.fc.weight)
    expected = nn.functional.adaptive_avg_pool2d(maps, 2)
    torch.testing.assert_close(shown["class_maps.teacher"], expected)
    torch.testing.assert_close(expected.mean((2, 3)) + teacher.fc.bias, logits)
    assert shown["class_maps.student"].shape == (2, 5, 2, 2)
    assert not shown["class_maps.teacher"].requires_grad


def paths(student):
    return [point.path for point in student.ends]


def test_cuts_by_name_by_number_and_by_path():
    model = network("cifar_resnet20")
    named = {name: paths(wrapped(model, cuts=name)) for name in ("plain", "shifted", "every")}
    assert named["plain"] == paths(wrapped(model, cuts=[3, 6, 9])) == ["layer1.2", "layer2.2", "layer3.2"]
    assert named["shifted"] == paths(wrapped(model, cuts=[1, 4, 9])) == ["layer1.0", "layer2.0", "layer3.2"]
    assert named["every"] == [f"layer{stage}.{block}" for stage in (1, 2, 3) for block in (0, 1, 2)]
    assert paths(wrapped(model, cuts=["conv1", "stage2", 9])) == ["conv1", "layer2", "layer3.2"]
    vgg = network("cifar_vgg8")
    assert paths(wrapped(vgg, cuts="every")) == [f"relu{number}" for number in range(5)]
    resnet18 = torchvision.models.resnet18()
    student = wrapped(resnet18, cuts=[1, 2, 4, 8], teacher_channels=[64, 128, 256, 512])
    assert paths(student) == ["layer1.0", "layer1.1", "layer2.1", "layer4.1"]
    student.listen_to(torchvision.models.resnet34())
    assert [point.path for point in student.heard.points] == ["layer1", "layer2", "layer3", "layer4"]


@pytest.mark.parametrize(
    ("cuts", "teacher", "expected"),
    [
        ([1, 4, 9], "stage_ends", ["layer1", "layer2", "layer3"]),
        ("every", "stage_ends", ["layer1"] * 3 + ["layer2"] * 3 + ["layer3"] * 3),
        ("plain", "same_depth", ["layer1.4", "layer2.4", "layer3.4"]),
        ([1, 4, 9], [5, "layer2.0", "stage3"], ["layer1.4", "layer2.0", "layer3"]),
    ],
)
def test_teacher_points(cuts, teacher, expected):
    student = wrapped(network("cifar_resnet20"), cuts=cuts, teacher=teacher)
    student.listen_to(network("cifar_resnet32"))
    assert [point.path for point in student.heard.points] == expected


def test_a_vit_teaches_a_cnn_through_regressors_and_pooled_maps():
    teacher = timm_model(model_name="vit_tiny_patch16_224", img_size=32, patch_size=8, embed_dim=24, depth=4,
                         num_heads=2, num_classes=5, frozen=True)  # fmt: skip
    model, images = network("cifar_resnet8"), torch.randn(2, 3, 32, 32)
    student = wrapped(model, cuts="plain", teacher_channels=[24, 24, 24], probe_size=32, backward="eager")
    output, shown = step(student, teacher, images)
    assert [point.path for point in student.heard.points] == ["blocks.1", "blocks.2", "blocks.3"]
    (output.sum() + shown["local_losses"].sum() + shown["class_maps.student"].sum()).backward()
    assert all(p.grad is not None for p in student.parameters())
    assert shown["class_maps.teacher"].shape == shown["class_maps.student"].shape == (2, 5, 2, 2)
    assert student.state_dict().keys() == model.state_dict().keys()
    assert [type(r) for r in student.regressors] == [nn.Conv2d] * 3


def test_only_where_channels_differ_is_there_a_regressor():
    before = torch.get_rng_state()
    student = wrapped(network("cifar_resnet8"), cuts="plain")
    assert [type(r) for r in student.regressors] == [nn.Identity] * 3
    torch.set_rng_state(before)
    network("cifar_resnet8")
    assert len(list(student.parameters())) == len(list(student.student_model.parameters()))
    with pytest.raises(
        ValueError, match=r"have \[64, 128, 256\] channels, .* \[16, 32, 64\]; set teacher_channels: \["
    ):
        student.listen_to(network("cifar_resnet8x4"))


def test_maps_of_the_teacher_are_let_go_and_nothing_holds_it():
    model, images = network("cifar_resnet8"), torch.randn(2, 3, SIZE, SIZE)
    teacher, student = own_teacher(model), wrapped(model, cuts="plain", backward="eager")
    before = len(hooks(teacher))
    step(student, teacher, images)
    assert student.channel._values == {}
    with torch.inference_mode():
        teacher(images)  # an evaluation
    assert student.channel._values == {}
    assert len(hooks(teacher)) == before + 3
    again = copy.deepcopy(student)
    assert again.channel.teacher is None
    step(again, own_teacher(model), images)
    del student
    gc.collect()
    assert len(hooks(teacher)) == before


def test_memory_floor_counts_the_largest_module_and_the_teachers_maps():
    student = wrapped(network("cifar_resnet20"), cuts=[1, 4, 9], probe_size=32)
    with pytest.raises(ValueError, match="run one training step first"):
        student.memory_floor(8)
    student.listen_to(teacher := network("cifar_resnet56"))
    unit = 16 * 32 * 32 * 4  # bytes of a map of the first stage
    kept = [module.kept / unit for module in student.modules_seen]
    # The stem and a block keep two and four maps; two blocks and a smaller one eight and two and a half.
    assert kept[0] == pytest.approx(6, rel=0.01)
    assert kept[1] == pytest.approx(11.5, rel=0.01)  # and what the module before has given
    with pytest.raises(ValueError, match="run one training step first"):
        student.memory_floor()
    step(student, teacher, torch.randn(8, 3, 32, 32))
    assert student.memory_floor() == student.memory_floor(8) == pytest.approx(8 * (11.5 + 1.75) * unit, rel=0.01)
