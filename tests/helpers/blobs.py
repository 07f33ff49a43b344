"""A small data set and network that configs of the tests name: images whose colour tells the class."""

import torch
from torch import nn
from torch.utils.data import Dataset, Subset
from torchdistill.models.registry import MODEL_DICT, register_model

import kd_plugins  # noqa: F401  (registers everything that a config with this dependency may name)

CLASSES = 4


class Blobs(Dataset):
    """Noise around the number of the class; labels of the kind that is asked for."""

    def __init__(self, n=32, classes=CLASSES, seed=0, kind="int64"):
        noise = torch.Generator().manual_seed(seed)
        self.y = torch.arange(n) % classes
        self.x = 0.3 * torch.randn(n, 3, 16, 16, generator=noise) + self.y.view(-1, 1, 1, 1)
        self.kind, self.classes = kind, [str(k) for k in range(classes)]

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        label = self.y[index]
        if self.kind == "one_hot":
            return self.x[index], nn.functional.one_hot(label, len(self.classes)).float()
        if self.kind == "several":
            return self.x[index], (
                (torch.arange(len(self.classes)) == label) | (torch.arange(len(self.classes)) == 0)
            ).float()
        return self.x[index], label.to(getattr(torch, self.kind))


def part_of(data, images):
    """Return the first images of a data set as another one."""
    return Subset(data, range(images))


def blob_net(num_classes=CLASSES, unused=False):
    """Return a small network with a batch norm; with ``unused`` it has a parameter that nothing reads."""
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(8, num_classes),
    )  # fmt: skip
    if unused:
        model.register_parameter("extra", nn.Parameter(torch.ones(3)))
    return model


class InADict(nn.Sequential):
    """The same network, whose output is a dictionary."""

    def forward(self, images):
        return {"scores": super().forward(images)}


def blob_in_a_dict(num_classes=CLASSES):
    """Return the network whose output is a dictionary."""
    return InADict(*blob_net(num_classes))


for model in (blob_net, blob_in_a_dict):
    if model.__name__ not in MODEL_DICT:
        register_model(model)

TEMPLATE = """\
dependencies: [kd_plugins, blobs]
datasets:
  &train blobs/train: !import_call {key: blobs.Blobs, init: {kwargs: {n: 32, classes: CLASSES, kind: TRAIN_KIND}}}
  &val blobs/val: !import_call {key: blobs.Blobs, init: {kwargs: {n: 16, classes: CLASSES, seed: 1, kind: VAL_KIND}}}
models:
  teacher_model: {key: blob_net, kwargs: {num_classes: CLASSES}, src_ckpt: }
  student_model: {key: blob_net, kwargs: {num_classes: CLASSESSTUDENT_KWARGS}}
train:
  num_epochs: 1
  pre_epoch_process: kd_pre_epoch
  train_data_loader:
    dataset_id: *train
    sampler: {class_or_func: !import_get {key: torch.utils.data.RandomSampler}}
    kwargs: {batch_size: 8, num_workers: 0}
  val_data_loader: &val_loader
    dataset_id: *val
    sampler: {class_or_func: !import_get {key: torch.utils.data.SequentialSampler}}
    kwargs: {batch_size: 8, num_workers: 0}
  teacher: TEACHER
  student: STUDENT_SIDE
  optimizer: {key: SGD, kwargs: {lr: 0.05, weight_decay: 0.1}}
  criterion:
    key: WeightedSumLoss
    kwargs:
      sub_terms:
        ce:
          criterion: {key: CrossEntropyLoss, kwargs: {}}
          criterion_wrapper:
            key: SimpleLossWrapper
            kwargs: {input: {is_from_teacher: False, module_path: '.', io: output}, target: {uses_label: True}}
          weight: 1.0
        kd: TERM
test: {test_data_loader: *val_loader}
"""

PARTS = {
    "TRAIN_KIND": "int64",
    "VAL_KIND": "int64",
    "CLASSES": str(CLASSES),
    "STUDENT_KWARGS": "",
    "STUDENT_SIDE": "{forward_proc: forward_batch_only}",
    "TEACHER": "{forward_proc: forward_batch_only, requires_grad: False}",
    "TERM": "{criterion: {key: SoftTargetLoss, kwargs: {}}, weight: 1.0}",
}


def text(**parts):
    """Return a config whose parts are ``PARTS``, others where given."""
    filled = TEMPLATE
    for name, value in {**PARTS, **parts}.items():
        filled = filled.replace(name, value)
    return filled


def write(folder, *, end="", **parts):
    """Write a config and return its path."""
    path = folder / "blobs.yaml"
    path.write_text(text(**parts) + end)
    return path


def write_two_stages(folder, first, second):
    """Write a config of two stages, each with parts of its own, and return its path."""
    head, train, test = "", "", ""
    for number, parts in enumerate((first, second), 1):
        head, _, rest = text(**parts).partition("train:\n")
        body, _, test = rest.partition("test: {")
        body = body if number == 1 else body.replace("&val_loader", "")
        train += f"  stage{number}:\n" + "".join(f"  {line}\n" for line in body.splitlines())
    path = folder / "blobs.yaml"
    path.write_text(f"{head}train:\n{train}test: {{{test}")
    return path
