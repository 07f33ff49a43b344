"""Teachers and students of other families at 32x32, and a step of torchdistill's own box between them."""

import copy
from typing import NamedTuple

import torch
import torchvision
from torch import Tensor, nn
from torch.utils.data import SequentialSampler
from torchdistill.core.distillation import get_distillation_box
from torchdistill.models.registry import get_model

import kd_plugins  # noqa: F401
from kd_plugins.data import Digits
from kd_plugins.host.boxes.processes import criterion_terms

BATCH = 6
IMAGES = 360


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

# Teacher, student, pairs of points with channels and size of the teacher's map, what SimKD imitates. The pairs go from
# the shallowest to the deepest; the teacher's pooled features have the channels of the last.
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


class Step(NamedTuple):
    """What a step left.

    Attributes:
        terms: name -> value of the criterion's terms.
        box: torchdistill's.
        student: gradients of the student's own parameters, by name; those that have none are left out.
        adapters: gradients of the parameters that the student's wrapper adds, by name; None where there is none.
    """

    terms: dict[str, Tensor]
    box: nn.Module
    student: dict[str, Tensor]
    adapters: dict[str, Tensor | None]


def built(section):
    return get_model(section["key"], **section["kwargs"])


def side(wrapper, outputs, *, inputs=(), forward="forward_batch_only"):
    """Return the section of a teacher or student; ``wrapper`` is a key and keywords, or None."""
    hooks = {"output": list(outputs), **({"input": list(inputs)} if inputs else {})}
    section = {"forward_proc": forward, "forward_hook": hooks}
    if wrapper is None:
        return section
    key, kwargs = wrapper
    return {**section, "auxiliary_model_wrapper": {"key": key, "kwargs": {"probe_size": 32, **kwargs}}}


def step(teacher, student, *, sides, terms, loader=None):
    """Take one step of a box, with checks of what holds for every method: the loss, all gradients, the teacher.

    Args:
        teacher: the model.
        student: the model.
        sides: sections of teacher and student.
        terms: name -> term of the criterion.
        loader: what the loader of the images has beside its sampler.
    """
    config = {
        "num_epochs": 1,
        "pre_epoch_process": "kd_pre_epoch",
        "train_data_loader": {
            "dataset_id": "digits", "sampler": {"class_or_func": SequentialSampler}, "kwargs": {"batch_size": BATCH},
            **(loader or {}),
        },
        "teacher": {"requires_grad": False, **sides[0]},
        "student": sides[1],
        "optimizer": {"key": "SGD", "kwargs": {"lr": 0.1}},
        "criterion": {"key": "WeightedSumLoss", "kwargs": {"sub_terms": terms}},
    }  # fmt: skip
    data = {"digits": Digits(train=False, transform=torchvision.transforms.ToTensor())}
    before = copy.deepcopy(teacher.state_dict())
    box = get_distillation_box(teacher, student, data, config, torch.device("cpu"), None, False, 1)
    box.pre_epoch_process(epoch=0)
    values = {}
    for name, term in criterion_terms(box.criterion).items():
        term.register_forward_hook(lambda _m, _i, value, name=name: values.update({name: value.detach().reshape(())}))
    images, targets, *supplement = next(iter(box.train_data_loader))
    loss = box.forward_process(images, targets, *supplement)
    assert torch.isfinite(loss).all()
    assert values.keys() == terms.keys()
    assert all(value > 0 for value in values.values())
    loss.backward()
    gradients = [p.grad for p in box.student_model.parameters() if p.grad is not None]
    assert all(gradient.isfinite().all() for gradient in gradients)
    box.optimizer.step()
    assert all(p.isfinite().all() for p in box.student_model.parameters())
    assert all(p.grad is None for p in teacher.parameters())
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())
    own = {id(p) for p in student.parameters()}
    return Step(
        values,
        box,
        {name: p.grad for name, p in student.named_parameters() if p.grad is not None},
        {name: p.grad for name, p in box.student_model.named_parameters() if id(p) not in own},
    )


def learns_from_the_first_layer(student, gradients):
    first = next(name for name, _ in student.named_parameters() if "conv" in name or "proj" in name)
    return first in gradients and gradients[first].abs().max() > 0
