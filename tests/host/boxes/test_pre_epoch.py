"""The teacher under torchdistill's own loop, with and without what this package adds."""

import copy

import torch
import torchvision  # noqa: F401
from torch import nn
from torch.utils.data import RandomSampler, TensorDataset
from torchdistill.core.distillation import get_distillation_box

import kd_plugins  # noqa: F401
from kd_plugins.host.boxes.processes import kd_pre_epoch
from kd_plugins.models import CIFAR_MODELS, freeze


class Listening(nn.Module):
    """A loss that wants to know the epoch and holds a buffer."""

    def __init__(self):
        super().__init__()
        self.epochs = []

    def set_epoch(self, epoch):
        self.epochs.append(epoch)

    def forward(self, student_io_dict, teacher_io_dict, targets):
        student, teacher = student_io_dict["."]["output"], teacher_io_dict["."]["output"]
        return (student - teacher.detach()).square().mean()


def run_stock_loop(teacher, *, pre_epoch, requires_grad=False, loss=None):
    """Two epochs as torchdistill's example scripts run them."""
    images, labels = 3 * torch.randn(16, 3, 16, 16) + 1, torch.randint(5, (16,))
    student = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 5))
    loader = {"dataset_id": "d", "sampler": {"class_or_func": RandomSampler}, "kwargs": {"batch_size": 8}}
    train = {
        "num_epochs": 2,
        "train_data_loader": loader,
        "teacher": {"forward_proc": "forward_batch_only", "requires_grad": requires_grad},
        "student": {"forward_proc": "forward_batch_only"},
        "optimizer": {"key": "SGD", "kwargs": {"lr": 0.01, "weight_decay": 0.1}},
        "criterion": {
            "key": "WeightedSumLoss",
            "kwargs": {"sub_terms": {"kd": {"criterion": loss or Listening(), "weight": 1.0}}},
        },
        **({"pre_epoch_process": "kd_pre_epoch"} if pre_epoch else {}),
    }
    datasets = {"d": TensorDataset(images, labels)}
    box = get_distillation_box(teacher, student, datasets, train, torch.device("cpu"), None, False, 1)
    before = copy.deepcopy(teacher.state_dict())
    for epoch in range(box.num_epochs):
        box.pre_epoch_process(epoch=epoch)
        for batch, targets, supplement in box.train_data_loader:
            box.post_forward_process(loss=box.forward_process(batch, targets, supplement))
        box.post_epoch_process()
    return all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())


def bn_teacher():
    return CIFAR_MODELS["cifar_resnet8"](num_classes=5)


def test_torchdistill_alone_lets_a_bn_teacher_drift():
    assert not run_stock_loop(bn_teacher(), pre_epoch=False)


def test_the_pre_epoch_process_leaves_the_teacher_bit_identical():
    assert run_stock_loop(bn_teacher(), pre_epoch=True)


def test_a_frozen_model_is_left_bit_identical_without_the_process():
    assert run_stock_loop(freeze(bn_teacher()), pre_epoch=False)


def test_a_frozen_model_is_left_alone_even_when_the_config_forgets_requires_grad():
    assert run_stock_loop(freeze(bn_teacher()), pre_epoch=False, requires_grad=True)


def test_a_teacher_that_is_trained_is_left_in_training_mode_with_a_warning(caplog):
    teacher = bn_teacher()
    assert not run_stock_loop(teacher, pre_epoch=True, requires_grad=True)
    assert teacher.training
    assert "Set train.teacher.requires_grad: False to freeze it" in caplog.text


def test_losses_hear_the_epoch():
    loss = Listening()
    run_stock_loop(bn_teacher(), pre_epoch=True, loss=loss)
    assert loss.epochs == [0, 1]


def test_works_on_a_box_without_a_teacher():
    class Box:
        distributed = False
        device = torch.device("meta")
        criterion = nn.CrossEntropyLoss(weight=torch.ones(3))
        model = nn.Sequential(nn.Dropout(), Listening()).eval()

    box = Box()
    box.model_io_dict = {}
    kd_pre_epoch(box, epoch=3)
    assert box.model.training
    assert box.model[1].epochs == [3]
    assert box.criterion.weight.device.type == "meta"
