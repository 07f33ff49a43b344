"""A teacher of 8x8 digits, and a config that names its weights."""

import torch
import torch.nn.functional as F
from torchvision.transforms import Compose, Normalize, Resize, ToTensor

from kd_plugins.data import Digits
from kd_plugins.models import CIFAR_MODELS

MEAN, STD = [0.3] * 3, [0.35] * 3
SIZE = (8, 8)
CONFIG = """
dependencies: [kd_plugins]
datasets:
  &train digits/train: !import_call
    key: kd_plugins.data.Digits
    init: {kwargs: {train: True, transform: &plain !import_call {key: torchvision.transforms.Compose, init: {args: [[
      !import_call {key: torchvision.transforms.Resize, init: {args: [8]}},
      !import_call {key: torchvision.transforms.ToTensor, init: {}},
      !import_call {key: torchvision.transforms.Normalize, init: {args: [MEAN, STD]}}]]}}}}
  &val digits/val: !import_call {key: kd_plugins.data.Digits, init: {kwargs: {train: False, transform: *plain}}}
models:
  teacher_model: {key: TEACHER, kwargs: {num_classes: 10}, src_ckpt: WEIGHTS}
  student_model: {key: cifar_resnet8, kwargs: {num_classes: 10}}
train:
  num_epochs: 1
  pre_epoch_process: kd_pre_epoch
  train_data_loader:
    dataset_id: *train
    sampler: {class_or_func: !import_get {key: torch.utils.data.RandomSampler}}
    kwargs: {batch_size: 64, num_workers: 0}
  val_data_loader:
    dataset_id: *val
    sampler: {class_or_func: !import_get {key: torch.utils.data.SequentialSampler}}
    kwargs: {batch_size: 64, num_workers: 0}
  teacher: {forward_proc: forward_batch_only, requires_grad: False}
  student: {forward_proc: forward_batch_only}
  optimizer: {key: AdamW, kwargs: {lr: 0.002}}
  criterion:
    key: WeightedSumLoss
    kwargs: {sub_terms: {kd: {criterion: {key: SoftTargetLoss, kwargs: {temperature: 4.0}}, weight: 1.0}}}
"""


def trained_teacher():
    """Return a small network that knows most 8x8 digits."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        digits = Digits(train=True, transform=Compose([Resize(8), ToTensor(), Normalize(MEAN, STD)]))
        images, labels = zip(*(digits[i] for i in range(512)), strict=True)
        images, labels = torch.stack(images), torch.tensor(labels)
        model = CIFAR_MODELS["cifar_resnet8"](num_classes=10)
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
        for step in range(80):
            chosen = torch.randperm(512)[:128]
            loss = F.cross_entropy(model(images[chosen]), labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            optimizer.param_groups[0]["lr"] = 0.01 * (1 - step / 80)
    return model.eval()


def config_text(weights, *, teacher="cifar_resnet8"):
    """Return a config whose teacher has its weights in a file."""
    text = CONFIG.replace("WEIGHTS", str(weights)).replace("TEACHER", teacher)
    return text.replace("[MEAN, STD]", f"[{MEAN}, {STD}]")
