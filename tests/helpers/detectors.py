"""Tiny detectors on digits, and torchdistill's box around two of them."""

import torch
from torch.utils.data import SequentialSampler
from torchdistill.core.distillation import get_distillation_box

import kd_plugins  # noqa: F401  (registers the wrappers)
from kd_plugins.data.detection import CanvasDigits
from kd_plugins.models import timm_detector

TINY = {
    "model_name": "test_resnet", "num_classes": 11, "channels": 16, "representation": 32, "pooled_size": 3,
    "anchors": [8, 16, 32, 64, 128], "frozen_stages": 0, "frozen_norms": False, "min_size": 64, "max_size": 96,
    "box_batch_size_per_image": 16, "rpn_post_nms_top_n_train": 30, "rpn_pre_nms_top_n_train": 60,
    "rpn_post_nms_top_n_test": 30,
}  # fmt: skip
LOSSES = ("loss_classifier", "loss_box_reg", "loss_objectness", "loss_rpn_box_reg")
CKD = {
    "key": "CKDLoss",
    "kwargs": {"student_module_path": "points.proposals", "teacher_module_path": "points.proposals"},
}
LEVELS = [f"points.fpn.{number}" for number in range(5)]
PYRAMID = {"key": "PyramidLoss", "kwargs": {"student_module_path": LEVELS, "teacher_module_path": LEVELS}}


def tiny(seed=0, **keywords):
    """Return a tiny detector of digits."""
    torch.manual_seed(seed)
    return timm_detector(**{**TINY, **keywords})


def tall_or_wide(image, target):
    """Cut every second image to another shape."""
    return (image[:, :, :48] if int(target["image_id"]) % 2 else image[:, :52]), {
        **target, "boxes": torch.tensor([[2.0, 3, 30, 40]]), "labels": torch.tensor([3]),
    }  # fmt: skip


def box(student, teacher, terms, *, hooks=("points.proposals",), review=None, images=4, batch=2, transforms=None):
    """Return torchdistill's box, ready for its first epoch; ``terms`` are criteria by name."""
    loader = {
        "dataset_id": "digits",
        "sampler": {"class_or_func": SequentialSampler, "kwargs": {}},
        "collate_fn": "collate_detection",
        "kwargs": {"batch_size": batch},
    }
    criterion = {
        "key": "WeightedSumLoss",
        "kwargs": {
            "model_term": {"weight": 1.0},
            "sub_terms": {name: {"criterion": term, "weight": 1.0} for name, term in terms.items()},
        },
        "func2extract_model_loss": "extract_model_loss_dict",
    }
    wrapped = {"key": "DetectionStudent", "kwargs": {} if review is None else {"review": review}}
    config = {
        "num_epochs": 1,
        "train_data_loader": loader,
        "teacher": {
            "forward_proc": "forward_batch_only", "requires_grad": False,
            "auxiliary_model_wrapper": {"key": "DetectionTeacher", "kwargs": {}},
        },
        "student": {
            "forward_proc": "forward_batch_target", "auxiliary_model_wrapper": wrapped,
            "forward_hook": {"output": list(hooks)},
        },
        "optimizer": {"key": "SGD", "kwargs": {"lr": 0.01}},
        "pre_epoch_process": "kd_pre_epoch",
        "criterion": criterion,
    }  # fmt: skip
    data = {"digits": CanvasDigits(images=images, transforms=transforms)}
    made = get_distillation_box(teacher, student, data, config, torch.device("cpu"), None, False, 1)
    made.pre_epoch_process(epoch=0)
    return made


def captured(made, batch):
    """Return total loss and the io dicts that the criterion gets for a batch."""
    kept = {}
    forward = made.criterion.forward

    def keep(io_dict, own, targets):
        kept.update(io_dict)
        return forward(io_dict, own, targets)

    made.criterion.forward = keep
    try:
        return made.forward_process(*batch), kept
    finally:
        made.criterion.forward = forward
