"""Cuts, heads and teachers that cannot be, refused with the path and the reason."""

import pytest
import torch
from torch import nn

from kd_plugins.host.lakd.student import LAKDStudent
from kd_plugins.models import CIFAR_MODELS, timm_model


def network(name="cifar_resnet8", **kwargs):
    return CIFAR_MODELS[name](num_classes=5, **kwargs)


def refused(message, model=None, **kwargs):
    with pytest.raises(ValueError, match=message):
        LAKDStudent(model or network(), **kwargs)


@pytest.mark.parametrize("path", ["layer1.0.bn2", "layer2.0.downsample", "layer2.0.conv1"])
def test_a_cut_that_a_skip_connection_bypasses(path):
    refused(f"the cut at '{path}' cannot be made: a skip connection bypasses it", cuts=[path, "layer3"])
    order = ["layer1", path, "layer3"] if path.startswith("layer2") else ["conv1", path, "layer3"]
    refused(f"the cut at '{path}' cannot be made: a skip connection bypasses it", cuts=order)


def test_a_skip_connection_over_a_whole_module():
    class Long(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.first, self.second = (nn.Conv2d(c, 4, 3, padding=1) for c in (3, 4, 4))
            self.end = nn.ReLU()
            self.fc = nn.Linear(4, 5)

        def forward(self, x):
            x = self.conv(x)
            return self.fc(self.end(self.second(self.first(x)) + x).mean((2, 3)))

    kwargs = {"probe_size": 8, "class_attention": False}
    # No parameter lies in two modules: what comes later depends on the end of the first one.
    message = "the cut at 'first' cannot be made: a skip .* still depends on 'conv', before the cut"
    refused(message, Long(), cuts=["conv", "first", "end"], **kwargs)
    assert LAKDStudent(Long(), cuts=["conv", "end"], **kwargs)


def test_a_cut_outside_the_forward_path():
    model = network()
    model.extra = nn.Conv2d(3, 3, 1)
    refused("the cut at 'extra' cannot be made: the module is called 0 times; it is not in the forward path", model,
            cuts=["extra", "layer3"])  # fmt: skip

    class Beside(nn.Module):
        def __init__(self, inside):
            super().__init__()
            self.inside, self.watch = inside, nn.Conv2d(3, 3, 1)

        def forward(self, x):
            self.watch(x)
            return self.inside(x)

    refused("the cut at 'watch' cannot be made: the module does not lead to the output; it is not", Beside(network()),
            cuts=["watch", "inside.layer3"], probe_size=32, class_attention=False)  # fmt: skip
    refused(
        "the cut at 'relu1' cannot be made: .* must be reached exactly once", cuts=["relu1", "layer3"], model=Twice()
    )


class Twice(nn.Module):
    declared_input_size = (8, 8)

    def __init__(self):
        super().__init__()
        self.conv, self.relu1, self.layer3 = nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 5, 1)

    def forward(self, x):
        return self.relu1(self.layer3(self.relu1(self.conv(x)))).mean((2, 3))


def test_cuts_out_of_order_or_at_one_place():
    message = "cuts must be in the order of the forward pass, but 'layer1.0' runs before 'layer2.0'; swap them"
    refused(message, cuts=["layer2.0", "layer1.0", "layer3.0"])
    refused(message, cuts=[2, 1, 3])
    refused("cuts must be different modules, found layer1, layer1", cuts=["layer1", "layer1"])
    refused(
        "cuts 'layer1.0' and 'layer1' end at the same place; remove one of them", cuts=["layer1.0", "layer1", "layer3"]
    )


