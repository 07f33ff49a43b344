"""Every loss on features, between families of other layouts and sizes, through a step of torchdistill's own box."""

import copy

import pytest
import torch
import torchvision
from torch.utils.data import SequentialSampler, Subset
from torchdistill.core.distillation import get_distillation_box
from torchdistill.models.registry import get_model

import kd_plugins  # noqa: F401
from kd_plugins.data import Digits


def timm(name, **kwargs):
    return {"key": "timm_model", "kwargs": {"model_name": name, "num_classes": 10, **kwargs}}


VIT = timm("vit_small_patch16_224", img_size=32, patch_size=4, embed_dim=24, depth=4, num_heads=2)
SWIN = timm(
    "swin_tiny_patch4_window7_224", img_size=32, patch_size=2, window_size=4, embed_dim=16, depths=[1, 2],
    num_heads=[1, 2],
)  # fmt: skip
CONVNEXT = timm("convnext_atto", output_stride=8, depths=[1, 1, 1, 1], dims=[8, 16, 24, 40])
PICO = timm(
    "swin_pico_patch4_window7_224", img_size=32, patch_size=1, window_size=4, embed_dim=12, depths=[1, 1, 1, 1],
    num_heads=[1, 2, 3, 4],
)  # fmt: skip
RESNET = {"key": "cifar_resnet8", "kwargs": {"num_classes": 10}}
RESNET18 = timm("resnet18", layers=[1, 1, 1, 1], channels=[8, 16, 24, 32], output_stride=8)

# Teacher, student, pairs of points with channels and size of the teacher's map, what SimKD imitates.
PAIRS = {
    "ViT -> ResNet": (VIT, RESNET, [("stage2", "stage2", 24, 8), ("last_map", "last_map", 24, 8)], "pooled"),
    "ViT -> ResNet-18": (VIT, RESNET18, [("stage2", "stage1", 24, 8), ("last_map", "last_map", 24, 8)], "pooled"),
    "Swin -> ResNet": (SWIN, RESNET, [("stage1", "stage1", 16, 16), ("last_map", "last_map", 32, 8)], "last_map"),
    "ConvNeXt -> Swin-Pico": (
        CONVNEXT,
        PICO,
        [("stage1", "stage2", 8, 8), ("stage1", "stage4", 8, 8), ("last_map", "last_map", 40, 4)],
        "pooled",
    ),
}
HINTS = {"HintLoss": {}, "SFKDHintLoss": {"keep": 0.5}}
MAPS = {
    "AttentionTransferLoss": {},
    "SFKDAttentionLoss": {"keep": 0.5},
    "SimilarityLoss": {},
    "RelationalLoss": {},
    "ProbabilisticLoss": {},
}
CASES = [
    pytest.param(loss, pair, points, id=f"{loss} | {pair} | {points[0]}")
    for loss in (*HINTS, *MAPS)
    for pair, (_, _, all_points, _) in PAIRS.items()
    for points in all_points
]


def step(loss, kwargs, teacher, student, *, wrapper=None, hooks, paths):
    """Take one step of a box; return the box, and the gradients of the student's own parameters."""
    data = Subset(Digits(transform=torchvision.transforms.ToTensor()), range(6))
    student_path, teacher_path = paths
    term = {"key": loss, "kwargs": {**kwargs, "student_module_path": student_path, "teacher_module_path": teacher_path}}
    side = {"forward_proc": "forward_batch_only", "forward_hook": {"output": [student_path]}}
    config = {
        "num_epochs": 1,
        "pre_epoch_process": "kd_pre_epoch",
        "train_data_loader": {
            "dataset_id": "digits", "sampler": {"class_or_func": SequentialSampler}, "kwargs": {"batch_size": 6},
        },
        "teacher": {
            "forward_proc": "forward_batch_only",
            "requires_grad": False,
            "auxiliary_model_wrapper": {"key": "FrozenTeacher", "kwargs": {"points": [hooks], "probe_size": 32}},
            "forward_hook": {"output": [teacher_path]},
        },
        "student": {**side, **({"auxiliary_model_wrapper": wrapper} if wrapper else {})},
        "optimizer": {"key": "SGD", "kwargs": {"lr": 0.1}},
        "criterion": {
            "key": "WeightedSumLoss", "kwargs": {"sub_terms": {"distilled": {"criterion": term, "weight": 1.0}}},
        },
    }  # fmt: skip
    before = copy.deepcopy(teacher.state_dict())
    box = get_distillation_box(teacher, student, {"digits": data}, config, torch.device("cpu"), None, False, 1)
    box.pre_epoch_process(epoch=0)
    (batch,) = box.train_data_loader
    value = box.forward_process(*batch)
    assert torch.isfinite(value)
    assert value > 0
    value.backward()
    gradients = [p.grad for p in box.student_model.parameters() if p.grad is not None]
    assert all(gradient.isfinite().all() for gradient in gradients)
    box.optimizer.step()
    assert all(p.isfinite().all() for p in box.student_model.parameters())
    assert all(p.grad is None for p in teacher.parameters())
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())
    return box, {name: p.grad for name, p in student.named_parameters() if p.grad is not None}


