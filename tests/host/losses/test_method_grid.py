"""Every logit loss under every list of transforms, through a step of torchdistill's own box."""

import copy

import pytest
import torch
import torchvision
from torch import nn
from torch.utils.data import SequentialSampler, Subset
from torchdistill.core.distillation import get_distillation_box

import kd_plugins  # noqa: F401
from kd_plugins.data import Digits

STOCK = {
    "student_module_path": ".", "student_module_io": "output", "teacher_module_path": ".",
    "teacher_module_io": "output",
}  # fmt: skip
CTKD = {"forward_hook": {"output": ["temperature"]}}
BASES = {
    "KD": ("SoftTargetLoss", {"temperature": 4.0}),
    "stock KD": ("KDLoss", {**STOCK, "temperature": 4.0, "beta": 1.0}),
    "LSKD": ("LSKDLoss", {}),
    "DKD": ("DKDLoss", {"warmup": 2}),
    "CTKD": ("CTKDLoss", {}),
    "CTKD, instance": ("CTKDLoss", {}),
    "MLKD": ("MLKDLoss", {"temperatures": [2.0, 4.0]}),
    "MLKD, authors": ("MLKDLoss", {"temperatures": [4, 3, 5, 2, 6], "variant": "authors"}),
    "CKD": ("CKDLoss", {}),
    "DIST": ("DISTLoss", {**STOCK, "beta": 1.0, "gamma": 1.0, "tau": 1.0}),
    "SFKD": ("SFKDLoss", {"keep": 0.7}),
}
STUDENT_WRAPPERS = {
    "CTKD": {"key": "CTKDStudent"},
    "CTKD, instance": {"key": "CTKDStudent", "kwargs": {"level": "instance", "num_classes": 10, "hidden": 8}},
}
STANDARDIZE, KEEP = {"key": "standardize"}, {"key": "keep_salient", "keep": 0.5}
KEEP_ALONE = {**KEEP, "fill": "-inf"}
TRANSFORMS = {
    "none": [],
    "standardize": [STANDARDIZE],
    "keep_salient": [KEEP],
    "standardize, keep_salient": [STANDARDIZE, KEEP],
    "keep_salient, standardize": [KEEP, STANDARDIZE],
}
TRANSFORMS_WITH_MINUS_INFINITY = {
    "keep_salient -inf": [KEEP_ALONE],
    "standardize, keep_salient -inf": [STANDARDIZE, KEEP_ALONE],
}
READ_MINUS_INFINITY = {"KD", "stock KD", "DIST", "MLKD", "MLKD, authors"}
CASES = [(base, name, steps) for base in BASES for name, steps in TRANSFORMS.items()]
CASES += [
    (base, name, steps)
    for base in sorted(READ_MINUS_INFINITY)
    for name, steps in TRANSFORMS_WITH_MINUS_INFINITY.items()
]


def digits():
    return Subset(Digits(transform=torchvision.transforms.ToTensor()), range(16))


def convolutional():
    return nn.Sequential(
        nn.Conv2d(3, 4, 5, stride=4, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 7 * 7, 10)
    )


def train_config(base, transforms):
    key, kwargs = BASES[base]
    term = {"criterion": {"key": key, "kwargs": copy.deepcopy(kwargs)}, "weight": 1.0}
    if transforms:
        kwargs = {"transforms": copy.deepcopy(transforms)}
        term["criterion_wrapper"] = {"key": "TransformedLoss", "kwargs": kwargs}
    loader = {
        "dataset_id": "digits", "sampler": {"class_or_func": SequentialSampler}, "kwargs": {"batch_size": 8},
    }  # fmt: skip
    if base.startswith("MLKD"):
        strong = torchvision.transforms.Compose(
            [torchvision.transforms.RandomRotation(40), torchvision.transforms.ToTensor()]
        )
        loader["dataset_wrapper"] = {"key": "TwoViews", "kwargs": {"strong": strong}}
        loader["collate_fn"] = "collate_two_views"
    student = {"forward_proc": "forward_batch_only"}
    if base in STUDENT_WRAPPERS:
        student |= {**CTKD, "auxiliary_model_wrapper": copy.deepcopy(STUDENT_WRAPPERS[base])}
    return {
        "num_epochs": 1,
        "pre_epoch_process": "kd_pre_epoch",
        "train_data_loader": loader,
        "teacher": {"forward_proc": "forward_batch_only", "requires_grad": False},
        "student": student,
        "optimizer": {"key": "SGD", "kwargs": {"lr": 0.01}},
        "criterion": {"key": "WeightedSumLoss", "kwargs": {"sub_terms": {"distilled": term}}},
    }


@pytest.mark.parametrize(("base", "name", "transforms"), CASES, ids=[f"{base} | {name}" for base, name, _ in CASES])
def test_a_step_of_the_grid(base, name, transforms):
    teacher, student = convolutional(), convolutional()
    before = copy.deepcopy(teacher.state_dict())
    config = train_config(base, transforms)
    box = get_distillation_box(teacher, student, {"digits": digits()}, config, torch.device("cpu"), None, False, 1)
    box.pre_epoch_process(epoch=0)
    start = copy.deepcopy(student.state_dict())
    for batch, targets, supplement in box.train_data_loader:
        loss = box.forward_process(batch, targets, supplement)
        assert torch.isfinite(loss)
        loss.backward()
        assert all(p.grad.isfinite().all() for p in box.student_model.parameters())
        assert all(p.grad.abs().max() > 0 for p in student.parameters())
        box.optimizer.step()
        box.optimizer.zero_grad()
    assert all(p.grad is None for p in teacher.parameters())
    for key, value in teacher.state_dict().items():
        assert torch.equal(value, before[key]), key
    assert any(not torch.equal(value, start[key]) for key, value in student.state_dict().items())
    if base in STUDENT_WRAPPERS:
        temperature = box.student_model.temperature
        assert temperature.factor == pytest.approx(-0.02447174)
        assert all(p.abs().max() > 0 for p in temperature.parameters())  # the weights that began at zero too


@pytest.mark.parametrize("base", sorted(set(BASES) - READ_MINUS_INFINITY))
def test_a_base_that_cannot_read_minus_infinity_refuses_it(base):
    config = train_config(base, [KEEP_ALONE])
    with pytest.raises(ValueError, match=r"does not support fill: -inf.*use fill: zero, or one of SoftTarget"):
        get_distillation_box(
            convolutional(), convolutional(), {"digits": digits()}, config, torch.device("cpu"), None, False, 1
        )


def test_a_zero_initialised_head_trains_under_standardization():
    teacher, student = convolutional(), convolutional()
    for parameter in student[-1].parameters():
        nn.init.zeros_(parameter)
    config = train_config("KD", [STANDARDIZE])
    box = get_distillation_box(teacher, student, {"digits": digits()}, config, torch.device("cpu"), None, False, 1)
    losses, norms = [], []
    for epoch in range(20):
        box.pre_epoch_process(epoch=epoch)
        for batch, targets, supplement in box.train_data_loader:
            loss = box.forward_process(batch, targets, supplement)
            box.optimizer.zero_grad()
            loss.backward()
            norms.append(student[-1].weight.grad.norm().item())
            box.optimizer.step()
            losses.append(loss.item())
    assert max(norms) < 100  # the formula's own is of order 1 / eps = 1e7 at the first step
    assert norms[0] > 0
    assert losses[-1] < 0.5 * losses[0]
