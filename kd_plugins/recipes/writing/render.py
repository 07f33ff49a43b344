"""Write a complete config: head, data, models, training, test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ...pairs.models import Model
from ...pairs.setting import Setting, Term
from ..data.augmentation import Augmentation, augmentation
from ..data.data_text import data_lines, strong_view
from ..data.datasets import Dataset
from ..data.digits import TEACHERS as DIGITS_TEACHERS
from ..data.digits import digits_lines, file_name, teacher_checkpoint
from ..options import option_stem
from ..plan import Summand
from ..schedules import Schedule
from .text import Noted, Raw, block, comment, entry, flow

MODEL_OUTPUT = {"is_from_teacher": False, "module_path": ".", "io": "output"}
CROSS_ENTROPY_WRAPPER = {
    "key": "SimpleLossWrapper", "kwargs": {"input": MODEL_OUTPUT, "target": {"uses_label": True}},
}  # fmt: skip


@dataclass(frozen=True)
class Sheet:
    """The parts of a config; without methods and ``setting`` for plain training."""

    name: str  # of the sum of methods
    summands: Sequence[Summand]
    terms: Sequence[Term]  # besides the cross-entropy
    setting: Setting | None
    student: Model
    dataset: Dataset
    schedule: Schedule
    ce: float  # weight of the cross-entropy
    head: Sequence[str]
    checkpoint: str | None = None  # file with the teacher's weights; None if timm downloads them
    options: Sequence[str] = ()  # KEY=VALUE

    @property
    def validates(self) -> bool:
        """Whether images other than the test images choose the best epoch."""
        return self.dataset.val is not None or self.dataset.name == "digits"

    @property
    def views(self) -> bool:
        """Whether each image has two views."""
        return any(summand.method.views for summand in self.summands)

    @property
    def stem(self) -> str:
        """Name of the config's file, without the suffix."""
        if self.setting is None:
            return self.student.name
        names = [model.name for model in self.setting.teachers]
        alike = len(names) > 1 and len(set(names)) == 1
        teachers = f"{len(names)}_{names[0]}" if alike else "_and_".join(names)
        return f"{self.student.name}_from_{teachers}{option_stem(self.options)}"


def render(sheet: Sheet) -> str:
    """Return the text of a config."""
    lines = [*(f"# {line}" for line in comment(*sheet.head)), "dependencies: [kd_plugins]", ""]
    size = sheet.dataset.size_for(sheet.student)
    steps = augmentation(sheet.dataset, sheet.student, size)
    # The teacher's section refers to mean and standard deviation.
    shared = sheet.setting is not None and sheet.setting.renormalised
    if sheet.dataset.name == "digits":
        lines += digits_lines(sheet.student.name)
    else:
        lines += data_lines(sheet.dataset, steps, anchored=sheet.views, shared_stats=shared)
    lines += ["", "models:", *_models(sheet), "", "train:", *_train(sheet, steps), "", "test:", *_test(sheet)]
    return "\n".join(lines) + "\n"


def _models(sheet: Sheet) -> list[str]:
    student = sheet.student.section(sheet.dataset.classes)
    if sheet.setting is not None and sheet.setting.student_model is not None:
        student = sheet.setting.student_model
    student |= {"src_ckpt": None, "dst_ckpt": _kept_as(sheet)}
    if sheet.setting is None:
        return ["  model:", *block(student, 4)]
    return [*_teacher_model(sheet, sheet.setting), "  student_model:", *block(student, 4)]


def _teacher_model(sheet: Sheet, setting: Setting) -> list[str]:
    if setting.teacher_model is not None:
        return ["  teacher_model:", *block(setting.teacher_model, 4)]
    side, note = setting.teacher, []
    model = side.model
    kwargs = {**model.kwargs, "num_classes": sheet.dataset.classes, "frozen": True}
    if sheet.checkpoint is None:
        kwargs |= {"model_name": model.pretrained, "pretrained": True}
    wanted: dict[str, Any] = {}
    if setting.renormalised:
        wanted = {"student_mean": Raw("*mean"), "student_std": Raw("*std")}
        note = [
            "    # The loader normalises for the data set; the teacher gets the mean and std of its timm weights. If",
            "    # yours was trained with others, give them here as mean and std.",
        ]
    if side.image_size != sheet.dataset.size_for(sheet.student):
        wanted["input_size"] = side.image_size
    section: dict[str, Any] = {"key": model.key, "kwargs": kwargs}
    if wanted:
        del kwargs["frozen"]
        section = {"key": "frozen_teacher", "kwargs": {"model": section, **wanted}}
    if sheet.checkpoint is not None:
        section["src_ckpt"] = sheet.checkpoint
    key, *rest = block(section, 4)
    return ["  teacher_model:", key, *note, *rest]