def built(section):
    return get_model(section["key"], **section["kwargs"])


def learns_from_the_first_layer(student, gradients):
    first = next(name for name, _ in student.named_parameters() if "conv" in name or "proj" in name)
    return gradients[first].abs().max() > 0


@pytest.mark.parametrize(("loss", "pair", "points"), CASES)
def test_a_step_on_features(loss, pair, points):
    teacher, student = (built(section) for section in PAIRS[pair][:2])
    teacher_point, student_point, channels, size = points
    if loss in HINTS:
        wanted = {"student": student_point, "channels": channels, "size": size}
        wrapper = {"key": "RegressorStudent", "kwargs": {"pairs": [wanted], "probe_size": 32}}
        path = f"regressors.{student_point}"
    else:
        wrapper = {"key": "FeatureStudent", "kwargs": {"points": [student_point], "probe_size": 32}}
        path = f"points.{student_point}"
    box, gradients = step(
        loss, {**HINTS, **MAPS}[loss], teacher, student, wrapper=wrapper, hooks=teacher_point,
        paths=(path, f"points.{teacher_point}"),
    )  # fmt: skip
    assert learns_from_the_first_layer(student, gradients)
    if loss in HINTS:
        assert box.student_model.regressors[student_point].conv.weight.grad.abs().max() > 0


@pytest.mark.parametrize("pair", list(PAIRS))
def test_a_step_on_class_maps(pair):
    teacher, student = (built(section) for section in PAIRS[pair][:2])
    wrapper = {"key": "FeatureStudent", "kwargs": {"points": ["class_maps"], "probe_size": 32}}
    paths = ("points.class_maps", "points.class_maps")
    _, gradients = step("CATLoss", {}, teacher, student, wrapper=wrapper, hooks="class_maps", paths=paths)
    assert learns_from_the_first_layer(student, gradients)
    head = [name for name, p in student.named_parameters() if p.shape[0] == 10 and p.ndim == 2]
    assert len(head) == 1
    assert gradients[head[0]].abs().max() > 0


@pytest.mark.parametrize("pair", list(PAIRS))
def test_a_step_of_simkd(pair):
    teacher, student, _, point = PAIRS[pair]
    model = get_model("simkd_student", student=student, teacher=teacher, teacher_point=point, probe_size=32)
    paths = ("projector", f"points.{point}")
    _, gradients = step("SimKDLoss", {}, built(teacher), model, hooks=point, paths=paths)
    assert learns_from_the_first_layer(model, gradients)
    assert not [name for name in gradients if name.startswith("head")]
    assert all(gradients[name].abs().max() > 0 for name, _ in model.named_parameters() if "projector" in name)


def test_channels_that_differ_without_a_regressor():
    teacher, student = built(VIT), built(RESNET)
    wrapper = {"key": "FeatureStudent", "kwargs": {"points": ["last_map"]}}
    with pytest.raises(ValueError, match=r"64 and 24.*RegressorStudent|RegressorStudent.*64"):
        step("HintLoss", {}, teacher, student, wrapper=wrapper, hooks="last_map", paths=("points.last_map",) * 2)
