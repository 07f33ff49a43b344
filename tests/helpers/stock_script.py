"""What torchdistill's example script for image classification does with a config, by torchdistill's public parts.

The script comes in two forms: the older one validates and saves the student that it built; the newer one what the box
trains, which is the wrapped student where the config has an auxiliary wrapper. Both load the best checkpoint into the
student that they built, strictly, and evaluate that one and the teacher at the end. Nothing here knows of the package
under test, which the config's ``dependencies`` import.
"""

import math
from argparse import Namespace
from dataclasses import dataclass
from typing import Any

import torch
import torchvision  # noqa: F401
from torchdistill.common.constant import def_logger
from torchdistill.common.main_util import import_dependencies, load_ckpt, save_ckpt
from torchdistill.common.yaml_util import load_yaml_file
from torchdistill.core.distillation import get_distillation_box
from torchdistill.core.training import get_training_box
from torchdistill.datasets.util import build_data_loader
from torchdistill.misc.log import MetricLogger, SmoothedValue
from torchdistill.models.official import get_image_classification_model
from torchdistill.models.registry import get_model

logger = def_logger.getChild("stock_script")
CPU = torch.device("cpu")


@dataclass
class Result:
    """What a run of the script leaves behind.

    Attributes:
        config: as it was loaded; torchdistill writes into it.
        teacher: as it was built; None without one.
        student: as it was built, with the best weights.
        box: torchdistill's box.
        initial: state dicts of teacher and student before the training.
        losses: one a step.
        lrs: one a step.
        validated: (top-1, top-5) an epoch.
        best: the top-1 that was saved last.
        tested: "teacher" and "student" -> (top-1, top-5).
        file: where the best student is.
    """

    config: dict[str, Any]
    teacher: Any
    student: Any
    box: Any
    initial: dict[str, dict[str, torch.Tensor]]
    losses: list[float]
    lrs: list[float]
    validated: list[tuple[float, float]]
    best: float
    tested: dict[str, tuple[float, float]]
    file: str


def run(path, *, newer):
    """Train, validate, save, load and test as the script does with ``--config PATH``."""
    config = load_yaml_file(path)
    import_dependencies(config.get("dependencies"))
    datasets, models = config["datasets"], config["models"]
    teacher = load_model(models["teacher_model"]) if "teacher_model" in models else None
    section = models["student_model" if "student_model" in models else "model"]
    student = load_model(section)
    both = {"teacher": teacher, "student": student}
    initial = {name: copied(model) for name, model in both.items() if model is not None}

    rest = (datasets, config["train"], CPU, None, False, 1)
    box = get_training_box(student, *rest) if teacher is None else get_distillation_box(teacher, student, *rest)
    made = Result(config, teacher, student, box, initial, [], [], [], 0.0, {}, section["dst_ckpt"])
    train(made, config["train"], newer=newer)

    load_ckpt(made.file, model=student, strict=True)
    loader = test_loader(config)
    for name, model in both.items():
        if model is not None:
            made.tested[name] = evaluate(model, loader, config["test"].get("log_freq", 1000))
    return made


def load_model(section):
    """Build a model of the config, torchvision's names first, and load its weights."""
    model = get_image_classification_model(section)
    if model is None:
        model = get_model(section["key"], section.get("repo_or_dir"), **section["kwargs"])
    load_ckpt(section.get("src_ckpt"), model=model, strict=True)
    return model.to(CPU)


def test_loader(config):
    """Return the loader of ``test``."""
    section = config["test"]["test_data_loader"]
    return build_data_loader(config["datasets"][section["dataset_id"]], section, False)


test_loader.__test__ = False


def student_of(box):
    """Return what a box trains."""
    return box.model if box.__dict__.get("student_model") is None else box.student_model


def copied(model):
    """Return a copy of a model's state dict."""
    return {name: value.clone() for name, value in model.state_dict().items()}


def train(made, train_config, *, newer):
    """Run all epochs, and keep the best of what is validated."""
    box, log_freq = made.box, train_config["log_freq"]
    for epoch in range(box.num_epochs):
        box.pre_epoch_process(epoch=epoch)
        train_one_epoch(made, epoch, log_freq)
        student = student_of(box) if newer else made.student
        made.validated.append(evaluate(student, box.val_data_loader, log_freq, header="Validation:"))
        top1 = made.validated[-1][0]
        if top1 > made.best:
            made.best = top1
            save_ckpt(student, box.optimizer, box.lr_scheduler, top1, Namespace(log_config=True), made.file)
        box.post_epoch_process(metrics=top1)
    box.clean_modules()


def train_one_epoch(made, epoch, log_freq):
    """Take the steps of an epoch."""
    log = MetricLogger(delimiter="  ")
    log.add_meter("lr", SmoothedValue(window_size=1, fmt="{value}"))
    for batch, targets, supplement in log.log_every(made.box.train_data_loader, log_freq, f"Epoch: [{epoch}]"):
        loss = made.box.forward_process(batch.to(CPU), targets.to(CPU), supplement)
        made.box.post_forward_process(loss=loss)
        log.update(loss=loss.item(), lr=made.box.optimizer.param_groups[0]["lr"])
        if not math.isfinite(loss.item()):
            raise ValueError(f"the training stops at a loss of {loss.item()}")
        made.losses.append(log.meters["loss"].value)
        made.lrs.append(log.meters["lr"].value)


@torch.inference_mode()
def evaluate(model, loader, log_freq, header="Test:"):
    """Return top-1 and top-5 accuracy in percent."""
    model.to(CPU)
    model.eval()
    log = MetricLogger(delimiter="  ")
    for images, targets in log.log_every(loader, log_freq, header):
        found = model(images.to(CPU)).topk(5).indices == targets[:, None]
        for name, count in (("acc1", 1), ("acc5", 5)):
            log.meters[name].update(100 * found[:, :count].any(1).float().mean().item(), n=len(images))
    top1, top5 = (log.meters[name].global_avg for name in ("acc1", "acc5"))
    logger.info(f" * Acc@1 {top1:.4f}\tAcc@5 {top5:.4f}\n")
    return top1, top5