@pytest.mark.parametrize(
    ("cuts", "message"),
    [
        ("late", "cuts must be one of 'plain', 'shifted', 'every', found 'late'"),
        ([0, 3], r"cuts: ResNet has blocks 1..3, found 0"),
        ([1, 4], r"cuts: ResNet has blocks 1..3, found 4"),
        (["layer9", 3], "cuts: ResNet has no module 'layer9'; did you mean 'layer"),
        ([], "cuts must be one of plain, shifted, every, or a list of module paths and block numbers"),
        ([True, 3], "cuts must contain module paths and block numbers, found True"),
        ([{"path": "layer1", "layout": "NLC"}, 3], "does not fit its declared layout"),
    ],
)
def test_cuts_that_lead_nowhere(cuts, message):
    refused(message, cuts=cuts)


def test_a_head_that_is_not_linear():
    advice = "class_attention: False in LAKDStudent and alpha: 1 in LAKDLoss"
    model = network()
    model.fc = nn.Sequential(nn.Linear(64, 5), nn.Tanh())
    refused(rf"needs a linear head .* 'fc' is Sequential, not one linear layer; .*{advice}", model)
    assert LAKDStudent(model, class_attention=False)
    convnext = timm_model(model_name="convnext_atto", num_classes=5)
    refused(rf"has other layers, such as a norm, between 'stages.3.*' and its .*{advice}", convnext, cuts="plain",
            probe_size=64)  # fmt: skip


def test_an_unknown_network_needs_paths_and_its_size():
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)
    )
    refused(
        "Sequential does not declare an input size; set probe_size to the size of the images", model, cuts=["0", "1"]
    )
    refused("cuts: plain needs the stages of Sequential", model, cuts="plain", probe_size=8)
    refused(
        "cuts: every: the blocks of Sequential are unknown; give module paths instead",
        model,
        cuts="every",
        probe_size=8,
    )
    assert LAKDStudent(model, cuts=["0", "1"], probe_size=8, class_attention=False)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (
            ["layer1", "layer2", "nowhere"],
            "LAKDStudent and its teacher ResNet: teacher: ResNet has no module 'nowhere'",
        ),
        ([1, 2, 30], r"teacher: ResNet has blocks 1..6, found 30"),
        ([1, 2], "teacher must have one entry per module: 3, found 2"),
        ("ends", "teacher must be one of 'stage_ends', 'same_depth', found 'ends'"),
    ],
)
def test_a_teacher_without_the_named_point(wanted, message):
    student = LAKDStudent(network(), teacher=wanted)
    with pytest.raises(ValueError, match=message):
        student.listen_to(network("cifar_resnet14"))


def test_values_out_of_range():
    refused("backward must be one of 'joint', 'eager', found 'lazy'", backward="lazy")
    refused("max_weight must be a finite number", max_weight=float("nan"))
    refused("class_map_size must be a finite number of at least 1", class_map_size=0)
    refused(
        r"teacher_channels must be a list of 3 positive integers, one per module, found \[16\]", teacher_channels=[16]
    )
    refused("backward='eager' needs a single process, .* use backward: joint", backward="eager", distributed=True)


def test_what_is_missing_in_training():
    student = LAKDStudent(network(), backward="eager").train()
    images = torch.randn(2, 3, 32, 32)
    with pytest.raises(
        ValueError, match="has no feature maps of the teacher: set pre_epoch_process: kd_pre_epoch under train"
    ):
        student(images)
    student.listen_to(teacher := network("cifar_resnet14"))
    with pytest.raises(ValueError, match="has no feature maps of the teacher at 'layer1'"):
        student(images)
    teacher(images)
    with pytest.raises(ValueError, match="does not know the weight of its losses: set pre_epoch_process"):
        student(images)
    with pytest.raises(ValueError, match="no term of the criterion reads them: add LAKDLoss"):
        student.set_term_weights({})
    student.set_term_weights({"local_losses": 1.0})
    teacher(images[:1])
    with pytest.raises(ValueError, match="have the same batch size, found 2 and 1 samples"):
        student(images)
    assert not any(module._forward_hooks for module in student.student_model.modules())
    student.eval()
    assert student(images).shape == (2, 5)