def _kept_as(sheet: Sheet) -> str:
    """Return the file to which torchdistill's own script writes the best student."""
    if sheet.dataset.name != "digits":
        return f"./runs/{sheet.name}_{sheet.stem}/student.pt"
    if sheet.setting is None and sheet.student.name in DIGITS_TEACHERS:
        return teacher_checkpoint(sheet.student.name)
    return f"./runs/{sheet.name}_{file_name(sheet.stem)}/student.pt"


def _train(sheet: Sheet, steps: Augmentation) -> list[str]:
    schedule, setting = sheet.schedule, sheet.setting
    loader = {"batch_size": schedule.batch, "num_workers": schedule.workers}
    if schedule.workers:
        loader["pin_memory"] = True
    train_loader = {**loader, "drop_last": True} if schedule.drop_last else loader
    log = [f"  log_freq: {schedule.log_freq}", f"  num_epochs: {schedule.epochs}"]
    lines = [*(log[::-1] if sheet.dataset.name == "digits" else log), "  pre_epoch_process: kd_pre_epoch"]
    lines += ["  train_data_loader:", "    dataset_id: *train", _sampler("RandomSampler")]
    lines += entry("kwargs", train_loader, 4)
    if sheet.views:
        lines += strong_view(sheet.dataset, steps)
    if setting is not None:
        lines += block(setting.loader, 4)
    lines += _val(sheet, loader)
    if setting is None:
        lines += ["  model: {forward_proc: forward_batch_only}"]
    else:
        lines += entry("teacher", setting.teacher.yaml(), 2)
        lines += entry("student", setting.student.yaml(), 2)
    lines += entry("optimizer", schedule.optimizer_yaml(schedule.lr_of(mobile=sheet.student.mobile)), 2)
    lines += schedule.scheduler_lines()
    lines += ["  criterion:", "    key: WeightedSumLoss", "    kwargs:", "      sub_terms:", *_terms(sheet)]
    return lines


def _sampler(name: str, anchor: str = "") -> str:
    return f"    sampler: {anchor}{{class_or_func: !import_get {{key: torch.utils.data.{name}}}}}"


def _val(sheet: Sheet, loader: dict[str, Any]) -> list[str]:
    if not sheet.validates:
        head = ["  val_data_loader: &val", "    dataset_id: *test", _sampler("SequentialSampler")]
        return [*head, *entry("kwargs", loader, 4)]
    whole = {**loader, "batch_size": 120} if sheet.dataset.name == "digits" else loader
    head = ["  val_data_loader:", "    dataset_id: *val", _sampler("SequentialSampler", "&in_order ")]
    return [*head, f"    kwargs: &whole {flow(whole)}"]


def _test(sheet: Sheet) -> list[str]:
    if not sheet.validates:
        return ["  test_data_loader: *val"]
    return ["  test_data_loader:", "    dataset_id: *test", "    sampler: *in_order", "    kwargs: *whole"]


def _terms(sheet: Sheet) -> list[str]:
    lines = []
    if sheet.dataset.real and not sheet.ce:
        lines.append("        # No cross-entropy: a label is what the optimisation aimed at, not what an image shows.")
    if sheet.ce:
        smoothing = {"label_smoothing": sheet.schedule.label_smoothing} if sheet.schedule.label_smoothing else {}
        term: dict[str, Any] = {
            "criterion": {"key": "CrossEntropyLoss", "kwargs": smoothing},
            "criterion_wrapper": CROSS_ENTROPY_WRAPPER,
            "weight": sheet.ce,
        }
        notes = [summand.method.ce_note for summand in sheet.summands if summand.method.ce_note]
        if notes and len(sheet.summands) == 1:
            term = Noted(term, {"weight": notes[0]})
        lines += ["        ce:", *block(term, 10)]
    for made in sheet.terms:
        lines += [f"        {made.name}:", *block(made.yaml(), 10)]
    return lines
