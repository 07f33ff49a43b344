"""torchdistill boxes that train letKD on a few digits, as torchdistill's own script builds them."""

import json

import torch
from torch.utils.data import RandomSampler, SequentialSampler, Subset
from torchdistill.core.distillation import get_distillation_box
from torchvision.transforms import Compose, Pad, RandomCrop, ToTensor

import kd_plugins  # noqa: F401
from kd_plugins.data import Digits
from kd_plugins.host.letkd.student import letkd_student
from kd_plugins.models import CIFAR_MODELS

CPU = torch.device("cpu")
AUGMENTED = Compose([Pad(2), RandomCrop(32), ToTensor()])
PENULTIMATE = {"kind": "penultimate", "teacher_module_path": "layer3", "num_centres": 8}
INTERMEDIATE = {"kind": "intermediate", "teacher_module_path": "layer2", "subclasses": 2, "map_size": 8}
BOTH = {"penultimate": PENULTIMATE, "intermediate": INTERMEDIATE}
CONFIG = """\
dependencies: [kd_plugins]
datasets:
  digits/train: !import_call
    key: torch.utils.data.Subset
    init:
      kwargs:
        dataset: !import_call
          key: kd_plugins.data.Digits
          init: {{kwargs: {{train: True, transform: !import_call {{key: torchvision.transforms.ToTensor}}}}}}
        indices: !import_call {{key: builtins.range, init: {{args: [0, 48]}}}}
  digits/val: !import_call
    key: kd_plugins.data.Digits
    init: {{kwargs: {{train: False, transform: !import_call {{key: torchvision.transforms.ToTensor}}}}}}
models:
  teacher_model: {{key: cifar_resnet8, kwargs: {{num_classes: 10}}, src_ckpt: {teacher}}}
  student_model: {{key: cifar_resnet8, kwargs: {{num_classes: 10}}}}
train:
  num_epochs: 1
  pre_epoch_process: kd_pre_epoch
  train_data_loader: &loader
    dataset_id: digits/train
    sampler: {{class_or_func: !import_get {{key: torch.utils.data.RandomSampler}}}}
    kwargs: {{batch_size: 16}}
  val_data_loader: {{<<: *loader, dataset_id: digits/val}}
  teacher: {{forward_proc: forward_batch_only, requires_grad: False}}
  student: {{forward_proc: forward_batch_only}}
  optimizer: {{key: SGD, kwargs: {{lr: 0.05}}}}
  criterion: {{key: WeightedSumLoss, kwargs: {{sub_terms: {terms}}}}}
"""


def teacher(*, seed=0):
    """Return a teacher with the random weights of a seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return CIFAR_MODELS["cifar_resnet8"](num_classes=10)


def student():
    """Return a student with both KD layers."""
    layers = [{"point": "penultimate", "num_scores": 8}, {"point": "intermediate", "num_scores": 20}]
    return letkd_student(student={"key": "cifar_resnet8", "kwargs": {"num_classes": 10}}, layers=layers)


def datasets(*, images=48, size=32):
    """Return training and validation images."""
    made = {"train": Digits(train=True, transform=AUGMENTED), "val": Digits(train=False, transform=ToTensor())}
    return {"digits/train": Subset(made["train"], range(images)), "digits/val": Subset(made["val"], range(16))}


def losses(terms, statistics):
    """Return sub_terms with letKD losses of these kwargs, by name."""
    return {
        name: {"criterion": {"key": "LetKDLoss", "kwargs": {"statistics": statistics, **kwargs}}, "weight": 1.0}
        for name, kwargs in terms.items()
    }


def write_config(folder, model):
    """Write a config of the same teacher, data and terms as the box, and return its path."""
    path = folder / "letkd.yaml"
    torch.save({"model": model.state_dict()}, folder / "teacher.pt")
    path.write_text(CONFIG.format(teacher=folder / "teacher.pt", terms=json.dumps(losses(BOTH, "auto"))))
    return path


def box(model, *, statistics="auto", terms=None, data=None, distributed=False, requires_grad=False, side=None, **stage):
    """Return a box that kd_pre_epoch prepares; ``terms`` are the kwargs of letKD losses, by name."""
    sub_terms = losses(BOTH if terms is None else terms, statistics)
    loader = {"dataset_id": "digits/train", "kwargs": {"batch_size": 16}}
    train = {
        "num_epochs": 1,
        "pre_epoch_process": "kd_pre_epoch",
        "train_data_loader": {**loader, "sampler": {} if distributed else {"class_or_func": RandomSampler}},
        "val_data_loader": {
            **loader, "dataset_id": "digits/val", "sampler": {} if distributed else {"class_or_func": SequentialSampler}
        },
        "teacher": {
            "forward_proc": "forward_batch_only", "requires_grad": requires_grad,
            "forward_hook": {"output": ["layer2", "layer3"]}, **(side or {}),
        },
        "student": {
            "forward_proc": "forward_batch_only",
            "forward_hook": {"output": ["kd_layer.penultimate.scores", "kd_layer.intermediate.scores"]},
        },
        "optimizer": {"key": "SGD", "kwargs": {"lr": 0.05}},
        "criterion": {"key": "WeightedSumLoss", "kwargs": {"sub_terms": sub_terms}},
        **stage,
    }  # fmt: skip
    return get_distillation_box(model, student(), data or datasets(), train, CPU, None, distributed, 1)


def sources(made):
    """Return the file of each letKD term of a box."""
    return {name: term.loss.source for name, (term, _) in made.criterion.term_dict.items()}


def step(made):
    """Take the first step of an epoch and return the loss."""
    batch, targets, supplement = next(iter(made.train_data_loader))
    loss = made.forward_process(batch, targets, supplement)
    made.post_forward_process(loss=loss)
    return loss.item()
